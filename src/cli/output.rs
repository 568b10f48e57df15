//! Standard output and standard error.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::Context;
use terminal_size::{Width, terminal_size_of};

use super::Verbosity;
use super::wrap::wrap;
use modelseal_verify::report::Style;

/// Writes data to standard output. If the reader closes the pipe, that is not an error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Writes text for people to standard output. On a terminal, long lines are wrapped.
pub(super) fn show(text: &str) -> anyhow::Result<()> {
    print(&fitted(text, io::stdout()))
}

/// The text, wrapped at the width of the terminal if the stream is one.
fn fitted(text: &str, stream: impl AsFd) -> String {
    match terminal_size_of(stream) {
        Some((Width(width), _)) => wrap(text, width.into()),
        None => text.to_string(),
    }
}

/// Prints a message on standard error, except with `--quiet`. A write error is ignored.
pub(super) fn say(verbosity: Verbosity, text: &str) {
    if !verbosity.quiet {
        let _ = writeln!(io::stderr(), "{}", fitted(text, io::stderr()));
    }
}

/// Prints an error on standard error, also with `--quiet`.
pub(super) fn complain(text: &str) {
    let error = style(&io::stderr()).paint("1;31", "error:");
    let _ = writeln!(io::stderr(), "{}", fitted(&format!("{error} {text}"), io::stderr()));
}

/// Prints a warning on standard error, except with `--quiet`.
pub(super) fn warn(verbosity: Verbosity, text: &str) {
    if !verbosity.quiet {
        let warning = style(&io::stderr()).paint("1;33", "warning:");
        let _ = writeln!(io::stderr(), "{}", fitted(&format!("{warning} {text}"), io::stderr()));
    }
}

/// Colours are used only on a terminal, and never if `NO_COLOR` is set (no-color.org).
pub(super) fn style(stream: &impl IsTerminal) -> Style {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    if stream.is_terminal() && !forbidden && !dumb { Style::Colour } else { Style::Plain }
}
