//! What people see: the help of each subcommand, and the output of common sessions, compared with `tests/snapshots`.
//!
//! After a change of output, `INSTA_UPDATE=always cargo test --test suite snapshots -- --include-ignored` writes the
//! files anew. Read the difference before you commit it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Project;
use crate::support::run::{Outcome, modelseal};

/// Compares a text with a file, apart from digests, times and paths of this run.
fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"[0-9a-f]{64}|[0-9a-f]{58}|[0-9a-f]{40}|[0-9a-f]{16}\b", "[digest]");
    settings.add_filter(r"\b[0-9a-f]{8}…", "[digest]…");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Commands that run one after the other in one project, and everything that they print.
struct Session<'a> {
    name: &'a str,
    project: &'a Project,
    said: String,
}

impl<'a> Session<'a> {
    fn new(name: &'a str, project: &'a Project) -> Self {
        project.public_key();
        Self { name, project, said: String::new() }
    }

    /// Runs a command. Its words are separated by spaces.
    fn run(&mut self, line: &str) -> &mut Self {
        let words: Vec<&str> = line.split(' ').collect();
        let Outcome { code, stdout, stderr } = self.project.modelseal(&words).run();
        let code = code.expect("an exit code");
        let root = self.project.root().to_string_lossy();
        let out = [stdout, stderr].map(|text| text.replace(&*root, "ROOT"));
        self.said += &format!("$ modelseal {line}\n{}", out[0]);
        if !out[1].is_empty() {
            self.said += &format!("(standard error)\n{}", out[1]);
        }
        self.said += &format!("(exit code {code})\n\n");
        self
    }

    /// Changes the project between two commands, and says how.
    fn then(&mut self, what: &str, change: impl FnOnce(&Project)) -> &mut Self {
        change(self.project);
        self.said += &format!("# {what}\n\n");
        self
    }

    fn end(&self) {
        compare(self.name, &self.said);
    }
}

#[test]
fn help_of_each_subcommand_matches_the_snapshot() {
    let names = [
        "build",
        "completions",
        "countersign",
        "diff",
        "drill",
        "init",
        "keygen",
        "policy",
        "policy check",
        "policy init",
        "probe",
        "reproduce",
        "rollback",
        "show",
        "sign",
        "unpack",
        "verify",
    ];
    compare("help", &modelseal(["--help"]).expect(0).stdout);
    for name in names {
        let words: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        compare(&format!("help-{}", name.replace(' ', "-")), &modelseal(&words).expect(0).stdout);
    }
}

#[test]
fn build_and_verify_session_matches_the_snapshot() {
    let project = Project::new();
    let mut session = Session::new("sealing", &project);
    session
        .run("keygen -o ../other")
        .run("build --key ../ci.key")
        .run("build --key ../ci.key")
        .run("show dist/wine-1.0.0.tar")
        .run("show dist/wine-1.0.0.tar --format env")
        .run("verify dist/wine-1.0.0.tar --key ../ci.pub")
        .run("verify dist/wine-1.0.0.tar --key ../other.pub")
        .run("verify dist/wine-1.0.0.tar --key ../ci.pub --quiet")
        .run("unpack dist/wine-1.0.0.tar -o ../out/model --key ../ci.pub")
        .then("one file changes, and another one appears", |project| {
            fs::write(project.out("model/config.json"), "{\"classes\": 3}\n").expect("writes");
            fs::write(project.out("model/new"), "").expect("writes");
        })
        .run("verify ../out/model --key ../ci.pub")
        .run("unpack dist/wine-1.0.0.tar -o ../out/model --key ../ci.pub")
        .end();
}

#[test]
fn policy_and_release_session_matches_the_snapshot() {
    let project = Project::new();
    let mut session = Session::new("policies", &project);
    session
        .run("build --key ../ci.key")
        .run("policy init dist/wine-1.0.0.tar --key ../ci.pub -o ../gate.toml")
        .run("policy check ../gate.toml")
        .run("verify dist/wine-1.0.0.tar --policy ../gate.toml")
        .then("the next version: one more row, another learning rate", |project| {
            project.write("data/train.csv", "x,class\n1,a\n2,b\n3,a\n4,b\n");
            project.write("params.toml", "learning_rate = 0.2\nseed = 42\n");
            project.write("model/weights.safetensors", "v".repeat(4096));
            project.set_version("1.1.0");
            project.commit();
        })
        .run("build --key ../ci.key")
        .run("diff dist/wine-1.0.0.tar dist/wine-1.1.0.tar")
        .run("diff dist/wine-1.0.0.tar dist/wine-1.1.0.tar --format markdown")
        .run("verify dist/wine-1.1.0.tar --policy ../gate.toml --previous dist/wine-1.0.0.tar")
        .run("countersign dist/wine-1.1.0.tar --key ../ci.key")
        .run("rollback dist/wine-1.0.0.tar --key ../ci.key --reason slow")
        .run("drill dist/wine-1.0.0.tar --policy ../gate.toml")
        .end();
}

