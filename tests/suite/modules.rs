//! The architecture: a module uses only the modules above it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Item, UseTree};

use crate::support::run::modelseal;

/// The modules in their order of use, as `src/lib.rs` lists them.
const ORDER: [&str; 33] = [
    "display",
    "hint",
    "context",
    "digest",
    "canonical",
    "manifest",
    "sign",
    "archive",
    "release",
    "config",
    "trust",
    "oms",
    "report",
    "rule",
    "rules",
    "policy",
    "verify",
    "recipe",
    "run",
    "cache",
    "profile",
    "content",
    "inputs",
    "probe",
    "checkout",
    "build",
    "compare",
    "reproduce",
    "diff",
    "live_probe",
    "drill",
    "ops",
    "cli",
];

/// The path of a module in its crate.
type ModulePath = Vec<String>;

/// The modules of one crate.
#[derive(Default)]
struct Crate {
    /// The paths that each file names, from the root of the crate.
    named: BTreeMap<ModulePath, BTreeSet<ModulePath>>,
    /// Where the names come from that a file imports.
    imported: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
}

impl Crate {
    fn read(source: &Path) -> Self {
        let mut read = Self::default();
        for entry in walkdir::WalkDir::new(source) {
            let path = entry.expect("walks").into_path();
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let within = path.strip_prefix(source).expect("below").with_extension("");
            let mut module: ModulePath =
                within.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module == ["lib"] || module == ["main"] {
                module.clear();
            }
            // Tests may use everything.
            if module.last().is_some_and(|name| name == "tests") {
                continue;
            }
            let file = syn::parse_file(&fs::read_to_string(&path).expect("reads")).expect("parses");
            let mut paths = Paths { module: module.clone(), ..Paths::default() };
            file.items.iter().filter(|item| !is_of_tests(item)).for_each(|item| paths.visit_item(item));
            read.named.entry(module.clone()).or_default().extend(paths.named);
            read.imported.entry(module).or_default().extend(paths.imported);
        }
        read
    }

    /// The file with the item that a path names. A name that a file only imports is in another one.
    fn file_of(&self, path: &[String], depth: usize) -> Option<ModulePath> {
        let length = (0..=path.len()).rev().find(|length| self.named.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let import = rest.first().and_then(|name| self.imported[module].get(name));
        match import.filter(|_| depth < 8) {
            Some(target) => {
                let target: ModulePath = target.iter().chain(&rest[1..]).cloned().collect();
                self.file_of(&target, depth + 1)
            }
            None => Some(module.to_vec()),
        }
    }

    /// Which files a file uses, other than those that it is part of and its own parts.
    fn used(&self, module: &ModulePath) -> BTreeSet<ModulePath> {
        let files = self.named[module].iter().filter_map(|path| self.file_of(path, 0));
        files.filter(|file| !file.starts_with(module) && !module.starts_with(file)).collect()
    }

    /// Files that use each other, directly or by others between them: each with those of its circle that it uses.
    fn circles(&self) -> Vec<String> {
        let used: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
            self.named.keys().map(|module| (module, self.used(module))).collect();
        let reached = |from: &ModulePath| {
            let mut reached = BTreeSet::new();
            let mut ahead = vec![from];
            while let Some(next) = ahead.pop() {
                ahead.extend(used[next].iter().filter(|file| reached.insert((*file).clone())));
            }
            reached
        };
        let reached: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
            used.keys().map(|module| (*module, reached(module))).collect();
        let shown = used.iter().filter_map(|(module, used)| {
            let in_circle = used.iter().filter(|other| reached[other].contains(*module));
            let names: Vec<String> = in_circle.map(|file| file.join("::")).collect();
            (!names.is_empty()).then(|| format!("{} uses {}", module.join("::"), names.join(", ")))
        });
        shown.collect()
    }
}

fn is_of_tests(item: &Item) -> bool {
    let Item::Mod(module) = item else { return false };
    module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg") && module.ident == "tests")
}

/// The paths of one file that lead to modules of the same crate.
#[derive(Default)]
struct Paths {
    module: ModulePath,
    named: BTreeSet<ModulePath>,
    imported: BTreeMap<String, ModulePath>,
}

impl Paths {
    /// A path from the root of the crate; `None`: it leads to another crate, or to what the file itself has or imports.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([&self.module, &path[1..]].concat()),
            "super" => {
                let above = self.module.len().checked_sub(supers)?;
                Some([&self.module[..above], &path[supers..]].concat())
            }
            _ => None,
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Name(name) if name.ident == "self" => {
                self.add_import(before.last().cloned().unwrap_or_default(), before);
            }
            UseTree::Name(name) => self.add_import(name.ident.to_string(), &with(&name.ident)),
            UseTree::Rename(rename) => self.add_import(rename.rename.to_string(), &with(&rename.ident)),
            UseTree::Glob(_) => self.named.extend(self.absolute(before)),
        }
    }

    fn add_import(&mut self, name: String, path: &[String]) {
        // `pub use part::Item` is of a part of this file.
        let of_part = || [self.module.as_slice(), path].concat();
        let path = self.absolute(path).unwrap_or_else(of_part);
        self.named.insert(path.clone());
        self.imported.insert(name, path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: ModulePath = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.named.extend(self.absolute(&parts));
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}
}

