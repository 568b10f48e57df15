use super::Status;

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Colour,
}

impl Style {
    /// The text in an ANSI colour, or unchanged.
    pub fn paint(self, colour: &str, text: &str) -> String {
        match self {
            Style::Plain => text.to_string(),
            Style::Colour => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
        }
    }

    pub(super) fn status(self, status: Status, text: &str) -> String {
        match status {
            Status::Pass => self.paint("32", text),
            Status::Warn | Status::Unknown => self.paint("33", text),
            Status::Fail => self.paint("1;31", text),
            Status::Skip => self.paint("2", text),
        }
    }
}
