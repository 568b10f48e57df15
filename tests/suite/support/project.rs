use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::run::{Outcome, Run, modelseal};

/// A project in its own directory, with a home and keys next to it.
pub struct Project {
    directory: TempDir,
}

/// The time of the commit, so that the archive is the same on every day.
pub const COMMIT_TIME: &str = "1760000000";

pub const RECIPE: &str = r#"[model]
name = "wine"
version = "1.0.0"

[artifact]
path = "model"

[[data]]
name = "train"
path = "data/train.csv"
label = "class"

[params]
files = ["params.toml"]
"#;

impl Project {
    /// Only the directories, without a repository.
    pub fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["project", "home", "out"] {
            fs::create_dir(directory.path().join(name)).expect("creates");
        }
        Self { directory }
    }

    /// A small project with all kinds of inputs, committed.
    pub fn new() -> Self {
        let project = Self::empty();
        project.write("modelseal.toml", RECIPE);
        project.write("params.toml", "learning_rate = 0.1\nseed = 42\n");
        project.write("data/train.csv", "x,class\n1,a\n2,b\n3,a\n");
        project.write("model/config.json", "{\"classes\": 2}\n");
        project.write("model/weights.safetensors", "w".repeat(4096));
        project.write("train.py", "print('train')\n");
        project.commit();
        project
    }

    /// A project whose artifact is `files`, without a repository.
    pub fn with_artifact(files: &[(&str, &[u8])]) -> Self {
        let project = Self::empty();
        project.write("modelseal.toml", "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[params]\nvalues = { a = 1 }\n[code]\nnone = true\n");
        fs::create_dir(project.at("model")).expect("creates");
        for (name, content) in files {
            project.write(&format!("model/{name}"), content);
        }
        project
    }

    /// A path inside the project.
    pub fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("project").join(path)
    }

    /// A path next to the project, for output.
    pub fn out(&self, path: &str) -> PathBuf {
        self.directory.path().join("out").join(path)
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
        fs::write(path, content).expect("writes");
    }

    /// Adds lines to the recipe.
    pub fn append_recipe(&self, text: &str) {
        let recipe = fs::read_to_string(self.at("modelseal.toml")).expect("reads");
        self.write("modelseal.toml", format!("{recipe}\n{text}"));
    }

    /// Replaces text in the recipe.
    pub fn edit_recipe(&self, from: &str, to: &str) {
        let recipe = fs::read_to_string(self.at("modelseal.toml")).expect("reads");
        assert!(recipe.contains(from), "{from} is not in the recipe");
        self.write("modelseal.toml", recipe.replace(from, to));
    }

    /// Sets the version of the next release.
    pub fn set_version(&self, version: &str) {
        let recipe = fs::read_to_string(self.at("modelseal.toml")).expect("reads");
        let line = recipe.lines().find(|line| line.starts_with("version = ")).expect("a version");
        self.write("modelseal.toml", recipe.replace(line, &format!("version = \"{version}\"")));
    }

    /// Runs git in the project with a fixed identity and time.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.at(""), &self.home(), arguments)
    }

    /// Commits all files.
    pub fn commit(&self) {
        if !self.at(".git").exists() {
            self.git(&["init", "-q", "-b", "main"]);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "state"]);
    }

    /// The binary, in the project's directory and with its home.
    pub fn modelseal(&self, arguments: &[&str]) -> Run {
        modelseal(arguments).current_dir(&self.at("")).home(&self.home())
    }

    /// A fixed P-256 key, so that archives have the same bytes on every run.
    pub fn key(&self) -> String {
        let path = self.root().join("ci.key");
        if !path.exists() {
            fs::write(&path, include_str!("../keys/p256.pem")).expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets the mode");
            fs::write(self.root().join("ci.pub"), include_str!("../keys/p256.pub")).expect("writes");
        }
        path.to_string_lossy().into_owned()
    }

    /// The public key of [`Self::key`].
    pub fn public_key(&self) -> String {
        self.key();
        self.root().join("ci.pub").to_string_lossy().into_owned()
    }

    /// Another key pair of the same kind: the private path and the public path.
    pub fn other_key(&self, name: &str) -> (String, String) {
        let prefix = self.root().join(name);
        let text = |ending: &str| format!("{}{ending}", prefix.display());
        if !Path::new(&text(".key")).exists() {
            self.modelseal(&["keygen", "-o", &prefix.to_string_lossy()]).expect(0);
        }
        (text(".key"), text(".pub"))
    }

    /// Builds with the fixed key and returns the archive.
    #[track_caller]
    pub fn build(&self) -> PathBuf {
        self.build_with(&[])
    }

    /// Builds with the fixed key and more arguments.
    #[track_caller]
    pub fn build_with(&self, arguments: &[&str]) -> PathBuf {
        let key = self.key();
        let mut all = vec!["build", "--key", &key, "--format", "json"];
        all.extend(arguments);
        let outcome = self.modelseal(&all).expect(0);
        let archive = outcome.json()["archive"].as_str().expect("a path").to_string();
        self.at(&archive)
    }

    /// Runs a build that must be refused with this exit code.
    #[track_caller]
    pub fn build_refused(&self, arguments: &[&str], code: i32) -> Outcome {
        let key = self.key();
        let mut all = vec!["build", "--key", &key];
        all.extend(arguments);
        let outcome = self.modelseal(&all).expect(code);
        assert!(
            !self.at("dist").exists() || fs::read_dir(self.at("dist")).expect("reads").count() == 0,
            "something is in dist"
        );
        outcome.claims_no_success();
        outcome
    }

    /// Verifies a target with the fixed key.
    pub fn verify(&self, target: &Path, arguments: &[&str]) -> Outcome {
        let key = self.public_key();
        let target = target.to_string_lossy();
        let mut all = vec!["verify", &target, "--key", &key];
        all.extend(arguments);
        self.modelseal(&all).run()
    }

    /// Unpacks an archive and returns the directory.
    #[track_caller]
    pub fn unpack(&self, archive: &Path) -> PathBuf {
        let directory = self.out("unpacked");
        let key = self.public_key();
        let (from, to) = (archive.to_string_lossy(), directory.to_string_lossy());
        self.modelseal(&["unpack", &from, "-o", &to, "--key", &key]).expect(0);
        directory
    }
}

/// Runs git in a directory with a fixed identity and time, and no other configuration.
#[track_caller]
pub fn git_in(directory: &Path, home: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "builder")
            .env(format!("GIT_{role}_EMAIL"), "builder@example.invalid")
            .env(format!("GIT_{role}_DATE"), format!("{COMMIT_TIME} +0000"));
    }
    let output = command.output().expect("git runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An archive of a project that never changes, made once for all tests that only damage copies of it.
pub fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let project = Project::new();
        let archive = project.build();
        let bytes = fs::read(archive).expect("reads");
        Sample { project, bytes }
    })
}

pub struct Sample {
    pub project: Project,
    pub bytes: Vec<u8>,
}

impl Sample {
    /// Verifies other bytes, in a file, as if they were the archive.
    pub fn verify_bytes(&self, bytes: &[u8], arguments: &[&str]) -> Outcome {
        let file = tempfile::Builder::new().suffix(".tar").tempfile().expect("a file");
        fs::write(file.path(), bytes).expect("writes");
        self.project.verify(file.path(), arguments)
    }
}
