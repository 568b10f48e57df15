//! Checks that every JSON document in the tests follows its published schema.

use std::collections::HashMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

/// Validates a document against the schema that it names.
#[track_caller]
pub fn validate(document: &Value) {
    static VALIDATORS: OnceLock<HashMap<String, Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let schemas = [
            include_str!("../../../docs/schema/report.v1.json"),
            include_str!("../../../docs/schema/build.v1.json"),
            include_str!("../../../docs/schema/diff.v1.json"),
            include_str!("../../../docs/schema/drill.v1.json"),
            include_str!("../../../docs/schema/reproduce.v1.json"),
            include_str!("../../../docs/schema/show.v1.json"),
            include_str!("../../../docs/schema/statement.v1.json"),
        ];
        let compile = |text: &str| {
            let schema: Value = serde_json::from_str(text).expect("is JSON");
            let name = schema["$id"].as_str().expect("a name").to_string();
            let options = jsonschema::options().should_validate_formats(true);
            (name, options.build(&schema).expect("is a schema"))
        };
        schemas.into_iter().map(compile).collect()
    });
    let name = document["schema"].as_str().expect("names its schema");
    let errors: Vec<String> = validators[name]
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
}
