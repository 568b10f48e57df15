//! The files in docs/deploying: they are valid by the schemas of the tools that read them, and their commands run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::gating::{Row, csv, even, project, release};
use crate::support::{Project, peers};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploying").join(name)
}

fn program(name: &str) -> Command {
    Command::new(peers::python_environment("deploying").join("bin").join(name))
}

fn read(name: &str) -> Value {
    let script = "import json, sys, yaml\nprint(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = program("python").args(["-c", script]).arg(file(name)).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Asserts that a file is valid, and that this change makes it invalid.
#[track_caller]
pub fn check(path: &Path, from: &str, to: &str, validator: &[&str]) {
    let text = fs::read_to_string(path).expect("reads");
    let changed = text.replacen(from, to, 1);
    assert_ne!(changed, text);
    let scratch = tempfile::tempdir().expect("a directory");
    for (text, valid) in [(text, true), (changed, false)] {
        let copy = scratch.path().join("file.yml");
        fs::write(&copy, text).expect("writes");
        let output = program(validator[0]).args(&validator[1..]).arg(&copy).output().expect("runs");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(output.status.success(), valid, "{}: {}", path.display(), said.concat());
    }
}

const KUBERNETES: [&str; 4] = ["kubernetes-validate", "--strict", "-k", "1.37"];

#[test]
#[ignore = "needs kubernetes-validate and check-jsonschema"]
fn deployment_examples_match_the_schemas_of_their_tools() {
    let github = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"];
    check(&file("github-actions.yml"), "runs-on:", "run-on:", &github);
    let gitlab =
        ["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"];
    check(&file("gitlab-ci.yml"), "script:", "scripts:", &gitlab);
    check(&file("kubernetes.yml"), "mountPath:", "mount:", &KUBERNETES);

    // For an analysis, only the job inside it has a schema here.
    let analysis = read("argo-rollouts.yml");
    assert_eq!(analysis["apiVersion"], "argoproj.io/v1alpha1");
    assert_eq!(analysis["kind"], "AnalysisTemplate");
    let job = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": analysis["metadata"],
        "spec": analysis["spec"]["metrics"][0]["provider"]["job"]["spec"]
    });
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("job.yml");
    fs::write(&path, job.to_string()).expect("writes");
    check(&path, "restartPolicy", "restart", &KUBERNETES);
}

/// A model store and the deployer's directory.
struct Deployment {
    project: Project,
    directory: PathBuf,
}

impl Deployment {
    fn new() -> Self {
        let project = project();
        let older: Vec<Row> = even(400).into_iter().map(|(hours, class)| (hours + 5, class)).collect();
        let good = release(&project, "wine-1", &csv(&older), "1");
        let directory = project.root().join("deployer");
        fs::create_dir(&directory).expect("creates");
        let (policy, good) = (directory.join("gate.toml"), good.to_string_lossy().into_owned());
        let policy = policy.to_string_lossy().into_owned();
        let key = directory.join("ci.pub");
        fs::copy(project.public_key(), &key).expect("copies");
        let key = key.to_string_lossy().into_owned();
        project.modelseal(&["policy", "init", &good, "--key", &key, "-o", &policy]).expect(0);
        fs::write(directory.join("current-version"), "1\n").expect("writes");
        Self { project, directory }
    }

    fn release(&self, version: &str, rows: &[Row]) {
        release(&self.project, &format!("wine-{version}"), &csv(rows), version);
    }

    /// The directory of the releases.
    fn store(&self) -> PathBuf {
        self.project.out("wine-1.tar").parent().expect("a directory").to_path_buf()
    }

    /// Runs the commands of a job as the CI system does: each in a shell that stops at the first error.
    fn job(&self, scripts: &[String], version: &str) -> (i32, String) {
        peers::program("curl");
        let programs = Path::new(env!("CARGO_BIN_EXE_modelseal")).parent().expect("a directory");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a PATH"));
        let store = format!("file://{}", self.store().display());
        let mut said = String::new();
        for script in scripts {
            let output = Command::new("bash")
                .args(["-e", "-o", "pipefail", "-c", script])
                .current_dir(&self.directory)
                .env_clear()
                .env("PATH", &path)
                .env("HOME", self.project.home())
                .env("STORE", &store)
                .env("MODEL_STORE", &store)
                .env("VERSION", version)
                .env("GITHUB_STEP_SUMMARY", self.directory.join("summary.md"))
                .env("GITHUB_OUTPUT", self.directory.join("outputs"))
                .output()
                .expect("runs");
            said += &String::from_utf8_lossy(&output.stdout);
            said += &String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                return (output.status.code().unwrap_or(-1), said);
            }
        }
        (0, said)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).expect("reads")
    }

    /// Runs a container's command, with these directories mounted where its volumes are.
    fn container(&self, arguments: &[String], mounts: &[(&Path, &str)]) -> (i32, String) {
        peers::program("bwrap");
        let mut command = Command::new("bwrap");
        command.args(["--tmpfs", "/", "--dev", "/dev", "--proc", "/proc", "--clearenv"]);
        for system in ["/usr", "/lib", "/lib64", "/bin"] {
            command.args(["--ro-bind-try", system, system]);
        }
        command.args(["--ro-bind", env!("CARGO_BIN_EXE_modelseal"), "/program/modelseal"]);
        command.args(["--setenv", "PATH", "/program:/usr/bin"]);
        for (from, to) in mounts {
            command.arg("--bind").arg(from).arg(to);
        }
        let output = command.arg("modelseal").args(arguments).output().expect("runs");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code().unwrap_or(-1), said.concat())
    }
}

