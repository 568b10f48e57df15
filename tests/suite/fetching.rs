//! Commands in a clone that fetch what they need, with the usual tools.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::peers;
use crate::support::project::Project;

/// A server of packages and models, which ends with the test.
struct Hub {
    child: Child,
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/hub.py");
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("has an output")).lines();
        let port = lines.next().expect("a line").expect("reads");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&requests);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| list.lock().expect("locks").push(line));
        });
        Self { child, address: format!("http://127.0.0.1:{port}"), requests }
    }

    fn count(&self, start: &str) -> usize {
        self.requests.lock().expect("locks").iter().filter(|line| line.starts_with(start)).count()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Builds twice with `--clean`, then reproduces. Returns the number of requests with the prefix `asked` after each
/// step.
fn build(command: &[&str], variables: &[(&str, &str)], caches: &str, asked: &str) -> [usize; 3] {
    peers::program("bwrap");
    let environment: PathBuf = peers::python_environment("fetchers");
    let hub = Hub::start();
    let project = Project::empty();
    let quoted = |word: &str| format!("{:?}", word.replace("HUB", &hub.address));
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    project.write(
        "modelseal.toml",
        format!(
            "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[run]\ncommand = [{}]\nenv = {{ {} }}\ncaches = [{caches}]\n",
            command.join(", "),
            variables.join(", ")
        ),
    );
    project.write(
        "train.py",
        "import os, tinymodel\nos.makedirs('model')\nopen('model/w', 'w').write(tinymodel.WEIGHTS)\n",
    );
    project.write(
        "download.py",
        "import os\nfrom huggingface_hub import hf_hub_download\npath = hf_hub_download('acme/tiny', 'weights.bin')\n\
         os.makedirs('model')\nopen('model/w', 'wb').write(open(path, 'rb').read())\n",
    );
    project.write(".gitignore", "model\ndist\n");
    project.commit();
    let path = format!("{}:{}", environment.join("bin").display(), std::env::var("PATH").expect("a PATH"));
    let run = |arguments: &[&str]| {
        project.modelseal(arguments).env("PATH", &path).env("VIRTUAL_ENV", &environment).expect(0);
    };
    let (key, public) = (project.key(), project.public_key());
    let mut counts = [0; 3];
    for (index, arguments) in [
        &["build", "--clean", "--key", &key][..],
        &["build", "--clean", "--key", &key, "--force"],
        &["reproduce", "dist/m-1.tar", "--key", &public],
    ]
    .iter()
    .enumerate()
    {
        run(arguments);
        counts[index] = hub.count(asked);
    }
    let listed = std::fs::read_dir(project.home()).expect("reads").flatten();
    let names: Vec<_> = listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().all(|name| [".cache", ".config"].contains(&name.as_str())), "{names:?}");
    counts
}

#[test]
#[ignore = "needs bubblewrap, uv and huggingface_hub"]
fn uv_cache_is_kept_between_clean_builds() {
    let command = ["uv", "run", "--no-project", "--with", "tinymodel==1.0", "train.py"];
    let variables = [("UV_DEFAULT_INDEX", "HUB/simple/"), ("UV_PYTHON_DOWNLOADS", "never")];
    let [first, second, rebuilt] = build(&command, &variables, "\"uv\"", "GET /files/");
    assert!(first > 0 && second == first && rebuilt == 2 * first, "{first}, {second}, {rebuilt}");
}

#[test]
#[ignore = "needs bubblewrap, uv and huggingface_hub"]
fn pip_download_works_in_a_clone() {
    let line = "pip download --disable-pip-version-check -q -d model --index-url HUB/simple/ tinymodel==1.0";
    let counts = build(&["sh", "-c", line], &[], "\"pip\"", "GET /files/");
    assert!(counts[0] > 0 && counts[2] > counts[1], "{counts:?}");
}

#[test]
#[ignore = "needs bubblewrap, uv and huggingface_hub"]
fn hugging_face_cache_is_kept_between_clean_builds() {
    let variables = [("HF_ENDPOINT", "HUB"), ("HF_HUB_DISABLE_XET", "1")];
    let asked = "GET /acme/tiny/resolve/";
    assert_eq!(build(&["python3", "download.py"], &variables, "\"huggingface\"", asked), [1, 1, 2]);
}
