//! Settings of git, and the programs and files that their values name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use git2::Config;

/// Settings whose value is a program, by their last part. `alias` and `pager` are sections of such.
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

/// Settings whose value is neither a program nor a file, by their last part.
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

/// In how many directories that one value names its files are looked for.
const DIRECTORIES: usize = 32;

/// Options of commands of git whose value is a program, a directory of programs or a setting. The long ones may be cut short.
const LONG_OPTIONS: [&str; 7] = ["--con", "--exe", "--ext", "--ope", "--rec", "--too", "--upl"];
const SHORT_OPTIONS: [&str; 5] = ["-c", "-O", "-t", "-u", "-x"];

/// The option of git that names a directory of programs.
const EXEC_PATH: &str = "--exec-path=";

/// Arguments of `git bisect` and `git submodule` that a command follows.
const BEFORE_COMMANDS: [&str; 2] = ["foreach", "run"];

/// How a command names the work tree.
const ROOTS: [&str; 6] = [
    "$(git rev-parse --show-toplevel)",
    "`git rev-parse --show-toplevel`",
    "$(pwd)",
    "`pwd`",
    "$PWD",
    "${PWD}",
];

/// One line of a file of the configuration.
pub(super) struct Setting {
    /// In lower case but for what a user names.
    name: String,
    value: String,
}

impl Setting {
    /// What a file says itself, without what it includes.
    ///
    /// # Errors
    /// It cannot be read as git reads it.
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

    /// What the caller says in variables (`GIT_CONFIG_COUNT`, `git-config(1)`).
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

    /// The file of more configuration that it names, whether its condition holds or not; a relative one lies beside the
    /// file that says so (`git-config(1)`, "Includes").
    pub(super) fn included(&self, beside: &Path) -> Option<PathBuf> {
        let value = self.value.trim();
        let is_include = matches!(self.section(), "include" | "includeif") && self.last() == "path";
        is_include.then(|| at_home(value).unwrap_or_else(|| beside.join(value)))
    }

    /// The directory of hooks that it names, for a work tree.
    pub(super) fn hooks(&self, root: &Path) -> Option<PathBuf> {
        let is_hooks = matches!(self.last(), "hookspath" | "templatedir");
        is_hooks.then(|| at_home(&self.value).unwrap_or_else(|| root.join(&self.value)))
    }

    /// The work tree of a repository that lies elsewhere.
    pub(super) fn work_tree(&self) -> Option<&str> {
        (self.name == "core.worktree").then_some(self.value.as_str())
    }

    /// The place of a submodule in the work tree.
    pub(super) fn submodule(&self) -> Option<&str> {
        (self.section() == "submodule" && self.last() == "path").then_some(self.value.as_str())
    }

    /// A section in which every setting is a command.
    fn is_alias(&self) -> bool {
        matches!(self.section(), "alias" | "pager")
    }

    fn is_program(&self) -> bool {
        self.is_alias() || PROGRAMS.contains(&self.last())
    }

    /// What it names in a work tree, with the directories around which git looks for it.
    pub(super) fn names(&self, root: &Path, repository: [&Path; 2]) -> Named {
        let mut named = Named::default();
        // What follows the name of a command of git is its argument, unless an option lets it run a program.
        let is_of_git = self.section() == "alias" && !self.value.trim_start().starts_with('!');
        if is_of_git && !runs_programs(&self.value) || NAMES.contains(&self.last()) && !self.is_alias() {
            return named;
        }
        // As scripts find the work tree from wherever git starts them.
        let mut value = self.value.clone();
        for root in ROOTS {
            value = value.replace(&format!("\"{root}\"/"), "").replace(&format!("{root}/"), "");
        }
        // In quotes, a path may hold spaces; a command may as well; and a part of a word may be quoted.
        let quoted: Vec<&str> = value.split(is_quote).map(str::trim).collect();
        let plain = value.replace(|character: char| is_quote(character) || character == '\\', "");
        let words = quoted.iter().flat_map(|part| part.split(ends_word)).chain(plain.split(ends_word));
        // A value may follow its option without a space.
        let words = words.flat_map(|word| [Some(word), option_value(word)]).flatten();
        let words: BTreeSet<&str> =
            words.chain(quoted.iter().copied()).filter(|word| !word.is_empty()).collect();
        // A command may change to one of them first.
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
        // What a program of an environment runs lies beside it.
        let environments =
            named.there.iter().chain(&named.absent).filter_map(|program| environment_of(program));
        let environments: Vec<PathBuf> = environments.collect();
        named.there.extend(environments);
        // What an alias says is often no path at all.
        if self.is_program() && !self.is_alias() {
            // In quotes, there may be one path or a line for another shell.
            let in_quotes = quoted.iter().skip(1).step_by(2).copied();
            let in_lines = quoted.iter().flat_map(|part| part.split_whitespace());
            let in_lines = in_lines.flat_map(|word| [Some(word), option_value(word)]).flatten();
            let paths = in_quotes.chain(in_lines).filter(|word| is_plain_path(word));
            named.absent.extend(paths.map(|path| root.join(path)).filter(|path| !path.exists()));
            // One without a slash is a program, or an argument.
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
    /// Files; for a setting that can only be a program, directories as well.
    pub(super) there: BTreeSet<PathBuf>,
    pub(super) absent: BTreeSet<PathBuf>,
}

/// The environment that a program lies in.
fn environment_of(program: &Path) -> Option<PathBuf> {
    let root = program.parent().filter(|directory| directory.ends_with("bin"))?.parent()?;
    let is_one = ["pyvenv.cfg", "conda-meta"].iter().any(|mark| root.join(mark).exists());
    is_one.then(|| root.to_path_buf())
}

/// Whether an alias of a command of git makes that run a program or take a setting.
fn runs_programs(alias: &str) -> bool {
    let plain = alias.replace(is_quote, " ");
    let mut words = plain.split_whitespace();
    words.any(|word| {
        let is_long = LONG_OPTIONS.iter().any(|option| word.starts_with(option));
        let is_short = !word.starts_with("--") && SHORT_OPTIONS.iter().any(|option| word.starts_with(option));
        is_long || is_short || BEFORE_COMMANDS.contains(&word)
    })
}

/// A path that begins with the caller's home.
pub(super) fn at_home(path: &str) -> Option<PathBuf> {
    let rest = path.strip_prefix("~/")?;
    std::env::home_dir().map(|home| home.join(rest))
}

/// What follows a short option in the same word.
fn option_value(word: &str) -> Option<&str> {
    word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.get(1..).filter(|rest| !rest.is_empty())
}

fn is_quote(character: char) -> bool {
    matches!(character, '\'' | '"' | '`')
}

fn ends_word(character: char) -> bool {
    character.is_whitespace() || ";|&()=!<>".contains(character)
}

/// Whether a word of a command can only be a path: nothing is put in its place by git or the shell.
fn is_plain_path(word: &str) -> bool {
    word.contains('/') && !word.contains(['%', '$', '*', '?', '~', '{', ':'])
}
