//! The check ids are one list: in the code, in the schema of the report and in the documentation.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use modelseal_verify::report::{About, CheckKind};
use modelseal_verify::rules::check_kinds;
use serde_json::{Value, json};

const SUBJECT: &str = "[a-z0-9][a-z0-9_-]{0,63}";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("reads")
}

/// A regular expression for every id of a kind.
fn pattern(kind: CheckKind) -> String {
    let rule = kind.rule().replace('.', "\\.");
    match (kind.about(), rule.strip_prefix("probe\\.")) {
        (About::Release, _) => rule,
        (_, Some(aspect)) => format!("probe\\.{SUBJECT}\\.{aspect}"),
        _ => format!("{rule}\\.{SUBJECT}"),
    }
}

/// The id of a kind, as the documentation writes it.
fn documented(kind: CheckKind) -> String {
    match (kind.about(), kind.rule().strip_prefix("probe.")) {
        (About::Release, _) => format!("`{}`", kind.rule()),
        (_, Some(aspect)) => format!("`probe.NAME.{aspect}`"),
        _ => format!("`{}.NAME`", kind.rule()),
    }
}

#[test]
fn report_schema_lists_exactly_the_known_check_ids() {
    let schema: Value = serde_json::from_str(&read("docs/schema/report.v1.json")).expect("is JSON");
    let check = &schema["properties"]["checks"]["items"]["properties"];
    let ids: Vec<String> = check_kinds().map(pattern).collect();
    assert_eq!(check["id"]["pattern"], json!(format!("^({})$", ids.join("|"))));
    let rules: BTreeSet<&str> = check_kinds().map(CheckKind::rule).collect();
    assert_eq!(check["rule"]["enum"], json!(rules));
}

#[test]
fn documentation_describes_every_check_id() {
    let pages = ["verification", "policy", "trust"].map(|page| read(&format!("docs/{page}.md"))).concat();
    let missing: Vec<String> =
        check_kinds().map(documented).filter(|id| !pages.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
