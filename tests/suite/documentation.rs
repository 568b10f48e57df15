//! Every shell block of the README and of `docs/` runs, and every session shows the real output.
//!
//! An `sh` block must succeed. In a `console` block, each line after `$ ` is run, and its output is compared with the
//! lines below it. Digests and commits, which depend on the day, count as equal. The blocks of one document run in
//! sequence in one shell, in a clone of this repository with an empty home. With `UPDATE_DOCS=1`, the test writes the
//! real output into the documents.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::peers;
use crate::support::project::git_in;
use crate::support::run::finish;

/// Separates the output of two commands. No program prints it.
const MARK: &str = "\u{1}status ";

struct Session {
    directory: tempfile::TempDir,
}

impl Session {
    /// A clone of the files that git tracks, with one commit, and substitutes for the setup programs.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (clone, home, programs) =
            (directory.path().join("modelseal"), directory.path().join("home"), directory.path().join("bin"));
        for path in [&clone, &home, &programs] {
            fs::create_dir(path).expect("creates");
        }
        let listed = git_in(root, &home, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        for name in listed.split('\0').filter(|name| !name.is_empty() && root.join(name).is_file()) {
            let target = clone.join(name);
            fs::create_dir_all(target.parent().expect("a parent")).expect("creates");
            fs::copy(root.join(name), target).expect("copies");
        }
        git_in(&clone, &home, &["init", "-q", "-b", "main"]);
        git_in(&clone, &home, &["add", "-A"]);
        git_in(&clone, &home, &["commit", "-qm", "state"]);
        // The setup compiles the program and runs these tests. If this code runs, both have already happened.
        let program = env!("CARGO_BIN_EXE_modelseal");
        let cargo = format!(
            "#!/bin/sh\ncase \"$*\" in\n'run --release -- '*) shift 3; exec {program} \"$@\" ;;\n'test --workspace') ;;\n*) exit 1 ;;\nesac\n"
        );
        fs::write(programs.join("cargo"), cargo).expect("writes");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(programs.join("cargo"), mode).expect("sets the mode");
        std::os::unix::fs::symlink(program, programs.join("modelseal")).expect("links");
        Self { directory }
    }

    /// Runs a script and returns what it printed.
    fn run(&self, script: &str) -> String {
        let path = std::env::var("PATH").expect("a PATH");
        let mut command = Command::new("bash");
        command
            .args(["-c", script])
            .current_dir(self.directory.path().join("modelseal"))
            .env_clear()
            .env("PATH", format!("{}:{path}", self.directory.path().join("bin").display()))
            .env("HOME", self.directory.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let outcome = finish(command, Vec::new());
        outcome.stdout + &outcome.stderr
    }
}

/// A fenced block: its language and its range of lines in the document.
struct Block {
    language: String,
    start: usize,
    end: usize,
}

fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize)> = None;
    for (index, line) in lines.iter().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some((language, start))) => blocks.push(Block { language, start, end: index }),
            (Some(language), None) => open = Some((language.to_string(), index + 1)),
            (None, still) => open = still,
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// The commands of a block, each with the expected output lines below it.
fn commands<'a>(block: &Block, lines: &[&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in &lines[block.start..block.end] {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push((command, Vec::new())),
            None => commands.last_mut().expect("a session begins with `$ `").1.push(line),
        }
    }
    commands
}

/// All commands of a document as one script. The script marks where the output of each command ends.
fn script(lines: &[&str], blocks: &[Block]) -> String {
    let mut script = String::from("exec 2>&1\n");
    for block in blocks {
        match block.language.as_str() {
            "sh" => {
                // Every line must succeed. If a line fails, the script ends and its mark is missing.
                let lines = lines[block.start..block.end].join("\n");
                script.push_str(&format!("set -e\n{lines}\nset +e\nprintf '{MARK}0\\n'\n"));
            }
            "console" => {
                for (command, _) in commands(block, lines) {
                    script.push_str(&format!("{command}\nprintf '{MARK}%s\\n' $?\n"));
                }
            }
            _ => {}
        }
    }
    script
}