fn sources() -> [PathBuf; 4] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["crates/modelseal-format", "crates/modelseal-verify", "crates/modelseal-build", "."]
        .map(|name| root.join(name).join("src"))
}

#[test]
fn modules_use_only_the_modules_above_them() {
    let libraries = sources().map(|source| fs::read_to_string(source.join("lib.rs")).expect("reads"));
    let library = libraries.concat();
    for module in ORDER {
        assert!(library.contains(&format!("pub mod {module};")), "{module} is not a module");
    }
    assert_eq!(library.matches("pub mod ").count(), ORDER.len(), "a module is missing in this test");
    let place = |module: &str| ORDER.iter().position(|name| *name == module);
    for source in sources() {
        let modules = Crate::read(&source);
        for (module, named) in &modules.named {
            let Some(own) = module.first().and_then(|name| place(name)) else { continue };
            let below = named
                .iter()
                .find(|path| path.first().and_then(|name| place(name)).is_some_and(|used| used > own));
            assert_eq!(below, None, "{} uses a module below it", module.join("::"));
        }
    }
}

#[test]
fn source_files_do_not_use_each_other_in_a_circle() {
    let circles: Vec<String> = sources().iter().flat_map(|source| Crate::read(source).circles()).collect();
    assert!(circles.is_empty(), "files use each other:\n{}", circles.join("\n"));
}

#[test]
fn circle_search_finds_files_that_use_each_other_through_a_reexport() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
        fs::write(path, text).expect("writes");
    };
    write("lib.rs", "pub mod a;\npub mod b;\npub mod c;\n");
    write("a.rs", "mod part;\npub use part::Item;\nfn f() { crate::b::g(); }\n");
    write("a/part.rs", "pub struct Item;\n#[cfg(test)]\nmod tests { use crate::c::Other; }\n");
    write("b.rs", "use crate::c;\npub fn g() { c::h(); }\n");
    write("c.rs", "pub fn h() {}\npub struct Other;\n");
    assert_eq!(Crate::read(directory.path()).circles(), [""; 0]);
    // By a name that another file hands on.
    write("a/part.rs", "use super::super::b;\npub struct Item;\nfn i() { b::g(); }\n");
    write("b.rs", "use crate::a::Item;\npub fn g() {}\n");
    assert_eq!(Crate::read(directory.path()).circles(), ["a::part uses b", "b uses a::part"]);
}

/// A library and the parts of the program that others can call know no command line.
#[test]
fn command_line_options_are_spelled_only_in_the_cli_module() {
    let sources = sources();
    let own = |path: &Path| !path.starts_with(sources[3].join("cli")) && path != sources[3].join("cli.rs");
    let files = sources.iter().flat_map(|source| walkdir::WalkDir::new(source).into_iter());
    let files = files.map(|entry| entry.expect("walks").into_path()).filter(|path| own(path));
    let rust = files.filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    let mut known = Options { names: options(), found: Vec::new(), path: PathBuf::new() };
    for path in rust {
        let file = syn::parse_file(&fs::read_to_string(&path).expect("reads")).expect("parses");
        known.path = path;
        file.items.iter().filter(|item| !is_of_tests(item)).for_each(|item| known.visit_item(item));
    }
    assert!(known.found.is_empty(), "options of the command line in\n{}", known.found.join("\n"));
}

/// Every long option of `modelseal`.
fn options() -> BTreeSet<String> {
    let verbs = ["build", "verify", "unpack", "reproduce", "keygen", "sign", "probe", "drill"];
    let helps = verbs.map(|verb| modelseal([verb, "--help"]).expect(0).stdout);
    let words = helps.iter().flat_map(|help| help.split(|character: char| !is_of_option(character)));
    words.filter(|word| word.starts_with("--") && word.len() > 3).map(str::to_string).collect()
}

fn is_of_option(character: char) -> bool {
    character == '-' || character.is_ascii_lowercase()
}

/// Finds options in texts.
struct Options {
    names: BTreeSet<String>,
    found: Vec<String>,
    path: PathBuf,
}

impl Options {
    fn look(&mut self, text: &str) {
        // git, Cargo and bubblewrap have options as well, each alone in a text.
        let is_of_a_sentence = text.contains(' ') && !text.starts_with("git ") && !text.contains("`git ");
        let mut words = text.split(|character: char| !is_of_option(character));
        if is_of_a_sentence && words.any(|word| self.names.contains(word)) {
            self.found.push(format!("{}: {text}", self.path.display()));
        }
    }
}

impl<'ast> Visit<'ast> for Options {
    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.look(&text.value());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // The messages of errors, but not comments.
        if attribute.path().is_ident("error") {
            let tokens = attribute.meta.require_list().map(|list| list.tokens.clone().into_iter());
            for token in tokens.into_iter().flatten() {
                self.look(&token.to_string());
            }
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        for token in called.tokens.clone() {
            self.look(&token.to_string());
        }
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}
}

#[test]
fn source_files_have_at_most_450_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["src", "crates", "tests"] {
        for entry in walkdir::WalkDir::new(root.join(directory)) {
            let path = entry.expect("walks").into_path();
            if path.extension().is_some_and(|ending| ending == "rs") {
                let lines = fs::read_to_string(&path).expect("reads").lines().count();
                assert!(lines <= 450, "{} has {lines} lines", path.display());
            }
        }
    }
}
