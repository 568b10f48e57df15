//! Wraps long lines at the width of a terminal.

use textwrap::core::{Word, display_width};
use textwrap::{Options, WordSeparator, WordSplitter};

/// The narrowest width that is worth wrapping for, in columns.
const NARROWEST: usize = 40;

/// How lines begin that are commands to paste.
const COMMANDS: [&str; 2] = ["modelseal ", "git add "];

/// Wraps each line that is longer than `width` columns. The rest of a line begins below its last column of text.
/// A command or a path between back-ticks is not broken, because it can be copied only as a whole.
pub(super) fn wrap(text: &str, width: usize) -> String {
    let lines = text.split('\n').map(|line| match is_wrapped(line, width) {
        true => textwrap::wrap(line, options(width, &" ".repeat(hang(line, width)))).join("\n"),
        false => line.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn options(width: usize, hang: &str) -> Options<'_> {
    Options::new(width)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .word_separator(WordSeparator::Custom(words))
        .subsequent_indent(hang)
}

fn is_wrapped(line: &str, width: usize) -> bool {
    let is_command = COMMANDS.iter().any(|command| line.trim_start().starts_with(command));
    width >= NARROWEST && display_width(line) > width && !is_command
}

/// The column where the rest of a line begins: that of its last column of text, unless that leaves too little room.
fn hang(line: &str, width: usize) -> usize {
    let indent = line.len() - line.trim_start().len();
    let columns = line[indent..].rmatch_indices("  ").map(|(at, gap)| indent + at + gap.len());
    let columns = columns.map(|at| display_width(&line[..at]));
    columns.into_iter().find(|column| column + NARROWEST / 2 <= width).unwrap_or(indent + 2)
}

/// Words between spaces. Text between back-ticks is one word.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut rest = line;
    Box::new(std::iter::from_fn(move || {
        let end = end_of_word(rest)?;
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(Word::from(word))
    }))
}

/// Where the first word and the spaces after it end. `None` if there is no word.
fn end_of_word(text: &str) -> Option<usize> {
    let (mut is_quoted, mut has_ended) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            ' ' if !is_quoted => has_ended = true,
            _ if has_ended => return Some(at),
            '`' => is_quoted = !is_quoted && text[at + 1..].contains('`'),
            _ => {}
        }
    }
    (!text.is_empty()).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrap_keeps_commands_and_lines_that_fit() {
        let verify = "  modelseal verify dist/wine-1.0.0.tar --key ../keys/ci.pub";
        let add = "  git add -- modelseal.toml requirements.txt params.toml";
        for line in ["", "short", "  a  b", verify, add] {
            assert_eq!(wrap(line, 40), line);
        }
        let line = "error: the command `sh make.sh` failed: exit code 1";
        assert_eq!(wrap(line, 20), line, "too narrow");
    }

    #[test]
    fn wrap_indents_continued_lines_to_the_last_column() {
        let row = "gate.labels.train         fail     the labels of train have moved by 0.41";
        let below = " ".repeat(35);
        let expected = "gate.labels.train         fail     the labels of train have\n";
        assert_eq!(wrap(row, 60), format!("{expected}{below}moved by 0.41"));
        // With colours, and as one paragraph if the column is too far to the right.
        let row = "\u{1b}[1;31merror:\u{1b}[0m the work tree is not the commit that it was";
        assert_eq!(
            wrap(row, 40),
            "\u{1b}[1;31merror:\u{1b}[0m the work tree is not the commit\n  that it was"
        );
    }

    #[test]
    fn wrap_keeps_quoted_text_on_one_line() {
        let hint = "hint: commit the file with `git commit -m data data.csv`, or pass `--allow-dirty`";
        let expected =
            "hint: commit the file with\n  `git commit -m data data.csv`, or pass\n  `--allow-dirty`";
        assert_eq!(wrap(hint, 42), expected);
        // A single back-tick quotes nothing.
        assert_eq!(wrap("the key ` is neither a path nor the name of a variable", 40).lines().count(), 2);
    }
}
