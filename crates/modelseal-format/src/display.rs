//! Formats names, numbers and digests for people.
//!
//! Names come from archives, directories and repositories that are not trusted. Every character that could move the
//! cursor, reorder the line or begin a new line is therefore escaped.

use std::fmt;
use std::path::Path;

/// A path between back-ticks, escaped, without a redundant leading `./`.
pub fn path(path: &Path) -> String {
    name(
        &path.strip_prefix("./").ok().filter(|rest| *rest != Path::new("")).unwrap_or(path).to_string_lossy(),
    )
}

/// An untrusted name between back-ticks, escaped. A name longer than the longest path is truncated.
pub fn name(name: &str) -> String {
    format!("`{}`", escape(name).replace('`', "\\u{60}"))
}

/// An error message from third-party code, escaped, because it may quote untrusted text. A message longer than the
/// longest path is truncated.
pub fn message(error: &dyn fmt::Display) -> String {
    escape(&error.to_string())
}

/// Maximum length in bytes. Untrusted text may be as long as a file, and no reader needs more than this.
const LONGEST: usize = 4096;

fn escape(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(LONGEST)];
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{rest}", Escaped(shown))
}

/// `a`, `a and b`, `a, b and c`.
pub fn enumerate(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => one.to_string(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A command between back-ticks, escaped, truncated to one line.
pub fn command(words: &[String]) -> String {
    let line = words.join(" ");
    match line.char_indices().nth(80) {
        Some((end, _)) => name(&format!("{}…", &line[..end])),
        None => name(&line),
    }
}

/// A duration in the words of a recipe: `90 seconds`, `2 hours`.
pub fn duration(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        _ if seconds >= 7200 && seconds.is_multiple_of(3600) => count(seconds / 3600, "hour", "hours"),
        _ if seconds >= 120 && seconds.is_multiple_of(60) => count(seconds / 60, "minute", "minutes"),
        _ => count(seconds, "second", "seconds"),
    }
}

/// Displays text and escapes everything that a terminal, a log or a CI system would interpret.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_unsafe(character) {
                write!(formatter, "\\u{{{:x}}}", u32::from(character))?;
            } else {
                write!(formatter, "{character}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character must be escaped: control characters, line and paragraph separators, invisible and
/// direction-changing characters, tags and private use.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff9}'..='\u{fffd}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

/// A JSON document for people and programs.
///
/// Unprintable characters are escaped, even where JSON does not require it. A right-to-left mark or a line separator in
/// JSON can also reach a terminal or a log.
///
/// # Errors
/// Errors of the serializer.
pub fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        // Only strings contain characters outside of ASCII.
        if character == '\u{7f}' || (!character.is_ascii() && character.escape_debug().len() > 1) {
            let mut units = [0; 2];
            escaped.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(character);
        }
    }
    Ok(escaped)
}

/// A word that can be pasted into a shell, even where the shell command could expect an option.
pub fn shell_word(text: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+@%:,".contains(character);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        return text.to_string();
    }
    format!("'{}'", Escaped(text).to_string().replace('\'', r"'\''"))
}

/// An integer with commas between groups of three digits.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`, `0 files`.
pub fn count(value: u64, singular: &str, plural: &str) -> String {
    let noun = if value == 1 { singular } else { plural };
    format!("{} {noun}", number(value))
}

/// The first digits of a digest or commit, enough for a person to compare.
pub fn short(hex: &str) -> String {
    match hex.get(..8) {
        Some(start) if hex.len() > 8 => format!("{start}…"),
        _ => hex.to_string(),
    }
}

/// Text as a TOML string.
pub fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if is_unsafe(character) => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(character)));
            }
            character => quoted.push(character),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_escapes_control_characters_and_backticks_in_names() {
        assert_eq!(name("weights.bin"), "`weights.bin`");
        assert_eq!(name("größe/模型"), "`größe/模型`");
        assert_eq!(
            name("a\u{1b}[2Jb\npass: all\r\u{202e}gpj.exe"),
            "`a\\u{1b}[2Jb\\u{a}pass: all\\u{d}\\u{202e}gpj.exe`"
        );
        assert_eq!(name("tick`tock"), "`tick\\u{60}tock`");
        assert_eq!(message(&"a\nb`"), "a\\u{a}b`");
    }

    #[test]
    fn display_truncates_a_text_longer_than_the_longest_path() {
        let path = "é/".repeat(1365) + "a";
        assert_eq!(path.len(), LONGEST);
        assert_eq!(name(&path), format!("`{path}`"));
        assert_eq!(name(&format!("{path}b")), format!("`{path}…`"));
        assert_eq!(
            message(&format!("b{}", "é".repeat(LONGEST))),
            format!("b{}…", "é".repeat(LONGEST / 2 - 1))
        );
    }

    #[test]
    fn json_output_escapes_unprintable_characters() {
        let text = "a\u{202e}\u{2028}\u{7f}\u{e0041}\u{85}\n\u{fff9}é漢\u{1f600}\u{110bd}";
        let document = json(&serde_json::json!({ text: [text] })).expect("writes");
        assert!(document.chars().all(|character| character == '\n' || !is_unsafe(character)), "{document}");
        assert!(
            document
                .contains("\\u202e\\u2028\\u007f\\udb40\\udc41\\u0085\\n\\ufff9é漢\u{1f600}\\ud804\\udcbd")
        );
        let read: serde_json::Value = serde_json::from_str(&document).expect("is JSON");
        assert_eq!(read[text][0], text);
    }

    #[test]
    fn display_groups_the_digits_of_numbers() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1000), "1,000");
        assert_eq!(number(1234567890), "1,234,567,890");
        assert_eq!(count(1, "file", "files"), "1 file");
    }
}
