//! Two hostile commands in one build: the first prepares the attack of the second.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::peers;
use crate::support::project::Project;
use crate::support::run::{Outcome, finish};

/// Tries everything that a command must not do and prints everything that it could read. A failed attempt must not stop
/// it. Even without a sandbox, it touches nothing outside `$top`, the directory of the test. A developer who breaks the
/// sandbox to see these tests fail must not damage the machine. `$real` is the caller's home, `$key` the private key,
/// `$beside` a directory next to the work tree.
const ATTACK: &str = r#"
exec 2>&1
ulimit -f 8192
try() { "$@" 2>/dev/null; }
decoy='-----BEGIN DECOY-----'
# Read.
try cat "$key" "$real/.config/modelseal/local.key" "$real/.ssh/id_ed25519" "$beside/password"
try cat "$real/.moved/modelseal/local.key" "$beside/moved/ci.key"
try cat /proc/[0-9]*/environ | tr '\0' '\n' | grep -a HUNTER
env | grep HUNTER
# Move what leads to a key, and leave a decoy.
try mv "$real/.config" "$real/.moved" && mkdir -p "$real/.config/modelseal"
try mv "$(dirname "$key")" "$beside/moved"
try mv "$(dirname "$key")" "$PWD/moved"
try mkdir -p "$real/.config/modelseal" "$(dirname "$key")"
for place in "$key" "$real/.config/modelseal/local.key"; do
  try rm -f "$place"; (echo "$decoy" > "$place") 2>/dev/null; try ln -sf "$beside/planted" "$place"
done
# Plant programs, and what is read at the next login, activation or git command.
IFS=:
for directory in $PATH "$VIRTUAL_ENV/bin" "$real/.local/bin" "$real/bin" "$beside"; do
  case "$directory" in "$top"/*|bin) ;; *) continue ;; esac
  try mkdir -p "$directory"
  for name in bwrap git sh ssh true openssl python3; do
    (printf '#!/bin/sh\necho PLANTED >> %s/planted\n' "$beside" > "$directory/$name") 2>/dev/null && try chmod 755 "$directory/$name"
  done
done
unset IFS
for file in .bashrc .profile .gitconfig .config/git/config .ssh/config .pam_environment .local/bin/x; do
  (echo "PLANTED" >> "$real/$file") 2>/dev/null
done
for file in .git/config .git/hooks/pre-commit .githooks/pre-commit module/.git tools/clean.sh .gitsettings absent-hooks/x nested/.git/config bare.git/config venv/bin/activate venv/pyvenv.cfg; do
  try mv "$(dirname "$file")" "$(dirname "$file").moved" && mkdir -p "$(dirname "$file")"
  (echo "PLANTED" >> "$file") 2>/dev/null && try chmod 755 "$file"
done
try git config core.fsmonitor 'touch planted'
try git init -q "$beside/other"
# What hides them.
try umount "$key"; try cat "$key"
try unshare -Urm sh -c "umount '$key'; cat '$key'"
for process in /proc/[0-9]*/root; do try cat "$process$key"; done
for descriptor in 3 4 5 6 7 8 9; do (cat <&$descriptor) 2>/dev/null; done
try mknod "$TMPDIR/disk" b 8 0
value=$(cat /proc/sys/kernel/core_pattern)
(echo "$value" > /proc/sys/kernel/core_pattern) 2>/dev/null && echo HUNTER2 was not needed
rm -rf "$PWD/moved"
:
"#;

/// The state that both commands know.
struct Scene {
    project: Project,
    key: PathBuf,
    user: Option<u32>,
}

/// The location of a build's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    InWorkTree,
    BesideWorkTree,
    InHome,
    Variable,
    Own,
}

/// Which two commands are hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    EnvironmentAndRun,
    RunAndProbe,
    TwoProbes,
}

