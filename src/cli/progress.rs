//! A line that shows how far long work has come.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Talk;

/// Work that is over by then is over before anybody wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts bytes; appears on a terminal after a second, and leaves nothing behind.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    read: AtomicU64,
}

impl Progress {
    pub(super) fn new(message: &'static str, talk: Talk) -> Self {
        let bar = (!talk.quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}  {bytes}  {bytes_per_sec}  {elapsed}");
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            bar.set_message(message);
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self { bar, begun: Instant::now(), read: AtomicU64::new(0) }
    }

    /// Adds to what has been read.
    pub(super) fn advance(&self, bytes: u64) {
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(bar) = &self.bar else { return };
        if self.begun.elapsed() < PATIENCE {
            return;
        }
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        bar.set_position(read);
    }

    /// How long the work took, and how much was read.
    pub(super) fn summary(&self) -> String {
        let read = modelseal_format::text::number(self.read.load(Ordering::Relaxed));
        format!("read {read} bytes in {:.2} s", self.begun.elapsed().as_secs_f64())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
