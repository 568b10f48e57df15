//! A service that loads a model only after its policy has accepted the release, and says with every answer which
//! release gave it.
//!
//! ```sh
//! cd crates/modelseal-verify/examples/release
//! cargo run -p modelseal-verify --example serve -- wine-1.0.0.tar gate.toml 127.0.0.1:8080
//! ```

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use modelseal_verify::policy::Policy;
use modelseal_verify::report::{Style, to_text};
use modelseal_verify::verify::unpack;
use modelseal_verify::{Options, Target};
use serde_json::{Value, json};

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 8 << 10;

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What answers requests. Here this is the model's configuration; a real service loads the weights.
struct Model {
    config: Value,
    release: String,
}

/// Verifies the archive while it is extracted, and loads the files that were verified, and no others.
fn load(archive: &Path, policy: &Path) -> Result<Model, Box<dyn Error>> {
    let policy = Policy::load(policy)?;
    // Nobody else can write to this directory between the verification and the loading.
    let private = tempfile::tempdir()?;
    let place = private.path().join("release");
    let signers = policy.signers()?;
    let mut options = Options::new(&signers);
    options.policy = Some(&policy);
    let verified = unpack(&Target::Path(archive.to_path_buf()), &place, &options)?;
    let accepted = verified.accepted().and_then(|release| Some((release.digest(), release.directory()?)));
    let Some((digest, directory)) = accepted else {
        return Err(to_text(verified.report(), Style::Plain).into());
    };
    let config = serde_json::from_slice(&std::fs::read(directory.join("config.json"))?)?;
    Ok(Model { config, release: format!("sha256:{digest}") })
}

fn answer(model: &Model, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new((&stream).take(LONGEST_REQUEST));
    let mut line = String::new();
    while request.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    let body = json!({ "release": model.release, "features": model.config["features"] }).to_string();
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [archive, policy, address] = &arguments[..] else {
        return Err("usage: serve ARCHIVE POLICY ADDRESS".into());
    };
    let model = match load(Path::new(archive), Path::new(policy)) {
        Ok(model) => model,
        Err(reason) => {
            eprintln!("not serving {archive}:\n{reason}");
            std::process::exit(1);
        }
    };
    let listener = TcpListener::bind(address)?;
    println!("serving {} at {}", model.release, listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(|stream| answer(&model, stream)) {
            eprintln!("a request was not answered: {error}");
        }
    }
    Ok(())
}
