//! What a person sees of a command that runs: its output, and how long it has been running.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::Verbosity;
use super::output::{say, warn};
use modelseal_build::run::{Listener, Stream};

/// A command that has ended by then has ended before anybody wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// Passes output on to standard error, and shows the time on a terminal.
pub(super) struct Running {
    verbosity: Verbosity,
    terminal: bool,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    /// What was printed last did not end its line.
    open: bool,
    /// The seconds that are shown.
    shown: Option<u64>,
}

/// Back to the start of the line, and nothing on it.
const CLEAR: &str = "\r\u{1b}[2K";

impl Running {
    pub(super) fn new(verbosity: Verbosity) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let terminal = std::io::stderr().is_terminal() && !dumb && !verbosity.quiet;
        Self { verbosity, terminal, line: Mutex::default() }
    }
}

impl Listener for Running {
    fn output(&self, _: Stream, bytes: &[u8]) {
        if self.verbosity.quiet {
            return;
        }
        let Ok(mut line) = self.line.lock() else { return };
        let mut error = std::io::stderr().lock();
        if line.shown.take().is_some() {
            let _ = write!(error, "{CLEAR}");
        }
        // If nobody listens, nobody is told; the log has it all.
        let _ = error.write_all(bytes);
        line.open = bytes.last().is_some_and(|byte| *byte != b'\n');
    }

    fn waiting(&self, elapsed: Duration) {
        if !self.terminal || elapsed < PATIENCE {
            return;
        }
        let Ok(mut line) = self.line.lock() else { return };
        let seconds = elapsed.as_secs();
        if !line.open && line.shown != Some(seconds) {
            let (minutes, rest) = (seconds / 60, seconds % 60);
            let _ = write!(std::io::stderr(), "{CLEAR}running  {minutes}:{rest:02}");
            line.shown = Some(seconds);
        }
    }

    fn not_isolated(&self, reason: &str) {
        let message = format!("the command runs without isolation ({reason}): it can write wherever you can");
        warn(self.verbosity, &message);
    }

    fn blocked(&self, directory: &Path) {
        say(
            self.verbosity,
            &format!(
                "another build works in {}: waiting for its end",
                modelseal_format::display::path(directory)
            ),
        );
    }

    fn ended(&self) {
        let shown = self.line.lock().is_ok_and(|mut line| line.shown.take().is_some());
        if shown {
            let _ = write!(std::io::stderr(), "{CLEAR}");
        }
    }
}