/// Makes digests, commits, times and the paths of this machine compare as equal.
fn normalised(text: &str, session: &Session) -> String {
    let text = text.replace(&session.directory.path().to_string_lossy().into_owned(), "");
    // Any Python version of this machine.
    let mut parts = text.split("Python 3.");
    let first = parts.next().unwrap_or_default().to_string();
    let text = parts.fold(first, |text, part| {
        text + "Python"
            + part.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.')
    });
    let text = without_times(&text);
    let mut result = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        let is_hex = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        result.push_str(if is_hex { "HEX" } else { &word });
        word.clear();
        result.push(character);
    }
    let lines = result.lines().map(|line| match line.split_once(" distance ") {
        _ if line.starts_with("date  ") => "date",
        // Which rows fall into the same time slice depends on the second of the run.
        Some((check, _)) if line.starts_with("gate.slices.") => check,
        _ => line.trim_end(),
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_string()
}

/// Replaces the RFC 3339 times of the day on which a document runs.
fn without_times(text: &str) -> String {
    const SHAPE: &str = "0000-00-00T00:00:00Z";
    let is_time = |candidate: &str| {
        candidate.bytes().zip(SHAPE.bytes()).all(|(found, shape)| match shape {
            b'0' => found.is_ascii_digit(),
            shape => found == shape,
        })
    };
    let mut result = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        match rest.get(..SHAPE.len()) {
            Some(candidate) if is_time(candidate) => {
                result.push_str("TIME");
                rest = &rest[SHAPE.len()..];
            }
            _ => {
                result.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    result
}

/// Runs a document and returns it with the real output in its sessions.
fn check(session: &Session, path: &Path, update: bool) -> Option<String> {
    let text = fs::read_to_string(path).expect("reads");
    let lines: Vec<&str> = text.lines().collect();
    let blocks = blocks(&lines);
    let output = session.run(&script(&lines, &blocks));
    let mut outputs = output.split(MARK);
    // After each mark comes the exit status of the previous command.
    let mut current = outputs.next().expect("output").to_string();
    let mut next = || {
        let rest =
            outputs.next().unwrap_or_else(|| panic!("{}: the shell ended early:\n{output}", path.display()));
        let (status, rest) = rest.split_once('\n').expect("a status");
        (std::mem::replace(&mut current, rest.to_string()), status.to_string())
    };
    let mut updated = Vec::new();
    let mut written = 0;
    for block in &blocks {
        match block.language.as_str() {
            "sh" => {
                let (printed, status) = next();
                assert_eq!(status, "0", "{}:{}:\n{printed}", path.display(), block.start + 1);
            }
            "console" => {
                updated.extend(lines[written..block.start].iter().map(|line| line.to_string()));
                for (command, shown) in commands(block, &lines) {
                    let (printed, _) = next();
                    if !update {
                        let (printed, shown) =
                            (normalised(&printed, session), normalised(&shown.join("\n"), session));
                        assert_eq!(printed, shown, "{}: {command}", path.display());
                    }
                    updated.push(format!("$ {command}"));
                    updated.extend(printed.trim_end().lines().map(str::to_string));
                }
                written = block.end;
            }
            _ => {}
        }
    }
    updated.extend(lines[written..].iter().map(|line| line.to_string()));
    update.then(|| updated.join("\n") + "\n")
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    let walk = walkdir::WalkDir::new(root.join("docs")).sort_by_file_name();
    let found = walk.into_iter().map(|entry| entry.expect("walks").into_path());
    documents.extend(found.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    documents
}

#[test]
#[ignore = "needs bubblewrap and openssl"]
fn documentation_shell_blocks_run_and_show_the_real_output() {
    peers::program("openssl");
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    for path in documents() {
        if let Some(updated) = check(&Session::new(), &path, update) {
            fs::write(path, updated).expect("writes");
        }
    }
}

/// A reader may read the pages in any order, in one checkout.
#[test]
#[ignore = "needs bubblewrap and openssl"]
fn documentation_pages_run_in_one_checkout_forwards_and_backwards() {
    peers::program("openssl");
    let mut pages = documents();
    for _ in 0..2 {
        let session = Session::new();
        for page in &pages {
            check(&session, page, false);
        }
        pages.reverse();
    }
}

#[test]
fn documentation_links_to_existing_files() {
    for path in documents() {
        let text = fs::read_to_string(&path).expect("reads");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !link.contains("://") && !file.is_empty() {
                let target = path.parent().expect("a directory").join(file);
                assert!(target.exists(), "{}: {link}", path.display());
            }
        }
    }
}
