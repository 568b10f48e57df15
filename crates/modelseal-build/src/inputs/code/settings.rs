//! Settings of git, and the programs and files that their values name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use git2::Config;

/// Settings whose value is a program, by the last part of their name. In the sections `alias` and `pager`, every
/// setting is one.
const PROGRAMS: [&str; 28] = [
    "alternaterefscommand",
    "askpass",
    "cccmd",
    "clean",
    "cmd",
    "command",
    "defaultkeycommand",
    "difffilter",
    "driver",
    "editor",
    "external",
    "fsmonitor",
    "gitproxy",
    "headercmd",
    "helper",
    "packobjectshook",
    "pager",
    "path",
    "process",
    "program",
    "receivepack",
    "smtpserver",
    "smudge",
    "sshcommand",
    "textconv",
    "tocmd",
    "update",
    "uploadpack",
];

/// Settings whose value is neither a program nor a file, by the last part of their name.
const NAMES: [&str; 12] = [
    "defaultbranch",
    "email",
    "fetch",
    "insteadof",
    "merge",
    "name",
    "push",
    "pushinsteadof",
    "pushurl",
    "remote",
    "signingkey",
    "url",
];

/// Maximum number of directories named by one value that are searched for files.
const DIRECTORIES: usize = 32;

/// Options of git commands whose value is a program, a directory of programs or a setting. git accepts the long ones
/// abbreviated.
const LONG_OPTIONS: [&str; 7] = ["--con", "--exe", "--ext", "--ope", "--rec", "--too", "--upl"];
const SHORT_OPTIONS: [&str; 5] = ["-c", "-O", "-t", "-u", "-x"];

/// The git option that names a directory of programs.
const EXEC_PATH: &str = "--exec-path=";

/// Arguments of `git bisect` and `git submodule` that are followed by a command.
const BEFORE_COMMANDS: [&str; 2] = ["foreach", "run"];

/// The forms in which a command names the work tree.
const ROOTS: [&str; 6] = [
    "$(git rev-parse --show-toplevel)",
    "`git rev-parse --show-toplevel`",
    "$(pwd)",
    "`pwd`",
    "$PWD",
    "${PWD}",
];

/// One line of a configuration file.
pub(super) struct Setting {
    /// In lower case, except for the parts that a user chooses.
    name: String,
    value: String,
}

