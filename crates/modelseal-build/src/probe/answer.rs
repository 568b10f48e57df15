//! Compares answers: exactly, by their numbers, or within a tolerance.

use serde_json::Value;

use modelseal_format::digest::Digest;
use modelseal_format::manifest::{MOST_SCORES, ProbeFacts, SealedAnswer};

/// The numbers of an answer, with members in byte order of their names.
pub(super) fn scores(answer: &Value) -> Vec<f64> {
    let mut found = Vec::new();
    visit(answer, &mut |number| found.extend(number.as_f64()));
    found
}

fn visit(value: &Value, take: &mut dyn FnMut(&serde_json::Number)) {
    match value {
        Value::Number(number) => take(number),
        Value::Array(items) => items.iter().for_each(|item| visit(item, take)),
        Value::Object(members) => sorted(members).into_iter().for_each(|(_, value)| visit(value, take)),
        _ => {}
    }
}

/// Sorts members, so that the order does not depend on the JSON reader.
fn sorted(members: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|left, right| left.0.cmp(right.0));
    sorted
}

/// An answer without its numbers.
pub(super) fn shape(answer: &Value) -> String {
    write(answer, true)
}

/// JSON without white space, with members sorted by name.
pub(super) fn canonical(value: &Value) -> String {
    write(value, false)
}

fn write(value: &Value, hide_numbers: bool) -> String {
    match value {
        Value::Number(_) if hide_numbers => "null".to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| write(item, hide_numbers)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{}:{}", Value::String(name.clone()), write(value, hide_numbers))
            };
            let members: Vec<String> = sorted(members).into_iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

/// An answer in its sealed form.
pub(super) fn seal(id: &str, answer: &Value) -> SealedAnswer {
    let mut scores = scores(answer);
    if scores.len() > MOST_SCORES {
        scores.clear();
    }
    SealedAnswer {
        id: id.to_string(),
        digest: Digest::sha256(canonical(answer).as_bytes()),
        shape: Digest::sha256(shape(answer).as_bytes()),
        scores,
    }
}

/// Whether the numbers of an answer are scores: at least one of them is written with a fraction.
pub(super) fn has_fraction(answer: &Value) -> bool {
    let mut found = false;
    visit(answer, &mut |number| found |= number.is_f64());
    found
}

/// Checks that a model answers as the sealed one did, within the sealed tolerance.
///
/// # Errors
/// A message about the first answer that differs by more than the tolerance.
pub fn agree(sealed: &ProbeFacts, found: &ProbeFacts) -> Result<(), String> {
    let tolerance = sealed.tolerance;
    if sealed.answers.len() != found.answers.len() {
        return Err("the number of questions differs".to_string());
    }
    for (left, right) in sealed.answers.iter().zip(&found.answers) {
        if left.digest == right.digest && left.id == right.id {
            continue;
        }
        let id = modelseal_format::display::name(&left.id);
        let is_comparable = left.id == right.id
            && left.shape == right.shape
            && !left.scores.is_empty()
            && left.scores.len() == right.scores.len();
        if !is_comparable {
            let exactly = left.id == right.id && left.shape == right.shape && left.scores.is_empty();
            let reason = match exactly {
                true => format!(" (answers with more than {MOST_SCORES} numbers are compared exactly)"),
                false => String::new(),
            };
            return Err(format!("the answer to {id} differs{reason}"));
        }
        let pairs = left.scores.iter().zip(&right.scores);
        if let Some((expected, found)) =
            pairs.into_iter().find(|(left, right)| !tolerance.allows(**left, **right))
        {
            return Err(format!("the answer to {id} differs: {expected} → {found}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use modelseal_format::manifest::Tolerance;
    use serde_json::json;

    use super::*;

    #[test]
    fn probe_tolerance_applies_to_numbers_only() {
        let tolerance = Tolerance::default();
        for (expected, found, agrees) in [
            (json!(1.0), json!(1.000001), true),
            (json!(1), json!(1.0), true),
            (json!(128000), json!(128001), false),
            (json!([0.25, 128000]), json!([0.2500001, 128000]), true),
            (json!(100000.0), json!(100000.5), true),
            (json!(1e17), json!(1.0000001e17), true),
            (json!(1.0), json!(1.1), false),
            (json!({"a": [1.0, "x"]}), json!({"a": [1.000001, "x"]}), true),
            (json!({"a": [1.0, "x"]}), json!({"a": [1.0, "y"]}), false),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), false),
            (json!([1]), json!([1, 2]), false),
            (json!(null), json!(0), false),
            (json!("1"), json!(1), false),
            (json!(9007199254740993u64), json!(9007199254740993u64), true),
        ] {
            assert_eq!(tolerance.accepts(&expected, &found), agrees, "{expected} {found}");
        }
    }

    #[test]
    fn probe_answers_are_equal_in_any_member_order() {
        let left: Value = serde_json::from_str(r#"{"b":1.5,"a":[2,"x\n"],"é":true}"#).expect("is JSON");
        let right: Value = serde_json::from_str(r#"{"é":true,"a":[2,"x\n"],"b":1.5}"#).expect("is JSON");
        assert_eq!(seal("i", &left), seal("i", &right));
        assert_eq!(canonical(&left), r#"{"a":[2,"x\n"],"b":1.5,"é":true}"#);
        assert_eq!(scores(&left), [2.0, 1.5]);
    }
}
