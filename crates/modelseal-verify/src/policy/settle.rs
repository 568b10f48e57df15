//! Applies waivers and the policy for warnings to finished checks.

use jiff::Timestamp;

use super::{Error, Policy, Warnings};
use crate::report::id::{MODEL, STEPS};
use crate::report::{About, Check, CheckId, Status};
use modelseal_format::display::Escaped;
use modelseal_format::manifest::Manifest;

impl Policy {
    /// Whether the policy is for this model.
    pub fn judge_model(&self, manifest: &Manifest) -> Check {
        let (demanded, found) = (self.model.get_ref(), &manifest.model().name);
        if demanded == found {
            return Check::pass(MODEL, found.clone());
        }
        Check::fail(MODEL, format!("this is the model `{found}`, but the policy is for `{demanded}`"))
            .hint("check that this is the right archive and the right policy")
    }

    /// Applies the waivers that are still valid. Then, if the policy says so, every other warning becomes a failure.
    pub fn settle(&self, checks: &mut [Check], now: Timestamp) {
        for check in checks.iter_mut() {
            self.waive(check, now);
        }
        if self.warnings == Warnings::Allow {
            return;
        }
        for check in checks.iter_mut().filter(|check| check.status == Status::Warn && !check.is_waived) {
            check.status = Status::Fail;
            check.message =
                format!("{} (a warning, but the policy says `warnings = \"fail\"`)", check.message);
        }
    }

    fn waive(&self, check: &mut Check, now: Timestamp) {
        if !matches!(check.status, Status::Fail | Status::Unknown) {
            return;
        }
        let id = check.id.to_string();
        let waivers = self.waiver.iter().filter(|waiver| *waiver.check.get_ref() == id);
        let Some(waiver) = waivers.max_by_key(|waiver| waiver.until) else { return };
        let reason = Escaped(waiver.reason.get_ref()).to_string();
        if waiver.until < now {
            check.message = format!("{} (the waiver expired at {}: {reason})", check.message, waiver.until);
            return;
        }
        check.status = Status::Warn;
        check.message = format!("{} (waived until {}: {reason})", check.message, waiver.until);
        check.is_waived = true;
    }

    pub(super) fn check_waivers(&self) -> Result<(), Error> {
        for waiver in &self.waiver {
            if waiver.reason.get_ref().trim().is_empty() {
                return Err(self.mistake(waiver.reason.span(), "a waiver needs a reason"));
            }
            if !self.can_be_waived(waiver.check.get_ref()) {
                let message = "cannot be waived: it is not a check of this policy, or it must always pass";
                return Err(self.mistake(waiver.check.span(), message));
            }
        }
        Ok(())
    }

    /// Whether a check can be waived: it belongs to a rule that the policy uses, or to the lineage.
    fn can_be_waived(&self, id: &str) -> bool {
        let of_rules = self.asked.iter().flat_map(|asked| {
            let kinds = asked.rule.kinds().iter().filter(|kind| kind.can_be_waived());
            kinds.map(|kind| match kind.about() {
                About::Release => CheckId::from(*kind),
                _ => kind.of(&asked.subject),
            })
        });
        let mut ids = of_rules.map(|id| id.to_string());
        let is_base = id.strip_prefix("lineage.base.").is_some_and(|name| !name.is_empty());
        let mut steps = STEPS.iter().filter(|kind| kind.can_be_waived() && kind.about() == About::Release);
        is_base || steps.any(|kind| kind.rule() == id) || ids.any(|other| other == id)
    }
}

/// Adds checks to a list. Each one replaces the check with the same id, or is appended.
pub fn merge(checks: &mut Vec<Check>, judged: Vec<Check>) {
    for check in judged {
        match checks.iter_mut().find(|other| other.id == check.id) {
            Some(place) => *place = check,
            None => checks.push(check),
        }
    }
}