#[test]
fn sign_and_verify_session_matches_the_snapshot() {
    let project = Project::new();
    let mut session = Session::new("signing", &project);
    session
        .run("sign model --key ../ci.key")
        .run("verify model --signature model/model.sig --key ../ci.pub")
        .then("one file changes", |project| project.write("model/config.json", "{}\n"))
        .run("verify model --signature model/model.sig --key ../ci.pub")
        .end();
}

#[test]
fn init_session_matches_the_snapshot() {
    let project = Project::empty();
    project.write("data/train.csv", "x,y\n1,2\n");
    project.write("model/weights.bin", "w");
    project.write("requirements.txt", "numpy==2.0.0\n");
    project.commit();
    let mut session = Session::new("new-project", &project);
    session.run("build").run("init").run("init").then("modelseal.toml", |_| {});
    session.said += &fs::read_to_string(project.at("modelseal.toml")).expect("reads");
    session.end();
}

#[test]
fn error_and_hint_session_matches_the_snapshot() {
    let project = Project::new();
    let mut session = Session::new("mistakes", &project);
    session
        .run("biuld")
        .run("build --key ../absent.key")
        .run("build -o -")
        .run("verify absent.tar --key ../ci.pub")
        .run("verify train.py --key ../ci.pub")
        .run("verify train.py")
        .then("the private key can be read by others", |project| {
            let mode = fs::Permissions::from_mode(0o644);
            fs::set_permissions(project.root().join("ci.key"), mode).expect("sets the mode");
        })
        .run("build --key ../ci.key")
        .then("its mode is 0600 again", |project| {
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(project.root().join("ci.key"), mode).expect("sets the mode");
        })
        .then("a file changes after the commit", |project| project.write("train.py", "print('other')\n"))
        .run("build --key ../ci.key")
        .then("it is committed; the recipe has a mistake", |project| {
            project.edit_recipe("label = ", "lable = ");
            project.commit();
        })
        .run("build --key ../ci.key")
        .then("the label is not a column", |project| {
            project.edit_recipe("lable = \"class\"", "label = \"clas\"");
            project.commit();
        })
        .run("build --key ../ci.key")
        .then("the data is a pointer of Git LFS", |project| {
            project.edit_recipe("label = \"clas\"\n", "");
            let oid = "0".repeat(64);
            let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 9\n");
            project.write("data/train.csv", pointer);
            project.commit();
        })
        .run("build --key ../ci.key")
        .end();
}

/// A project whose command makes a model that answers a question.
fn with_a_command() -> Project {
    crate::support::peers::program("bwrap");
    let project = Project::empty();
    let recipe = "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[run]\ncommand = [\"sh\", \"make.sh\"]\n\
                  [[probe]]\nname = \"golden\"\ncommand = [\"python3\", \"answer.py\"]\ninputs = \"golden.jsonl\"\n";
    project.write("modelseal.toml", recipe);
    project.write("make.sh", "mkdir -p model && echo 7 > model/weight\n");
    project.write(
        "answer.py",
        "import json, os, sys\nweight = int(open(os.path.join(os.environ['MODELSEAL_ARTIFACT'], 'weight')).read())\nfor line in sys.stdin:\n    question = json.loads(line)\n    print(json.dumps({'id': question['id'], 'output': question['input'] * weight}), flush=True)\n",
    );
    let question = |id: u32| format!("{{\"id\": \"{id}\", \"input\": {id}, \"expected\": {}}}\n", 7 * id);
    project.write("golden.jsonl", (1..=4).map(question).collect::<String>());
    project.write(".gitignore", "model/\ndist/\n");
    project.commit();
    project
}

#[test]
#[ignore = "needs bubblewrap"]
fn clean_build_and_reproduce_session_matches_the_snapshot() {
    let project = with_a_command();
    let mut session = Session::new("building", &project);
    session
        .run("build --clean --key ../ci.key")
        .run("reproduce dist/m-1.tar --key ../ci.pub --source .")
        .then("the command fails", |project| {
            project.write("make.sh", "echo cannot train >&2; exit 7\n");
            project.commit();
        })
        .run("build --key ../ci.key")
        .then("the model answers wrongly", |project| {
            project.write("make.sh", "mkdir -p model && echo 8 > model/weight\n");
            project.commit();
        })
        .run("build --key ../ci.key")
        .then("the command makes something else each time", |project| {
            project.write(
                "make.sh",
                "mkdir -p model && echo 7 > model/weight && head -c 8 /dev/urandom > model/noise\n",
            );
            project.set_version("2");
            project.commit();
        })
        .run("build --key ../ci.key")
        .run("reproduce dist/m-2.tar --key ../ci.pub --source . --quiet")
        .end();
}
