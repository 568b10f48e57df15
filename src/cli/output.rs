//! Standard output and standard error.

use std::io::{self, Write};

use anyhow::Context;

use super::Verbosity;
use super::error::style;

/// Writes data to standard output. Whoever reads it may stop reading: that is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Says something on standard error, unless the user wants quiet. If nobody listens, nobody is told.
pub(super) fn say(verbosity: Verbosity, text: &str) {
    if !verbosity.quiet {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Says what went wrong on standard error, also to who wants quiet.
pub(super) fn complain(text: &str) {
    let error = style(&io::stderr()).paint("1;31", "error:");
    let _ = writeln!(io::stderr(), "{error} {text}");
}

/// Warns on standard error.
pub(super) fn warn(verbosity: Verbosity, text: &str) {
    if !verbosity.quiet {
        let warning = style(&io::stderr()).paint("1;33", "warning:");
        let _ = writeln!(io::stderr(), "{warning} {text}");
    }
}