impl Setting {
    /// Reads the settings in a file itself, without those in included files.
    ///
    /// # Errors
    /// If the file cannot be read as git reads it.
    pub(super) fn all(file: &Path) -> Result<Vec<Self>, git2::Error> {
        if !file.is_file() {
            return Ok(Vec::new());
        }
        let configuration = Config::open(file)?;
        let mut entries = configuration.entries(None)?;
        let mut settings = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if let (0, Ok(name), Ok(value)) = (entry.include_depth(), entry.name(), entry.value()) {
                settings.push(Self { name: name.to_string(), value: value.to_string() });
            }
        }
        Ok(settings)
    }

    /// The settings that the caller passes in variables (`GIT_CONFIG_COUNT`, `git-config(1)`).
    pub(super) fn of_variables() -> impl Iterator<Item = Self> {
        let variable = |name: &str, index: usize| std::env::var(format!("GIT_CONFIG_{name}_{index}")).ok();
        let count = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
        (0..count).map_while(move |index| {
            let name = variable("KEY", index)?.to_ascii_lowercase();
            Some(Self { name, value: variable("VALUE", index)? })
        })
    }

    fn section(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    fn last(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// The configuration file that an include names, whether its condition holds or not. A relative path starts at the
    /// directory of the including file (`git-config(1)`, "Includes").
    pub(super) fn included(&self, beside: &Path) -> Option<PathBuf> {
        let value = self.value.trim();
        let is_include = matches!(self.section(), "include" | "includeif") && self.last() == "path";
        is_include.then(|| at_home(value).unwrap_or_else(|| beside.join(value)))
    }

    /// The directory of hooks that the setting names, for a work tree.
    pub(super) fn hooks(&self, root: &Path) -> Option<PathBuf> {
        let is_hooks = matches!(self.last(), "hookspath" | "templatedir");
        is_hooks.then(|| at_home(&self.value).unwrap_or_else(|| root.join(&self.value)))
    }

    /// The work tree of a repository that is in another place.
    pub(super) fn work_tree(&self) -> Option<&str> {
        (self.name == "core.worktree").then_some(self.value.as_str())
    }

    /// The path of a submodule in the work tree.
    pub(super) fn submodule(&self) -> Option<&str> {
        (self.section() == "submodule" && self.last() == "path").then_some(self.value.as_str())
    }

    /// Whether every setting in the section is a command.
    fn is_alias(&self) -> bool {
        matches!(self.section(), "alias" | "pager")
    }

    fn is_program(&self) -> bool {
        self.is_alias() || PROGRAMS.contains(&self.last())
    }

    /// Finds what the value names. Relative paths are tried in the work tree and in the directories where git looks for
    /// them.
    pub(super) fn names(&self, root: &Path, repository: [&Path; 2]) -> Named {
        let mut named = Named::default();
        // The words after the name of a git command are its arguments, unless an option lets it run a program.
        let is_of_git = self.section() == "alias" && !self.value.trim_start().starts_with('!');
        if is_of_git && !runs_programs(&self.value) || NAMES.contains(&self.last()) && !self.is_alias() {
            return named;
        }
        // Scripts use these forms to find the work tree from any directory.
        let mut value = self.value.clone();
        for root in ROOTS {
            value = value.replace(&format!("\"{root}\"/"), "").replace(&format!("{root}/"), "");
        }
        // A quoted string may be a path with spaces, or a command. Quotes may also cover only a part of a word.
        let quoted: Vec<&str> = value.split(is_quote).map(str::trim).collect();
        let plain = value.replace(|character: char| is_quote(character) || character == '\\', "");
        let words = quoted.iter().flat_map(|part| part.split(ends_word)).chain(plain.split(ends_word));
        let unescaped = unescaped(&value);
        let words = words.chain(unescaped.iter().map(String::as_str));
        // A value may follow its option without a space.
        let words = words.flat_map(|word| [Some(word), option_value(word)]).flatten();
        let words: BTreeSet<&str> =
            words.chain(quoted.iter().copied()).filter(|word| !word.is_empty()).collect();
        // A command may first change to one of these directories.
        let within = words.iter().map(|word| root.join(word));
        let within = within.filter(|path| self.is_program() && path.is_dir()).take(DIRECTORIES);
        let within: BTreeSet<PathBuf> = within.collect();
        let around =
            [root, repository[0], repository[1]].into_iter().chain(within.iter().map(PathBuf::as_path));
        let around: Vec<&Path> = around.collect();
        for word in &words {
            let beside = around.iter().map(|directory| directory.join(word)).chain(at_home(word));
            let holds_programs = self.is_alias() && value.contains(EXEC_PATH);
            named.there.extend(beside.filter(|path| path.is_file() || holds_programs && path.is_dir()));
        }
        // A program of a virtual environment runs code next to it.
        let environments =
            named.there.iter().chain(&named.absent).filter_map(|program| environment_of(program));
        let environments: Vec<PathBuf> = environments.collect();
        named.there.extend(environments);
        // The words of an alias are often not paths.
        if self.is_program() && !self.is_alias() {
            // A quoted string may be one path, or a line for another shell.
            let in_quotes = quoted.iter().skip(1).step_by(2).copied();
            let in_lines = quoted.iter().flat_map(|part| part.split_whitespace());
            let in_lines = in_lines.flat_map(|word| [Some(word), option_value(word)]).flatten();
            let paths = in_quotes.chain(in_lines).filter(|word| is_plain_path(word));
            named.absent.extend(paths.map(|path| root.join(path)).filter(|path| !path.exists()));
            // A word without a slash is a program or an argument.
            named.there.extend(
                words
                    .iter()
                    .filter(|word| word.contains('/'))
                    .map(|word| root.join(word))
                    .filter(|path| path.is_dir()),
            );
        }
        named
    }
}

/// What a setting names in a work tree.
#[derive(Default)]
pub(super) struct Named {
    /// Files. For a setting that can only be a program, also directories.
    pub(super) there: BTreeSet<PathBuf>,
    pub(super) absent: BTreeSet<PathBuf>,
}

/// The virtual environment that contains a program.
fn environment_of(program: &Path) -> Option<PathBuf> {
    let root = program.parent().filter(|directory| directory.ends_with("bin"))?.parent()?;
    let is_one = ["pyvenv.cfg", "conda-meta"].iter().any(|mark| root.join(mark).exists());
    is_one.then(|| root.to_path_buf())
}

/// Whether an alias for a git command makes that command run a program or take a setting.
fn runs_programs(alias: &str) -> bool {
    let plain = alias.replace(is_quote, " ");
    let mut words = plain.split_whitespace();
    words.any(|word| {
        let is_long = LONG_OPTIONS.iter().any(|option| word.starts_with(option));
        let is_short = !word.starts_with("--") && SHORT_OPTIONS.iter().any(|option| word.starts_with(option));
        is_long || is_short || BEFORE_COMMANDS.contains(&word)
    })
}

/// Resolves a path that starts with `~/`.
pub(super) fn at_home(path: &str) -> Option<PathBuf> {
    let rest = path.strip_prefix("~/")?;
    std::env::home_dir().map(|home| home.join(rest))
}

/// The rest of a word after a short option.
fn option_value(word: &str) -> Option<&str> {
    word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.get(1..).filter(|rest| !rest.is_empty())
}

/// The words of a line in which a backslash can stand before a space.
fn unescaped(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let word = words.last_mut();
        match (character, word) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (character, _) if ends_word(character) => words.push(String::new()),
            (character, Some(word)) if !is_quote(character) => word.push(character),
            _ => {}
        }
    }
    words
}

fn is_quote(character: char) -> bool {
    matches!(character, '\'' | '"' | '`')
}

fn ends_word(character: char) -> bool {
    character.is_whitespace() || ";|&()=!<>".contains(character)
}

/// Whether a word of a command can only be a path: neither git nor the shell substitutes anything in it.
fn is_plain_path(word: &str) -> bool {
    word.contains('/') && !word.contains(['%', '$', '*', '?', '~', '{', ':'])
}
