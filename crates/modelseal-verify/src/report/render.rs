//! What a report format has to do.

use super::{Report, Style};

/// A report format.
pub trait Renderer: Sync {
    /// The name of the format for `--format`.
    fn name(&self) -> &'static str;

    /// One line for `--help` about its purpose.
    fn about(&self) -> &'static str;

    /// Renders the whole report, with a line end after the last line.
    ///
    /// # Errors
    /// The errors of the encoder.
    fn render(&self, report: &Report, style: Style) -> serde_json::Result<String>;

    /// What `--quiet` shows instead of the whole report. `None` if it shows everything.
    fn brief(&self, _report: &Report) -> Option<String> {
        None
    }
}
