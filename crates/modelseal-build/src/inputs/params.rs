//! Hyperparameters from TOML, JSON and YAML files and from the recipe's inline values. Kinds of values stay distinct.

mod json;
mod yaml;

use std::collections::BTreeMap;

use crate::recipe;
use modelseal_format::manifest::Value;

/// Maximum nesting of values, so that every JSON reader can read the manifest.
pub(super) const DEEPEST: usize = 60;

/// Maximum size of a parameter file, in bytes.
pub(super) const LONGEST: u64 = 16 << 20;

/// Why hyperparameters cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    #[error("it is not TOML, JSON or YAML: its extension must be `.toml`, `.json`, `.yaml` or `.yml`")]
    Format,
    #[error("it is longer than 16 MiB")]
    TooLong,
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("{0}")]
    Syntax(String),
    #[error("it is not a table of names and values")]
    NotATable,
    #[error("{} is not a finite number", modelseal_format::display::name(.0))]
    NotFinite(String),
    #[error("the key {} occurs twice", modelseal_format::display::name(.0))]
    Duplicate(String),
    #[error("it is nested deeper than {DEEPEST} levels")]
    TooDeep,
}

/// Reads the hyperparameters of a file.
pub(super) fn parse(path: &str, bytes: &[u8]) -> Result<BTreeMap<String, Value>, ParamsError> {
    if bytes.len() as u64 > LONGEST {
        return Err(ParamsError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ParamsError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let value = match ending.as_deref() {
        Some("toml") => recipe::read_toml_values(text).map_err(|(line, message)| {
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            ParamsError::Syntax(format!("{place}{message}"))
        })?,
        Some("json") => json::parse(text)?,
        Some("yaml" | "yml") => yaml::parse(text)?,
        _ => return Err(ParamsError::Format),
    };
    match value {
        Value::Table(table) if depth(&table) <= DEEPEST => Ok(table),
        Value::Table(_) => Err(ParamsError::TooDeep),
        _ => Err(ParamsError::NotATable),
    }
}

/// Returns how deeply tables and lists are nested. The parsers themselves stop at about 128 levels.
pub(super) fn depth(table: &BTreeMap<String, Value>) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Array(values) => 1 + values.iter().map(of).max().unwrap_or(0),
            Value::Table(table) => depth(table),
            _ => 0,
        }
    }
    1 + table.values().map(of).max().unwrap_or(0)
}

/// Converts a number from JSON or YAML to an integer or a finite float, with its text.
fn number(text: &str) -> Result<Value, ParamsError> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Ok(Value::Integer(text.to_string()));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Value::Float(text.to_string())),
        _ => Err(ParamsError::NotFinite(text.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str, text: &str) -> Result<String, String> {
        let table = parse(path, text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(table.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn params_reader_gives_equal_values_from_toml_json_and_yaml() {
        let expected = "a=1 b=1.0 c=\"1\" d=true e=[1, 0.001] f={ g = null } h=9007199254740993";
        let json = r#"{"h":9007199254740993,"a":1,"b":1.0,"c":"1","d":true,"e":[1,0.001],"f":{"g":null}}"#;
        let yaml = "a: 1\nb: 1.0\nc: '1'\nd: true\ne:\n  - 1\n  - 0.001\nf: {g: ~}\nh: 9007199254740993\n";
        assert_eq!(shown("p.json", json).as_deref(), Ok(expected));
        assert_eq!(shown("p.yaml", yaml).as_deref(), Ok(expected));
        assert_eq!(shown("p.yml", json).as_deref(), Ok(expected), "JSON is YAML");
        let toml = "a = 1\nb = 1.0\nc = '1'\nd = true\ne = [1, 0.001]\nh = 9007199254740993\n[f]\n";
        assert_eq!(shown("p.toml", toml).as_deref(), Ok(&*expected.replace("{ g = null }", "{ }")));
    }

    #[test]
    fn params_reader_rejects_invalid_files_and_names_the_reason() {
        for (path, text, expected) in [
            ("p.txt", "a = 1", "not TOML, JSON or YAML"),
            ("p.json", "[1]", "not a table"),
            ("p.yaml", "- 1", "not a table"),
            ("p.yaml", "", "not a table"),
            ("p.json", "{\"a\":1,\"a\":2}", "`a` occurs twice"),
            ("p.json", "{\"x\":{\"a\":1,\"a\":2}}", "`a` occurs twice"),
            ("p.yaml", "a: 1\na: 2\n", "`a` occurs twice"),
            ("p.toml", "a = 1\na = 2\n", "line 2: "),
            ("p.json", "{\"a\":NaN}", "line 1 column 6"),
            ("p.json", "{\"a\":1e400}", "`1e400` is not a finite number"),
            ("p.yaml", "a: .nan", "`.nan` is not a finite number"),
            ("p.yaml", "a: -.inf", "`-.inf` is not a finite number"),
            ("p.toml", "a = inf", "not a finite number"),
            ("p.json", "{\"a\":1} {}", "trailing characters"),
            ("p.yaml", "a: 1\n---\nb: 2\n", "more than one document"),
            ("p.yaml", "a: *x", "anchor"),
            ("p.yaml", "a: !python/object:os.system x", "tag"),
            ("p.yaml", "? [a]\n: 1\n", "key"),
            ("p.json", &format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200)), "deep"),
            ("p.json", &"[".repeat(100_000), "EOF"),
            ("p.toml", &format!("a = {}", "[".repeat(100_000)), ""),
            ("p.yaml", &format!("a: {}1{}", "[".repeat(200), "]".repeat(200)), "deep"),
            ("p.yaml", &format!("a: {}", "[".repeat(100_000)), ""),
            ("p.toml", &format!("a = {}1{}", "[".repeat(70), "]".repeat(70)), "deep"),
        ] {
            let error = shown(path, text).expect_err("is refused");
            assert!(error.contains(expected), "{path} {error}");
        }
        assert_eq!(parse("p.json", b"\xff"), Err(ParamsError::NotUtf8));
    }

    #[test]
    fn yaml_reader_follows_the_core_schema_and_limits_anchor_expansion() {
        let text = "a: &x {b: 1}\nc: *x\nd: yes\ne: 0x1F\nf: 0o17\ng: 1e-3\nh: 'null'\ni: 1_000\nj: 2026-11-24\nk: .5\n<<: 1\n";
        let expected = "<<=1 a={ b = 1 } c={ b = 1 } d=\"yes\" e=31 f=15 g=1e-3 h=\"null\" i=\"1_000\" j=\"2026-11-24\" k=.5";
        assert_eq!(shown("p.yaml", text).as_deref(), Ok(expected));

        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
        for level in 1..12 {
            let above = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [above.as_str(); 10].join(",")));
        }
        assert!(shown("p.yaml", &bomb).expect_err("is refused").contains("too many"));
    }
}
