//! Step 6: what the release was made from, as far as that was sealed.

use crate::report::id::{BASE, CODE, DATA, ENVIRONMENT, NO_DATA, ORIGIN, PARAMS, RECIPE};
use crate::report::{Check, CheckKind};
use modelseal_format::display::{count, name, number, short};
use modelseal_format::manifest::{Code, Manifest, Missing, Model, ResourceDescriptor, Value};

/// One check for every input.
pub(super) fn checks(manifest: &Manifest) -> Vec<Check> {
    let missing = &manifest.internal().missing;
    let nothing = missing.len() == Missing::ALL.len();
    let not_sealed = |part: Missing, kind: CheckKind| {
        let message = format!("{} not sealed", part.was());
        if nothing { Check::unknown(kind, message) } else { Check::warn(kind, message) }
    };
    let mut checks = Vec::new();
    match manifest.code() {
        Some(code) => checks.push(check_code(&code)),
        None => checks.push(not_sealed(Missing::Code, CODE)),
    }
    checks.extend(manifest.recipe().map(|recipe| Check::pass(RECIPE, described(recipe))));
    if missing.contains(&Missing::Data) {
        checks.push(not_sealed(Missing::Data, NO_DATA));
    }
    for (group, kind) in [("data", DATA), ("base", BASE)] {
        let inputs = manifest.inputs(group);
        checks.extend(inputs.map(|(name, input)| Check::pass(kind.of(name), described(input))));
    }
    if missing.contains(&Missing::Params) {
        checks.push(not_sealed(Missing::Params, PARAMS));
    } else {
        let values = manifest.external().hyperparameters.values().map(Value::count).sum();
        checks.push(Check::pass(PARAMS, count(values, "value", "values")));
    }
    let environment: Vec<String> = manifest.inputs("environment").map(|(path, _)| name(path)).collect();
    checks.push(if environment.is_empty() {
        Check::skip(ENVIRONMENT, "the environment was not sealed")
    } else {
        Check::pass(ENVIRONMENT, environment.join(", "))
    });
    checks.push(Check::pass(ORIGIN, manifest.internal().origin.name()));
    checks
}

fn check_code(code: &Code<'_>) -> Check {
    let commit = short(code.commit());
    let place = match code.remote() {
        Some(remote) => {
            let address = remote.split_once("://").map_or(remote, |(_, address)| address);
            format!("at {}", modelseal_format::display::Escaped(address))
        }
        None => "without a remote".to_string(),
    };
    match code.dirty().len() {
        0 => Check::pass(CODE, format!("git {commit} {place}")),
        changed => {
            let files = count(changed as u64, "path", "paths");
            Check::warn(CODE, format!("git {commit} {place}; {files} differed from the commit"))
        }
    }
}

/// A short description of an input.
fn described(input: &ResourceDescriptor) -> String {
    let mut parts = Vec::new();
    let bytes = |bytes: u64| format!("{} bytes", number(bytes));
    if let Some(base) = input.base() {
        let directory = base.model.as_ref().map(Model::directory);
        parts.extend(
            directory.map(|model| format!("release of {}", modelseal_format::display::Escaped(&model))),
        );
        parts.extend(base.bytes.map(bytes));
    }
    if let Some(data) = input.data() {
        parts.extend(data.rows.map(|rows| count(rows, "row", "rows")));
        parts.extend(data.bytes.map(bytes));
        let newest = data.newest.as_ref();
        parts.extend(newest.map(|newest| format!("newest {}", modelseal_format::display::Escaped(newest))));
    }
    let (algorithm, hex) = input.digest.tagged().split_once(':').map_or_else(
        || (String::new(), String::new()),
        |(algorithm, hex)| (algorithm.to_string(), short(hex)),
    );
    parts.push(format!("{algorithm}:{hex}"));
    parts.join(", ")
}
