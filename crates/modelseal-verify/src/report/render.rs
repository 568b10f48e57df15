//! Ways to write a report. To add one, write its file and name it in [`RENDERERS`].

use super::json::Json;
use super::text::Text;
use super::{Report, Style};

/// A way to write a report.
pub trait Renderer: Sync {
    /// What `--format` calls it.
    fn name(&self) -> &'static str;

    /// What it is for, in a line of `--help`.
    fn about(&self) -> &'static str;

    /// The whole report, with a line end at its end.
    ///
    /// # Errors
    /// Those of the encoder.
    fn render(&self, report: &Report, style: Style) -> serde_json::Result<String>;

    /// What `--quiet` leaves of it, if that is less than the whole.
    fn brief(&self, _report: &Report) -> Option<String> {
        None
    }
}

/// Every way to write a report; the first is the default.
pub const RENDERERS: [&dyn Renderer; 2] = [&Text, &Json];

/// The way with this name.
pub fn renderer(name: &str) -> Option<&'static dyn Renderer> {
    RENDERERS.into_iter().find(|renderer| renderer.name() == name)
}
