//! Step 6: what the release was made from, as far as it was sealed.

use crate::report::Check;
use modelseal_format::manifest::{Missing, ResourceDescriptor, Statement, Value};
use modelseal_format::text::{count, name, number, short};

/// Names every input.
pub(super) fn checks(manifest: &Statement) -> Vec<Check> {
    let missing = &manifest.internal().missing;
    let nothing = missing.len() == Missing::ALL.len();
    let not_sealed = |part: Missing, id: &str| {
        let message = format!("{} not sealed", part.was());
        if nothing { Check::unknown(id, message) } else { Check::warn(id, message) }
    };
    let mut checks = Vec::new();
    let find = |wanted: &'static str| {
        manifest.dependencies().iter().filter(move |input| {
            input.name == wanted || input.name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    match find("code").next() {
        Some(code) => checks.push(check_code(code)),
        None => checks.push(not_sealed(Missing::Code, "lineage.code")),
    }
    for recipe in find("recipe") {
        checks.push(Check::pass("lineage.recipe", described(recipe)));
    }
    if missing.contains(&Missing::Data) {
        checks.push(not_sealed(Missing::Data, "lineage.data"));
    }
    for kind in ["data", "base"] {
        for input in find(kind) {
            checks
                .push(Check::pass(format!("lineage.{}", input.name.replacen('/', ".", 1)), described(input)));
        }
    }
    if missing.contains(&Missing::Params) {
        checks.push(not_sealed(Missing::Params, "lineage.params"));
    } else {
        let values = manifest.external().hyperparameters.values().map(Value::count).sum();
        checks.push(Check::pass("lineage.params", count(values, "value", "values")));
    }
    let environment: Vec<String> =
        find("environment").map(|input| name(input.name.trim_start_matches("environment/"))).collect();
    checks.push(if environment.is_empty() {
        Check::skip("lineage.environment", "nothing was sealed about the environment")
    } else {
        Check::pass("lineage.environment", environment.join(", "))
    });
    checks.push(Check::pass("lineage.origin", manifest.internal().origin.name()));
    checks
}

fn check_code(code: &ResourceDescriptor) -> Check {
    let commit = short(code.digest.git_commit.as_deref().unwrap_or_default());
    let place = match &code.uri {
        Some(uri) => {
            let address = uri.split_once("://").map_or(uri.as_str(), |(_, address)| address);
            format!("at {}", modelseal_format::text::Escaped(address))
        }
        None => "at no remote".to_string(),
    };
    let dirty = code.annotations.as_ref().and_then(|facts| facts.dirty.as_ref());
    match dirty.map_or(0, Vec::len) {
        0 => Check::pass("lineage.code", format!("git {commit} {place}")),
        changed => {
            let files = count(changed as u64, "path was", "paths were");
            Check::warn("lineage.code", format!("git {commit} {place}; {files} not as committed"))
        }
    }
}

/// An input in a few words.
fn described(input: &ResourceDescriptor) -> String {
    let mut parts = Vec::new();
    if let Some(facts) = &input.annotations {
        if let Some(model) = &facts.model {
            parts.push(format!("release of {}", modelseal_format::text::Escaped(&model.directory())));
        }
        parts.extend(facts.rows.map(|rows| count(rows, "row", "rows")));
        parts.extend(facts.bytes.map(|bytes| format!("{} bytes", number(bytes))));
        parts.extend(
            facts.newest.as_ref().map(|newest| format!("newest {}", modelseal_format::text::Escaped(newest))),
        );
    }
    let (algorithm, hex) = input.digest.tagged().split_once(':').map_or_else(
        || (String::new(), String::new()),
        |(algorithm, hex)| (algorithm.to_string(), short(hex)),
    );
    parts.push(format!("{algorithm}:{hex}"));
    parts.join(", ")
}