impl Scene {
    fn new(pair: Pair, key: Key, user: Option<u32>) -> Self {
        peers::program("bwrap");
        let project = Project::empty();
        let (root, home) = (project.root().to_path_buf(), project.home());
        let place = match key {
            Key::InWorkTree => project.at("keys/ci.key"),
            Key::InHome => home.join("keys/ci.key"),
            Key::Own => home.join(".config/modelseal/local.key"),
            Key::BesideWorkTree | Key::Variable => root.join("keys/ci.key"),
        };
        fs::create_dir_all(place.parent().expect("a parent")).expect("creates");
        fs::copy(project.key(), &place).expect("copies");
        fs::copy(project.public_key(), place.with_extension("pub")).expect("copies");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).expect("sets");
        fs::remove_file(project.key()).expect("removes");
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
            fs::write(path, text).expect("writes");
        };
        write("home/.ssh/id_ed25519", "PRIVATE KEY of ssh");
        write("home/.bashrc", "# mine\n");
        fs::create_dir_all(home.join(".config")).expect("creates");
        write("home/.gitconfig", "[user]\n\tname = me\n");
        write("home/.local/bin/mine", "#!/bin/sh\n");
        write("beside/password", "HUNTER2");
        let probe = |name: &str| {
            format!(
                "[[probe]]\nname = \"{name}\"\ncommand = [\"sh\", \"probe.sh\"]\ninputs = \"{name}.jsonl\"\n"
            )
        };
        let tables = match pair {
            Pair::EnvironmentAndRun => {
                "[environment]\ncommands = [[\"sh\", \"attack.sh\"]]\n[run]\ncommand = [\"sh\", \"run.sh\"]\n"
                    .to_string()
            }
            Pair::RunAndProbe => format!("[run]\ncommand = [\"sh\", \"run.sh\"]\n{}", probe("a")),
            Pair::TwoProbes => probe("a") + &probe("b"),
        };
        project.write(
            "modelseal.toml",
            format!("[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n{tables}"),
        );
        let knows = format!(
            "top='{}'\nreal='{}'\nkey='{}'\nbeside='{}'\n",
            root.display(),
            home.display(),
            place.display(),
            root.join("beside").display()
        );
        project.write("attack.sh", format!("{knows}{ATTACK}"));
        project.write("run.sh", "mkdir -p model; sh attack.sh > model/found; echo 1 > model/w\n");
        // Everything that the attack reads is printed on standard error, where people see it.
        project.write(
            "probe.sh",
            "sh attack.sh >&2\nsed 's/.*\"id\":\"\\([^\"]*\\)\",\"input\":\\([0-9]*\\).*/{\"id\":\"\\1\",\"output\":\\2}/\'\n",
        );
        for name in ["a", "b"] {
            project
                .write(&format!("{name}.jsonl"), "{\"id\":\"x\",\"input\":1}\n{\"id\":\"y\",\"input\":2}\n");
        }
        project.write("model/w", "old");
        project.write(".gitignore", "keys/\nvenv/\nmodel/\ndist/\nnested/\nbare.git/\n");
        project.write(".githooks/pre-commit", "#!/bin/sh\n");
        project.write("tools/clean.sh", "#!/bin/sh\ncat\n");
        project.write(".gitsettings", "[alias]\n\tst = status\n");
        let scene = Self { project, key: place, user };
        scene.make_git();
        scene
    }

    fn make_git(&self) {
        let project = &self.project;
        let source = project.root().join("source");
        fs::create_dir(&source).expect("creates");
        fs::write(source.join("code"), "x").expect("writes");
        let home = project.root().join("git-home");
        fs::create_dir(&home).expect("creates");
        let git = |directory: &Path, arguments: &[&str]| {
            crate::support::project::git_in(directory, &home, arguments);
        };
        for arguments in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-qm", "x"]] {
            git(&source, arguments);
        }
        let root = project.at("");
        git(&root, &["init", "-q", "-b", "main"]);
        git(&root, &["submodule", "--quiet", "add", &source.to_string_lossy(), "module"]);
        git(&root, &["add", "-A"]);
        git(&root, &["commit", "-qm", "x"]);
        git(&root, &["init", "-q", "nested"]);
        git(&root, &["init", "-q", "--bare", "bare.git"]);
        for (name, value) in [
            ("core.hooksPath", ".githooks"),
            ("filter.x.clean", "sh tools/clean.sh %f"),
            ("include.path", "../.gitsettings"),
            ("alias.x", "!sh tools/clean.sh"),
        ] {
            git(&root, &["config", name, value]);
        }
    }

    /// Runs the binary as the user of the scene, with the PATH of a careless user.
    fn run(&self, arguments: &[&str], variables: &[(&str, PathBuf)]) -> Outcome {
        if let Some(user) = self.user {
            let owner = format!("{user}:{user}");
            let owned = Command::new("chown").args(["-R", &owner]).arg(self.project.root()).status();
            assert!(owned.expect("runs").success());
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let local = self.project.home().join(".local/bin");
        let mut run = self
            .project
            .modelseal(arguments)
            .env("PATH", format!("{}:/usr/bin:/bin:{path}:bin", local.display()))
            .env("SECRET", "HUNTER2");
        for (name, value) in variables {
            run = run.env(name, value);
        }
        let mut command = run.into_command();
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        finish(command, Vec::new())
    }

    /// Every file outside the artifact and outside modelseal's own output, with its content and mode.
    fn files(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
        let own = ["project/model", "project/dist", "home/.cache/modelseal", "home/.config/modelseal"];
        let own = own.map(|path| self.project.root().join(path));
        let walk = walkdir::WalkDir::new(self.project.root()).into_iter();
        let mut files = BTreeMap::new();
        for entry in walk.filter_entry(|entry| !own.contains(&entry.path().to_path_buf())) {
            let entry = entry.expect("walks");
            let content = match entry.file_type() {
                kind if kind.is_file() => fs::read(entry.path()).expect("reads"),
                kind if kind.is_symlink() => {
                    fs::read_link(entry.path()).expect("reads").into_os_string().into_encoded_bytes()
                }
                _ => Vec::new(),
            };
            let mode = entry.metadata().expect("looks").mode();
            files.insert(entry.path().to_path_buf(), (content, mode));
        }
        files
    }
}

