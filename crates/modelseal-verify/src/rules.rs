//! The rules, one file each. To add one, write the file and name it in [`RULES`].

pub mod answers;
mod code;
mod data;
mod distribution;
mod freshness;
mod labels;
mod origin;
pub mod probes;
mod refresh;
mod rows;
mod slices;
mod source;
mod statistics;

use crate::report::CheckKind;
use crate::rule::Rule;

/// Every rule, in the order in which a report lists its checks.
pub static RULES: [&dyn Rule; 9] = [
    &origin::OriginRule,
    &code::CodeRule,
    &data::DataRule,
    &freshness::Freshness,
    &labels::Labels,
    &slices::Slices,
    &rows::Rows,
    &refresh::RefreshRule,
    &probes::Probes,
];

/// Every kind of check that a verification can make, in the order of the steps.
pub fn check_kinds() -> impl Iterator<Item = CheckKind> {
    let rules = RULES.iter().flat_map(|rule| rule.kinds().iter().copied());
    let more = rules.filter(|kind| !crate::report::id::STEPS.contains(kind));
    crate::report::id::STEPS.into_iter().chain(more)
}
