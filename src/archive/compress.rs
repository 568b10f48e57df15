//! Compressing and hashing the bytes of a tar, each on a thread of its own.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::Digest as _;

use super::flushing::Flushing;
use super::gzip::GzipWriter;
use crate::digest::{Digest, threads};
use crate::interrupt;

/// How much is handed to the threads at a time.
const CHUNK: usize = 1 << 20;

/// How many chunks may wait for each thread.
const WAITING: usize = 4;

/// A level at which zstd is faster than a disk.
const ZSTD_LEVEL: i32 = 3;

/// How much input one zstd job takes. Part of the format: the bytes depend on it.
const ZSTD_JOB: u32 = 8 << 20;

/// Threads that take chunks.
pub(super) struct Compressing {
    chunk: Vec<u8>,
    senders: Vec<SyncSender<Arc<Vec<u8>>>>,
    hashing: JoinHandle<Digest>,
    /// `None` once it has been asked how it ended.
    writing: Option<JoinHandle<io::Result<File>>>,
}

impl Compressing {
    pub(super) fn new(encoder: Encoder) -> Self {
        let (to_write, write_queue) = sync_channel(WAITING);
        let (to_hash, hash_queue) = sync_channel(WAITING);
        Self {
            chunk: Vec::with_capacity(CHUNK),
            senders: vec![to_write, to_hash],
            writing: Some(std::thread::spawn(move || write(encoder, &write_queue))),
            hashing: std::thread::spawn(move || hash(&hash_queue)),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.send()?;
        }
        Ok(taken)
    }

    fn send(&mut self) -> io::Result<()> {
        interrupt::check()?;
        let chunk = Arc::new(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK)));
        if self.senders.iter().all(|sender| sender.send(chunk.clone()).is_ok()) {
            return Ok(());
        }
        // A thread that takes no more has failed: its own error says why.
        match self.writing.take().map(join) {
            Some(Err(error)) => Err(error),
            _ => Err(ended()),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<(File, Digest)> {
        self.send()?;
        self.senders.clear();
        let file = self.writing.take().map_or_else(|| Err(ended()), join)?;
        Ok((file, join(self.hashing)))
    }
}

fn ended() -> io::Error {
    io::Error::other("the writing ended early")
}

fn join<T>(thread: JoinHandle<T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn hash(queue: &Receiver<Arc<Vec<u8>>>) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for chunk in queue {
        hasher.update(chunk.as_slice());
    }
    Digest(hasher.finalize().into())
}

fn write(mut encoder: Encoder, queue: &Receiver<Arc<Vec<u8>>>) -> io::Result<File> {
    for chunk in queue {
        encoder.write_all(&chunk)?;
    }
    encoder.finish()
}

/// One of the compressors, in front of the file.
pub(super) enum Encoder {
    Gzip(GzipWriter<Flushing>),
    Zstd(zstd::stream::write::Encoder<'static, Flushing>),
}

impl Encoder {
    pub(super) fn gzip(file: Flushing) -> io::Result<Self> {
        Ok(Encoder::Gzip(GzipWriter::new(file)?))
    }

    pub(super) fn zstd(file: Flushing) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?;
        // With workers the bytes do not depend on how many; without any they differ.
        encoder.multithread(threads() as u32)?;
        encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB))?;
        encoder.include_checksum(true)?;
        Ok(Encoder::Zstd(encoder))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Gzip(writer) => writer.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<File> {
        let finished = match self {
            Encoder::Gzip(writer) => writer.finish()?,
            Encoder::Zstd(encoder) => encoder.finish()?,
        };
        Ok(finished.into_file())
    }
}
