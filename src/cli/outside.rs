//! Checks that need more than the release, if the command line asks for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ops::{LocalCheckout, RemoteCommit};
use modelseal_format::context::Context;
use modelseal_format::manifest::Manifest;
use modelseal_verify::report::Report;
use modelseal_verify::verify::{Error, OutsideCheck};

/// The comparison with a checkout.
pub(super) fn against(directory: Option<PathBuf>, data: BTreeMap<String, PathBuf>) -> Box<dyn OutsideCheck> {
    match directory {
        Some(directory) => Box::new(LocalCheckout { directory, data }),
        None => Box::new(Unasked("inputs against a checkout (no --against)")),
    }
}

/// The look for the commit at its remote.
pub(super) fn online(is_asked_for: bool) -> Box<dyn OutsideCheck> {
    if is_asked_for {
        Box::new(RemoteCommit)
    } else {
        Box::new(Unasked("the commit at its remote (no --online)"))
    }
}

/// A check that was not asked for. The report says so.
struct Unasked(&'static str);

impl OutsideCheck for Unasked {
    fn check(&self, _: &Manifest, report: &mut Report, _: &Context) -> Result<(), Error> {
        report.not_checked.push(self.0.to_string());
        Ok(())
    }
}
