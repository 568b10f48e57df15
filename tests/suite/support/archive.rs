//! Archives that are split and joined by hand, so that no tar library limits what an attack looks like.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use modelseal_format::canonical::{Canonical, Counted};
use modelseal_format::sign::{PrivateKey, SignedBundle, Signer};

/// One entry: its raw header block or blocks, and its content.
#[derive(Debug, Clone)]
pub struct Entry {
    pub header: Vec<u8>,
    pub content: Vec<u8>,
}

/// Splits an archive whose entries all have one header block.
pub fn split(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut offset = 0;
    while bytes[offset..offset + 512] != [0; 512] {
        let header = bytes[offset..offset + 512].to_vec();
        let size = std::str::from_utf8(&header[124..135]).expect("digits");
        let size = usize::from_str_radix(size, 8).expect("octal");
        let content = bytes[offset + 512..offset + 512 + size].to_vec();
        offset += 512 + size.div_ceil(512) * 512;
        entries.push(Entry { header, content });
    }
    entries
}

/// Joins entries, with padding and the end of the archive.
pub fn join(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&entry.header);
        bytes.extend_from_slice(&entry.content);
        bytes.resize(bytes.len().div_ceil(512) * 512, 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A ustar header of any kind.
pub fn header(name: &str, size: u64, kind: u8) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(format!("{:011o}\0", 1_760_000_000).as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[329..337].copy_from_slice(b"0000000\0");
    block[337..345].copy_from_slice(b"0000000\0");
    checksum(&mut block);
    block
}

/// Corrects the checksum of a header.
pub fn checksum(block: &mut [u8]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The payload of a seal.
pub fn payload(seal: &[u8]) -> Vec<u8> {
    let json: serde_json::Value = serde_json::from_slice(seal).expect("is JSON");
    let payload = json["dsseEnvelope"]["payload"].as_str().expect("a payload");
    STANDARD.decode(payload).expect("is base64")
}

/// A bundle as modelseal writes it, over any payload.
pub fn bundle(payload: &[u8], signer: &Signer) -> Vec<u8> {
    SignedBundle::sign(Counted::of(payload), signer).expect("signs").to_vec()
}

/// The private key of the test projects.
pub fn private_key() -> PrivateKey {
    PrivateKey::from_pem(include_str!("../keys/p256.pem"), "test", &mut |_| Ok(None)).expect("reads")
}

/// Replaces the seal of an archive by one over another payload, with a valid signature.
pub fn reseal(bytes: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut entries = split(bytes);
    set_content(&mut entries[0], bundle(payload, &private_key().into()));
    join(&entries)
}

/// Replaces the content of an entry and updates its header.
pub fn set_content(entry: &mut Entry, content: Vec<u8>) {
    let size = format!("{:011o}\0", content.len());
    entry.header[124..136].copy_from_slice(size.as_bytes());
    checksum(&mut entry.header);
    entry.content = content;
}

/// Runs a filter program over bytes.
pub fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("has standard input");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("joins").expect("writes");
    assert!(output.status.success());
    output.stdout
}
