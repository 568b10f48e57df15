//! Builds of the program that do not read data again, some minutes after the data was written.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use modelseal_build::cache::Cache;
use modelseal_format::digest::{Digest, Stamp};

use crate::caching::{FILES, SETTLED, Scene, overwrite};
use crate::support::run::{Outcome, finish};
use crate::support::{Project, peers};

/// A project whose data is on a disk where it can be cached, and builds of it two minutes from now.
struct Built {
    scene: Scene,
    project: Project,
}

impl Built {
    fn new() -> Self {
        peers::program("faketime");
        let project = Project::new();
        project.edit_recipe("label = \"class\"\n", "");
        project.commit();
        Self { scene: Scene::new(&FILES), project }
    }

    /// Runs modelseal with the data at its real path.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Outcome {
        let data = format!("train={}", self.scene.data("").display());
        let plain = self.project.modelseal(&[arguments, &["--data", &data]].concat()).into_command();
        // The kernel's file times are not faked.
        let mut command = Command::new("faketime");
        command.args(["-f", "+2m"]).arg(plain.get_program()).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("NO_FAKE_STAT", "1").current_dir(self.project.at(""));
        finish(command, Vec::new())
    }

    #[track_caller]
    fn build(&self, arguments: &[&str]) -> Outcome {
        let key = self.project.key();
        let all = [&["build", "--key", &key, "--force"], arguments].concat();
        let outcome = self.run(&all);
        assert_eq!(outcome.code, Some(0), "{}", outcome.all());
        outcome
    }

    fn release(&self, arguments: &[&str]) -> (String, Option<u64>) {
        let json = self.build(&[&["--format", "json"], arguments].concat()).json();
        (json["release"].as_str().expect("a release").to_string(), json["cached_files"].as_u64())
    }
}

#[test]
#[ignore = "needs faketime"]
fn build_with_a_cache_reports_files_not_read_and_seals_the_same_release() {
    let built = Built::new();
    let (first, cached) = built.release(&[]);
    assert_eq!(cached, None);
    assert_eq!(built.release(&[]), (first.clone(), Some(4)));
    assert_eq!(built.release(&["--no-cache"]), (first.clone(), None));
    built.build(&[]).says("4 data files not read again");
    assert!(!built.build(&["-q"]).stderr.contains("read again"));

    overwrite(&built.scene.data("a"), b"FIRST");
    let (second, cached) = built.release(&[]);
    assert_ne!(first, second);
    assert_eq!(cached, Some(3));
    assert_eq!(built.release(&["--no-cache"]).0, second);

    // A home that cannot hold a cache costs a warning and a read.
    let cache = built.project.home().join(".cache/modelseal");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("sets the mode");
    built
        .build(&[])
        .says("reading all data, because the cache cannot be used")
        .says("other users can access it");
    let without = built.build(&["--no-cache", "--format", "json"]);
    assert!(!without.stderr.contains("cache"), "{}", without.all());
}

/// A page that was written through a mapping, but not yet to disk, can be changed again without a new time.
#[test]
#[ignore = "needs faketime"]
fn build_with_a_cache_detects_a_write_through_a_memory_mapping() {
    let built = Built::new();
    let script = "import mmap, sys\n\
                  file = open(sys.argv[1], 'r+b')\n\
                  content = mmap.mmap(file.fileno(), 0)\n\
                  for line in sys.stdin:\n    content[0] = ord(line[0])\n    print('written', flush=True)\n";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(built.scene.data("a")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut writer = command.spawn().expect("starts");
    let (mut input, output) =
        (writer.stdin.take().expect("is piped"), writer.stdout.take().expect("is piped"));
    let mut output = BufReader::new(output);
    let mut write = |text: &str| {
        input.write_all(text.as_bytes()).expect("writes");
        output.read_line(&mut String::new()).expect("answers");
    };
    write("1\n");
    let (first, _) = built.release(&[]);
    write("2\n");
    let (second, cached) = built.release(&[]);
    assert_ne!(first, second);
    assert_eq!(cached, Some(3));
    assert_eq!(built.release(&["--no-cache"]).0, second);
    drop(input);
    assert!(writer.wait().expect("ends").success());
}

/// A holder of the secret can forge the cache for this user's builds, and for nothing else.
#[test]
#[ignore = "needs faketime"]
fn verify_and_reproduce_ignore_a_forged_cache() {
    let built = Built::new();
    let (truth, _) = built.release(&[]);
    let home = built.project.home();
    let (directory, secret) = (home.join(".cache/modelseal"), home.join(".config/modelseal/cache.key"));
    let now = SystemTime::now() + SETTLED;
    let cache = Cache::open(&directory, &secret, now).expect("opens");
    let data_set = || cache.data_set(&built.scene.data(""), 4).expect("can be remembered");
    let stamp = Stamp::of(&fs::metadata(built.scene.data("a")).expect("is there"));
    assert!(data_set().find("a", &stamp).is_some(), "the build has not used this cache");
    let mut data_set = data_set();
    assert!(data_set.find("another", &stamp).is_none());
    data_set.prepare_to_remember();
    data_set.remember("a", &stamp, &Digest::sha256(b"a lie"));
    data_set.write();
    let (release, cached) = built.release(&[]);
    assert_ne!(release, truth);
    assert_eq!(cached, Some(1));

    let archive = built.project.at("dist/wine-1.0.0.tar").to_string_lossy().into_owned();
    let public = built.project.public_key();
    let verified = built.run(&["verify", &archive, "--key", &public, "--against", "."]);
    assert_eq!(verified.code, Some(1), "{}", verified.all());
    verified.says("lineage.data.train");
    let reproduced = built.run(&["reproduce", &archive, "--key", &public, "--source", "."]);
    assert_ne!(reproduced.code, Some(0), "{}", reproduced.all());
    assert_eq!(built.release(&["--no-cache"]).0, truth);
}
