//! Refuses an older release after a newer one, unless an authorised rollback names this release.

use super::Verification;
use crate::policy::Policy;
use crate::report::Check;
use crate::report::id::{ROLLBACK, VERSION};
use modelseal_format::display::{Escaped, short};
use modelseal_format::manifest::{Model, Rollback};
use modelseal_format::release::Seal;

/// A rollback that an authorised signer approved and that has not expired.
#[derive(Debug)]
pub(super) struct ApprovedRollback {
    pub(super) rollback: Rollback,
    /// The signer that approved it.
    pub(super) signer: String,
}

/// Compares the numbers and versions of two releases of one model, and the number with the minimum of the policy.
pub(super) fn check(
    verification: &mut Verification<'_>,
    policy: &Policy,
    seal: &Seal,
    previous: Option<&Seal>,
) {
    let previous = previous.filter(|previous| previous.release != seal.release);
    let model = seal.manifest.model();
    if let Some(previous) = previous
        && previous.manifest.model().version == model.version
    {
        let digest = |seal: &Seal| format!("sha256:{}", short(&seal.release.to_string()));
        let message = format!(
            "two releases are called {}: the previous release ({}) and this one ({})",
            model.directory(),
            digest(previous),
            digest(seal)
        );
        verification.add(Check::fail(VERSION, message).hint("give every release its own version"));
    }
    let before = previous.map(|previous| previous.manifest.model());
    if let Some(check) = compare(policy.min_release, model, before) {
        let check = excuse(check, verification);
        verification.add(check);
    }
}

enum Order {
    Older(String),
    Check(Check),
}

fn compare(least: Option<u64>, model: &Model, before: Option<&Model>) -> Option<Order> {
    let number = model.release;
    let unknown = |message: String| {
        let hint = "set `release = N` under `[model]` in the recipe, and raise it for every release";
        Some(Order::Check(Check::unknown(ROLLBACK, message).hint(hint)))
    };
    match (number, least) {
        (None, Some(least)) => {
            return unknown(format!("it has no `release` number, but the policy demands at least {least}"));
        }
        (Some(number), Some(least)) if number < least => {
            return Some(Order::Older(format!(
                "release {number} is older than {least}, the oldest that the policy accepts"
            )));
        }
        _ => {}
    }
    match (number, before.map(|before| before.release)) {
        (None, Some(Some(before))) => unknown(format!(
            "the previous release has the number {before}, but this one has none: cannot tell which is newer"
        )),
        (Some(number), Some(Some(before))) if number < before => {
            Some(Order::Older(format!("release {number} is older than {before}, the previous release")))
        }
        (Some(number), Some(Some(before))) if number == before => {
            let message = format!("the previous release and this one both have the number {number}");
            Some(Order::Check(
                Check::fail(ROLLBACK, message).hint("give every release a higher number than the last"),
            ))
        }
        (Some(number), Some(Some(before))) => {
            Some(Order::Check(Check::pass(ROLLBACK, format!("release {number}, after {before}"))))
        }
        (Some(number), _) if least.is_some() => {
            Some(Order::Check(Check::pass(ROLLBACK, format!("release {number}"))))
        }
        _ => None,
    }
}

/// Lets an older release pass if a rollback to it was approved.
fn excuse(order: Order, verification: &Verification<'_>) -> Check {
    let message = match order {
        Order::Check(check) => return check,
        Order::Older(message) => message,
    };
    match verification.rollbacks.first() {
        Some(ApprovedRollback { rollback, signer }) => {
            let reason = Escaped(&rollback.reason);
            let until = rollback.until;
            Check::pass(ROLLBACK, format!("{message}; rollback approved until {until}: {reason} ({signer})"))
        }
        None => Check::fail(ROLLBACK, message)
            .hint("if the rollback is intended, approve it with `modelseal rollback`"),
    }
}
