//! The progress line of long operations, and the context of a run.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Verbosity, signals};
use modelseal_format::context::{self, Context};

/// The progress line appears only after this time.
const PATIENCE: Duration = Duration::from_secs(1);

const TOTAL_UNKNOWN: &str = "{spinner} {msg}  {bytes}  {bytes_per_sec}  {elapsed}";
const TOTAL_KNOWN: &str = "{spinner} {msg}  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";

/// The context of this run: a signal cancels it.
pub(super) fn context() -> Context {
    Context::default().with_cancel(signals::cancel())
}

/// A progress line that appears on a terminal after a second. Dropping it clears the line.
pub(super) struct Progress(Arc<Line>);

struct Line {
    bar: Option<ProgressBar>,
    begun: Instant,
    read: AtomicU64,
    expected: AtomicU64,
}

impl Progress {
    pub(super) fn new(message: &'static str, verbosity: Verbosity) -> Self {
        let bar = (!verbosity.quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            bar.set_message(message);
            with_style(bar, TOTAL_UNKNOWN)
        });
        let (read, expected) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Line { bar, begun: Instant::now(), read, expected }))
    }

    /// The context for work whose progress this line shows.
    pub(super) fn context(&self) -> Context {
        context().with_progress(self.0.clone())
    }

    /// How much was read, and how long the work took.
    pub(super) fn summary(&self) -> String {
        let read = modelseal_format::display::number(self.0.read.load(Ordering::Relaxed));
        format!("read {read} bytes in {:.2} s", self.0.begun.elapsed().as_secs_f64())
    }
}

fn with_style(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl context::Progress for Line {
    fn announce(&self, bytes: u64) {
        let expected = self.expected.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(bar) = &self.bar else { return };
        if bar.length().is_none()
            && let Ok(style) = ProgressStyle::with_template(TOTAL_KNOWN)
        {
            bar.set_style(style);
        }
        bar.set_length(expected);
    }

    fn advance(&self, bytes: u64) {
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(bar) = &self.bar else { return };
        if self.begun.elapsed() < PATIENCE {
            return;
        }
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        // The work may also read data that the expected total does not include.
        if self.expected.load(Ordering::Relaxed) < read && bar.length().is_some() {
            bar.set_length(read);
        }
        bar.set_position(read);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0.bar {
            bar.finish_and_clear();
        }
    }
}