fn texts(values: &Value) -> Vec<String> {
    values.as_array().expect("a list").iter().map(|value| value.as_str().expect("text").to_string()).collect()
}

/// More rows of one class than chance explains.
fn shifted() -> Vec<Row> {
    even(400).into_iter().map(|(hours, class)| (hours, if hours % 5 > 1 { "yes" } else { class })).collect()
}

#[test]
#[ignore = "needs curl"]
fn ci_examples_accept_a_good_release_and_stop_a_bad_one() {
    let github = read("github-actions.yml");
    let steps = github["jobs"]["gate"]["steps"].as_array().expect("steps").iter();
    let github: Vec<String> = steps.filter_map(|step| step["run"].as_str()).map(str::to_string).collect();
    let gitlab = texts(&read("gitlab-ci.yml")["gate"]["script"]);
    assert_eq!((github.len(), gitlab.len()), (4, 5));
    for (scripts, changes) in [(github, "summary.md"), (gitlab, "changes.md")] {
        let deployment = Deployment::new();
        deployment.release("2", &even(410));
        let (code, said) = deployment.job(&scripts, "2");
        assert_eq!(code, 0, "{said}");
        assert!(deployment.read(changes).contains("data"), "{}", deployment.read(changes));
        let environment = deployment.read("release.env");
        assert!(environment.contains("\nMODELSEAL_RELEASE=sha256:"), "{environment}");
        if changes == "summary.md" {
            assert!(deployment.read("outputs").starts_with("release=sha256:"));
        }

        fs::remove_file(deployment.directory.join("release.env")).expect("removes");
        deployment.release("3", &shifted());
        let (code, said) = deployment.job(&scripts, "3");
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("gate.labels.train"), "{said}");
        assert!(!deployment.directory.join("release.env").exists(), "nothing came after it");
        // A release that cannot be fetched is not deployed.
        assert_ne!(deployment.job(&scripts, "4").0, 0);
    }
}

#[test]
#[ignore = "needs bubblewrap and curl"]
fn kubernetes_example_unpacks_only_the_accepted_release() {
    let deployment = Deployment::new();
    let manifest = read("kubernetes.yml");
    let containers = &manifest["spec"]["template"]["spec"]["initContainers"];
    let unpack = &containers[1];
    assert_eq!(texts(&unpack["command"]), ["modelseal"]);
    let archive = deployment.store().join("wine-1.tar").to_string_lossy().into_owned();
    let shown = deployment.project.modelseal(&["show", &archive, "--format", "env"]).expect(0).stdout;
    let release = shown.lines().find_map(|line| line.strip_prefix("MODELSEAL_RELEASE=")).expect("a release");
    let start = |archive: &str, release: &str| {
        let arguments: Vec<String> = texts(&unpack["args"])
            .iter()
            .map(|argument| argument.replace("$(MODELSEAL_RELEASE)", release))
            .collect();
        let scratch = tempfile::tempdir().expect("a directory");
        let at = |name: &str| {
            let path = scratch.path().join(name);
            fs::create_dir(&path).expect("creates");
            path
        };
        let (incoming, model) = (at("incoming"), at("model"));
        fs::copy(deployment.store().join(archive), incoming.join("wine.tar")).expect("copies");
        let mounts = [(&*incoming, "/incoming"), (&*model, "/model"), (&*deployment.directory, "/gate")];
        let (code, said) = deployment.container(&arguments, &mounts);
        (code, said, model.join("wine/weights").is_file())
    };
    let (code, said, unpacked) = start("wine-1.tar", release);
    assert_eq!((code, unpacked), (0, true), "{said}");
    deployment.release("2", &even(410));
    let (code, said, unpacked) = start("wine-2.tar", release);
    assert_eq!((code, unpacked), (1, false), "{said}");
}

#[test]
#[ignore = "needs bubblewrap and curl"]
fn argo_rollouts_example_fails_for_a_release_that_the_policy_refuses() {
    let deployment = Deployment::new();
    deployment.release("2", &even(410));
    deployment.release("3", &shifted());
    let analysis = read("argo-rollouts.yml");
    let container =
        &analysis["spec"]["metrics"][0]["provider"]["job"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(texts(&container["command"]), ["modelseal"]);
    for (version, expected) in [("2", 0), ("3", 1)] {
        let arguments: Vec<String> = texts(&container["args"])
            .iter()
            .map(|argument| argument.replace("{{args.version}}", version).replace("{{args.current}}", "1"))
            .collect();
        let store = deployment.store();
        let mounts = [(&*store, "/store"), (&*deployment.directory, "/gate")];
        let (code, said) = deployment.container(&arguments, &mounts);
        assert_eq!(code, expected, "{said}");
    }
}
