//! The display of a running command: its output and its elapsed time.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::Verbosity;
use super::output::{say, warn};
use modelseal_build::run::{Listener, Stream};

/// The elapsed time appears only after this delay. Shorter commands do not need it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Forwards a command's output to standard error, and shows the elapsed time on a terminal.
pub(super) struct Running {
    verbosity: Verbosity,
    terminal: bool,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    /// The last output did not end with a line feed.
    open: bool,
    /// The elapsed seconds on display.
    shown: Option<u64>,
}

/// Moves to the start of the line and clears it.
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
        // A write error is ignored: the log has the complete output.
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
            &format!("waiting for another build in {} to finish", modelseal_format::display::path(directory)),
        );
    }

    fn ended(&self) {
        let shown = self.line.lock().is_ok_and(|mut line| line.shown.take().is_some());
        if shown {
            let _ = write!(std::io::stderr(), "{CLEAR}");
        }
    }
}
