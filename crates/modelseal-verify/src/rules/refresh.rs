//! `[refresh]`: whether the release contains anything new, and whether that had an effect.

use serde::Deserialize;

use crate::report::{About, Check, CheckKind};
use crate::rule::{Demand, Evidence, Fault, Healthy, Plant, Proposal, Rule, Section, SectionError, Table};
use modelseal_format::display::{enumerate, name};
use modelseal_format::hint::Hint;
use modelseal_format::manifest::{DataEvidence, InputChange, Manifest, compare_inputs};

pub(super) struct RefreshRule;

const ID: CheckKind = CheckKind::waivable("gate.refresh", About::Release);

/// `[refresh]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// The result for a release whose inputs changed while the model did not, or whose data has nothing new.
    inert: Inert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Inert {
    Fail,
    Warn,
}

impl Rule for RefreshRule {
    fn kinds(&self) -> &'static [CheckKind] {
        &[ID]
    }

    fn table(&self) -> Table {
        Table::Top
    }

    fn keys(&self) -> &'static [&'static str] {
        &["refresh"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let refresh: Option<Refresh> = section.take("refresh")?;
        Ok(refresh.map(|refresh| Box::new(refresh) as Box<dyn Demand>))
    }

    fn propose(&self, _: &Proposal<'_>) -> String {
        "\n[refresh]                   # against the previous release\n\
         inert = \"fail\"            # inputs changed but the model did not, or the data has nothing new\n"
            .to_string()
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let cure = "[refresh] inert = \"fail\"";
        let has_sketch = |input: &modelseal_format::manifest::ResourceDescriptor| {
            input.data().is_some_and(|data| data.sketch.is_some())
        };
        let is_sketched = healthy.previous.dependencies().iter().any(has_sketch);
        let same_rows = healthy.changed(|manifest| {
            for input in manifest.dependencies_mut() {
                let before = healthy.previous.input(&input.name).and_then(|input| input.data());
                let before = before.and_then(|data| data.sketch.clone());
                if let (Some(data), Some(before)) = (input.data_mut(), before) {
                    data.sketch = Some(before);
                }
            }
        });
        let inert = Plant { has_previous_files: true, ..Plant::new(healthy.manifest.clone()) };
        let has_data = healthy.manifest.inputs("data").next().is_some();
        vec![
            Fault::new(
                "the same rows written again",
                cure,
                is_sketched.then_some(same_rows),
                "no rows were counted",
            ),
            Fault::new("training that had no effect", cure, has_data.then_some(inert), "no data was sealed"),
        ]
    }
}

impl Demand for Refresh {
    fn words(&self) -> Option<String> {
        Some("a change since the previous release".to_string())
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        vec![judge(evidence, self.inert)]
    }
}

/// If a data set grows by a share s, its sketch of 1,024 hashes stays the same with the probability exp(-1024 s). If s
/// times 1,024 is larger than this value, that happens once in ten thousand cases.
const NOTICED: f64 = 9.21;

fn judge(evidence: &Evidence<'_>, inert: Inert) -> Check {
    let Some(previous) = evidence.before() else {
        return Check::unknown(ID, "there is no previous release to compare with").hint(Hint::NamePrevious);
    };
    let manifest = evidence.manifest;
    let changes = changes(previous, manifest);
    let finding = |message: String| match inert {
        Inert::Fail => Check::fail(ID, message),
        Inert::Warn => Check::warn(ID, message),
    };
    let sources: Vec<&str> = changes.iter().filter_map(|change| change.strip_prefix("data/")).collect();
    let has_nothing_new = |source: &&&str| has_nothing_new(previous.data(source), manifest.data(source));
    let stale: Vec<String> = sources.iter().filter(has_nothing_new).map(|source| name(source)).collect();
    // It is no fault if one source was only written again while another one has something new.
    if !sources.is_empty() && stale.len() == sources.len() {
        let stale: Vec<&str> = stale.iter().map(String::as_str).collect();
        let message = match &stale[..] {
            [one] => format!("nothing new in {one}: its bytes changed, but its rows are the same"),
            several => {
                format!(
                    "nothing new in {}: their bytes changed, but their rows are the same",
                    enumerate(several)
                )
            }
        };
        return finding(message).hint("the same rows were written again, in another order or format");
    }
    match (&changes[..], is_same_model(previous, manifest)) {
        ([], _) => Check::warn(ID, "no input changed since the previous release"),
        // A page of documentation changes the code but not the model.
        ([only], true) if only == "code" => Check::warn(ID, "only the code changed, not the model"),
        (changes, true) => {
            let names: Vec<String> = changes.iter().map(|change| name(change)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            finding(format!("training had no effect: {} changed, but the model did not", enumerate(&names)))
                .hint("the sealed model is not the model that was trained on these inputs")
        }
        (changes, false) => {
            let count =
                modelseal_format::display::count(changes.len() as u64, "input changed", "inputs changed");
            Check::pass(ID, format!("{count}, and so did the model"))
        }
    }
}

/// The names of the inputs that differ. All hyperparameters count as one input. A recipe describes how the inputs are
/// used, but is not an input itself.
fn changes(previous: &Manifest, manifest: &Manifest) -> Vec<String> {
    let is_input = |change: &InputChange| change.name != "recipe" && !change.name.starts_with("params/");
    let inputs = compare_inputs(previous.dependencies(), manifest.dependencies());
    let mut names: Vec<String> = inputs.into_iter().filter(is_input).map(|change| change.name).collect();
    if previous.external().hyperparameters != manifest.external().hyperparameters {
        names.push("hyperparameters".to_string());
    }
    names
}

/// Whether all files have the same content, even if their containers differ.
fn is_same_model(previous: &Manifest, manifest: &Manifest) -> bool {
    let (before, after) = (previous.files(), manifest.files());
    before.len() == after.len()
        && before.iter().zip(after).all(|(old, new)| old.name == new.name && old.has_content_of(new))
}

/// Whether the rows of two data sets are the same, regardless of their order and of how often each one occurs.
fn has_nothing_new(before: Option<&DataEvidence>, after: Option<&DataEvidence>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let (Some(left), Some(right)) = (&before.sketch, &after.sketch) else { return false };
    if left.hashes != right.hashes || left.hashes.is_empty() {
        return false;
    }
    if right.is_complete() || left.sum == right.sum {
        return true;
    }
    // The sketch does not contain all hashes, so a small share of new rows might not show.
    let (old, new) = (before.rows.unwrap_or(0) as f64, after.rows.unwrap_or(0) as f64);
    let share = (new - old).abs() / new.max(old).max(1.0);
    share * right.hashes.len() as f64 > NOTICED
}
