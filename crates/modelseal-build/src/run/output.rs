//! The output of a command: passed on, counted and kept.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::job::{Job, Stream};

/// How the C library and other systems spell EROFS and EBUSY. EBUSY is the error for removing or replacing a mounted
/// path.
const REFUSED: [&[u8]; 5] =
    [b"Read-only file system", b"read-only file system", b"EROFS", b"Device or resource busy", b"EBUSY"];

/// How many bytes at the start of standard error are kept.
const FIRST_ERROR: usize = 512;

/// Where the output of a command goes.
pub(super) struct Output<'a> {
    job: &'a Job<'a>,
    /// In bytes.
    count: AtomicU64,
    /// When standard output was last heard, in milliseconds since the start. Zero: never.
    spoke: AtomicU64,
    begun: Instant,
    /// No process is left that could print.
    ended: AtomicBool,
    /// The log could not be written.
    failed: Mutex<Option<std::io::Error>>,
    /// The output reports that something could not be written.
    refused_write: AtomicBool,
    /// The start of standard error.
    first_error: Mutex<Vec<u8>>,
}

/// What is known about the output after all processes of the command have ended.
pub(super) struct Printed {
    /// In bytes.
    pub(super) count: u64,
    /// The output reports that a file system was read-only.
    pub(super) refused_write: bool,
    /// The start of standard error.
    pub(super) first_error: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(super) fn new(job: &'a Job<'a>, begun: Instant) -> Self {
        Self {
            job,
            count: AtomicU64::new(0),
            spoke: AtomicU64::new(0),
            begun,
            ended: AtomicBool::new(false),
            failed: Mutex::new(None),
            refused_write: AtomicBool::new(false),
            first_error: Mutex::default(),
        }
    }

    /// Records that no process is left that could print.
    pub(super) fn ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether the command has printed more than it may, or the log cannot be written.
    pub(super) fn is_too_much(&self) -> bool {
        let log_failed = self.failed.lock().is_ok_and(|failed| failed.is_some());
        log_failed || self.count.load(Ordering::Relaxed) > self.job.limits.output
    }

    /// # Errors
    /// The log could not be written.
    pub(super) fn finish(self) -> std::io::Result<Printed> {
        match self.failed.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(Printed {
                count: self.count.into_inner(),
                refused_write: self.refused_write.into_inner(),
                first_error: self.first_error.into_inner().unwrap_or_default(),
            }),
        }
    }

    /// Reads until the end of the stream, or until no process of the command is left. Reads and discards output beyond
    /// the limit.
    pub(super) fn pump(&self, stream: Stream, source: Option<impl Read + AsFd>) {
        let Some(mut source) = source else { return };
        let mut buffer = vec![0; 64 << 10];
        let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            let ended = self.ended.load(Ordering::Relaxed);
            match poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&pause)) {
                Ok(0) if ended => return,
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(_) => return,
            }
            match source.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => self.take(stream, &buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    pub(super) fn silent_for_too_long(&self, elapsed: Duration) -> Option<Duration> {
        let silence = self.job.limits.silence?;
        let limit = match self.spoke.load(Ordering::Relaxed) {
            0 => (silence.at_first, Duration::ZERO),
            spoke => (silence.later, Duration::from_millis(spoke)),
        };
        (elapsed > limit.0 + limit.1).then_some(limit.0)
    }

    fn take(&self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Output {
            let now = self.begun.elapsed().as_millis() as u64;
            self.spoke.store(now.max(1), Ordering::Relaxed);
        }
        if stream == Stream::Error
            && let Ok(mut first) = self.first_error.lock()
        {
            let room = FIRST_ERROR.saturating_sub(first.len()).min(bytes.len());
            first.extend_from_slice(&bytes[..room]);
        }
        let before = self.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let room = self.job.limits.output.saturating_sub(before).min(bytes.len() as u64);
        let bytes = &bytes[..room as usize];
        // A message that is split at the end of a buffer is missed. Then only a hint is missing.
        if REFUSED.iter().any(|refused| memchr::memmem::find(bytes, refused).is_some()) {
            self.refused_write.store(true, Ordering::Relaxed);
        }
        if bytes.is_empty() {
            return;
        }
        self.job.listener.output(stream, bytes);
        if let Some(mut log) = self.job.log
            && let Err(error) = log.write_all(bytes)
            && let Ok(mut failed) = self.failed.lock()
        {
            failed.get_or_insert(error);
        }
    }
}