/// Builds, and checks that nothing was read and that only the artifact changed.
#[track_caller]
fn attack(pair: Pair, key: Key, user: Option<u32>, environment: Option<&str>, arguments: &[&str]) {
    let what = format!("{pair:?}, {key:?}, {user:?}, {environment:?}, {arguments:?}");
    let scene = Scene::new(pair, key, user);
    let mut variables = Vec::new();
    if let Some(environment) = environment {
        let environment = scene.project.root().join(environment);
        fs::create_dir_all(environment.join("bin")).expect("creates");
        fs::write(environment.join("pyvenv.cfg"), "home = /usr/bin\n").expect("writes");
        fs::write(environment.join("bin/activate"), "# mine\n").expect("writes");
        symlink("/bin/sh", environment.join("bin/python3")).expect("links");
        let path = format!("{}:/usr/bin:/bin", environment.join("bin").display());
        variables.extend([("VIRTUAL_ENV", environment), ("PATH", PathBuf::from(path))]);
    }
    let original = fs::read(&scene.key).expect("reads");
    let given = match key {
        Key::Own => Vec::new(),
        Key::Variable => {
            variables.push(("THE_KEY", String::from_utf8(original.clone()).expect("is text").into()));
            vec!["--key".to_string(), "env://THE_KEY".to_string()]
        }
        _ => vec!["--key".to_string(), scene.key.to_string_lossy().into_owned()],
    };
    let given = given.iter().map(String::as_str);
    let all: Vec<&str> = ["build"].into_iter().chain(given).chain(arguments.iter().copied()).collect();
    let before = scene.files();
    let outcome = scene.run(&all, &variables);
    // A clone has no configuration, so protected files are only compared afterwards.
    let is_changed = arguments.contains(&"--clean") && outcome.all().contains("`, which is an input");
    assert!(outcome.code == Some(if is_changed { 1 } else { 0 }), "{what}: {}", outcome.all());
    let after = scene.files();
    let changed: Vec<&PathBuf> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "{what}: {changed:?}\n{}", outcome.all());
    assert_eq!(fs::read(&scene.key).expect("reads"), original, "{what}");
    let own = scene.project.home().join(".config/modelseal");
    let listed = fs::read_dir(&own).expect("was made").flatten().map(|entry| entry.file_name());
    assert_eq!(listed.count(), if key == Key::Own { 2 } else { 0 }, "{what}");
    assert_eq!(fs::metadata(&own).expect("looks").mode() & 0o777 & !0o755, 0, "{what}");
    let archive = match is_changed {
        true => fs::read(scene.project.at("dist/m-1.tar.rejected/found")).expect("reads"),
        false => fs::read(scene.project.at("dist/m-1.tar")).expect("reads"),
    };
    let read = [outcome.all().into_bytes(), archive].concat();
    for secret in ["PRIVATE KEY", "HUNTER2"] {
        let found = read.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{what}: {secret} was read\n{}", outcome.all());
    }
    if is_changed {
        return;
    }
    let public = scene.key.with_extension("pub");
    let verify = ["verify", "dist/m-1.tar", "--key", &public.to_string_lossy()].map(str::to_string);
    let verified = scene.run(&verify.each_ref().map(String::as_str), &[]);
    verified.says("signature            pass");
}

const USERS: [Option<u32>; 2] = [None, Some(4217)];

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_two_commands_from_reading_or_replacing_a_key() {
    for user in USERS {
        for key in [Key::InWorkTree, Key::BesideWorkTree, Key::InHome, Key::Variable, Key::Own] {
            attack(Pair::EnvironmentAndRun, key, user, None, &[]);
        }
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_a_command_and_a_probe_or_two_probes_from_reaching_a_key() {
    for user in USERS {
        for pair in [Pair::RunAndProbe, Pair::TwoProbes] {
            attack(pair, Key::InWorkTree, user, None, &[]);
            attack(pair, Key::Own, user, None, &[]);
        }
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_two_commands_from_planting_in_an_active_environment() {
    for user in USERS {
        for environment in ["project/venv", "venv", "home/venv"] {
            attack(Pair::EnvironmentAndRun, Key::BesideWorkTree, user, Some(environment), &[]);
        }
        attack(Pair::RunAndProbe, Key::Own, user, Some("project/venv"), &[]);
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_stops_two_commands_in_a_clone_from_reaching_keys_or_planting() {
    for user in USERS {
        attack(Pair::EnvironmentAndRun, Key::InWorkTree, user, Some("project/venv"), &["--clean"]);
        attack(Pair::RunAndProbe, Key::Own, user, None, &["--clean"]);
    }
}
