//! Rebuilding a release from its manifest.

use std::fs;
use std::path::{Path, PathBuf};

use crate::isolation::programs_without_bubblewrap;
use crate::running::{MAKE, project, project_with};
use crate::support::project::{Project, git_in};
use crate::support::run::Outcome;

/// Reproduces with the fixed key.
fn reproduce(project: &Project, archive: &Path, arguments: &[&str], code: i32) -> Outcome {
    let (key, archive) = (project.public_key(), archive.to_string_lossy());
    let all = [&["reproduce", &archive, "--key", &key], arguments].concat();
    let outcome = project.modelseal(&all).expect(code);
    if code != 0 {
        outcome.claims_no_success();
    }
    outcome
}

fn archive(project: &Project) -> PathBuf {
    project.build()
}

#[test]
fn reproduce_reaches_r0_with_a_deterministic_command() {
    let project = project(MAKE);
    let archive = archive(&project);
    let outcome = reproduce(&project, &archive, &[], 0);
    outcome
        .says("running `sh make.sh`")
        .says("demanded  R0, the same bytes")
        .says("R0         `weights.safetensors`");
    outcome.says("pass: rebuilt as R0, the same bytes (demanded R0)\n");
    assert!(project.at("model/weights.safetensors").is_file());
    let json = reproduce(&project, &archive, &["--format", "json"], 0).json();
    assert_eq!((&json["verdict"], &json["reached"]), (&"pass".into(), &"R0".into()));
    // An unpacked directory works too.
    let unpacked = project.unpack(&archive);
    reproduce(&project, &unpacked, &[], 0);
}

/// Another clone, another path, another home.
#[test]
fn reproduce_accepts_another_clone_as_source_and_rejects_unsafe_addresses() {
    let project = project(MAKE);
    let archive = archive(&project);
    let elsewhere = project.root().join("elsewhere");
    git_in(
        project.root(),
        &project.home(),
        &["clone", "-q", &project.at("").to_string_lossy(), &elsewhere.to_string_lossy()],
    );
    let other = Project::empty();
    let (key, target) = (project.public_key(), archive.to_string_lossy().into_owned());
    let arguments = ["reproduce", &target, "--key", &key];
    other
        .modelseal(&arguments)
        .expect(3)
        .says("a clone that contains the commit")
        .says("hint: use `--source` to name a clone of the repository");
    let source = elsewhere.to_string_lossy().into_owned();
    other.modelseal(&[&arguments[..], &["--source", &source]].concat()).expect(0).says("pass: rebuilt as R0");
    let bare = project.root().join("bare.git").to_string_lossy().into_owned();
    git_in(project.root(), &project.home(), &["clone", "-q", "--bare", &source, &bare]);
    other.modelseal(&[&arguments[..], &["--source", &bare]].concat()).expect(0).says("pass: rebuilt as R0");
    let absent = project.root().join("absent").to_string_lossy().into_owned();
    other.modelseal(&[&arguments[..], &["--source", &absent]].concat()).expect(2);
    for address in ["ext::sh -c evil", "git://127.0.0.1:9/x", "http://127.0.0.1:9/x"] {
        let outcome = other.modelseal(&[&arguments[..], &["--source", address]].concat()).run();
        assert!(outcome.code != Some(0), "{address}");
        outcome.claims_no_success();
    }
    let outcome =
        other.modelseal(&[&arguments[..], &["--source", "https://127.0.0.1:9/x"]].concat()).expect(3);
    outcome.says("cannot clone the repository");
}

#[test]
fn reproduce_is_inconclusive_if_data_is_missing_or_differs() {
    let script = "mkdir -p model && cat ../data.csv > model/weights.safetensors\n";
    let project = project(script);
    project.append_recipe("[[data]]\nname = \"far\"\npath = \"../data.csv\"\n");
    project.commit();
    let data = project.root().join("data.csv");
    fs::write(&data, "1\n").expect("writes");
    let archive = archive(&project);
    reproduce(&project, &archive, &[], 0);
    let moved = project.out("moved.csv");
    fs::rename(&data, &moved).expect("moves");
    let outcome = reproduce(&project, &archive, &[], 3);
    outcome.says("inconclusive: data `far` is missing").says("`--data NAME=PATH`");
    reproduce(&project, &archive, &["--data", &format!("far={}", moved.display())], 0);
    fs::write(&moved, "2\n").expect("writes");
    let outcome = reproduce(&project, &archive, &["--data", &format!("far={}", moved.display())], 3);
    outcome.says("differs from the sealed version");
}

#[test]
fn reproduce_is_inconclusive_for_an_adopted_artifact_or_uncommitted_code() {
    let project = project(MAKE);
    let adopted = project.build_with(&["--adopt"]);
    reproduce(&project, &adopted, &[], 3).says("inconclusive: the artifact was adopted");
    project.write("make.sh", format!("{MAKE}# edited\n"));
    let dirty = project.build_with(&["--allow-dirty", "-o", "dist/dirty.tar"]);
    let outcome = reproduce(&project, &dirty, &[], 3);
    outcome.says("the work tree differed from the commit: `make.sh`");
}

#[test]
#[ignore = "needs bubblewrap"]
fn reproduce_runs_no_command_of_a_release_that_verify_rejects() {
    let project = project(MAKE);
    let ran = project.root().join("notes/ran");
    fs::create_dir(project.root().join("notes")).expect("creates");
    project.write("make.sh", format!("{MAKE}echo ran > '{}' || true\n", ran.display()));
    project.commit();
    let archive = archive(&project);
    let (_, other) = project.other_key("other");
    let target = archive.to_string_lossy().into_owned();
    let notes = project.root().join("notes").to_string_lossy().into_owned();
    let reproducing = |arguments: &[&str], code| {
        let always = ["reproduce", &target, "--allow-write", &notes];
        project.modelseal(&[&always, arguments].concat()).expect(code)
    };
    let outcome = reproducing(&["--key", &other], 1);
    outcome.says("none of the trusted keys signed this").claims_no_success();
    reproducing(&[], 2).says("no trusted signer was named");
    let mut bytes = fs::read(&archive).expect("reads");
    let place = bytes.len() - 1600;
    bytes[place] ^= 1;
    fs::write(&archive, &bytes).expect("writes");
    let public = project.public_key();
    reproducing(&["--key", &public], 1);
    assert!(!ran.exists(), "nothing was run");
    bytes[place] ^= 1;
    fs::write(&archive, bytes).expect("writes");
    reproducing(&["--key", &public], 0);
    assert!(ran.is_file(), "it would have been seen");
}

/// A manifest that misstates its commit is a breach, not a reproducibility bug.
#[test]
fn reproduce_fails_if_an_input_in_the_commit_differs_from_the_seal() {
    let project = project(MAKE);
    let archive = archive(&project);
    let bytes = fs::read(&archive).expect("reads");
    let entries = crate::support::archive::split(&bytes);
    let payload = String::from_utf8(crate::support::archive::payload(&entries[0].content)).expect("is text");
    let marker = "\"name\":\"params/params.toml\",\"digest\":{\"sha256\":\"";
    let place = payload.find(marker).expect("is there") + marker.len();
    let mut lie = payload.clone();
    lie.replace_range(place..place + 8, "00000000");
    // The signature is valid. Everything is right except the statement about one input.
    let mut forged = crate::support::archive::split(&crate::support::archive::reseal(&bytes, lie.as_bytes()));
    let release = modelseal_format::digest::Digest::sha256(lie.as_bytes());
    let old = modelseal_format::digest::Digest::sha256(payload.as_bytes());
    let signature = String::from_utf8(crate::support::archive::payload(&forged[1].content)).expect("is text");
    let signature = signature.replace(&old.to_string(), &release.to_string());
    let key = crate::support::archive::private_key();
    let signed = crate::support::archive::bundle(signature.as_bytes(), &key.into());
    crate::support::archive::set_content(&mut forged[1], signed);
    fs::write(&archive, crate::support::archive::join(&forged)).expect("writes");
    let outcome = reproduce(&project, &archive, &[], 1);
    outcome
        .says("fail: the provenance is not true: `params/params.toml` in the commit differs from the seal");
    assert!(!outcome.all().contains("the bytes differ"));
}

#[test]
fn reproduce_fails_and_explains_bytes_that_differ() {
    let project = project(&format!("{MAKE}date +%s%N > model/when.txt\n"));
    let archive = archive(&project);
    let outcome = reproduce(&project, &archive, &["--vary", "nothing"], 1);
    outcome.says("different  `when.txt`").says("line 1: `").says("nothing    differs");
    outcome.says("fail: the rebuilt model is different: the provenance is true, the bytes differ");
    let json = reproduce(&project, &archive, &["--format", "json"], 1).json();
    assert_eq!(json["verdict"], "fail");
    assert_eq!(json.get("reached"), None);
}

#[test]
fn reproduce_reports_missing_files_extra_files_and_changed_modes() {
    let script = "mkdir -p model && echo same > model/same\nif [ -e /tmp/never ]; then :; fi\ncase \"$HOME\" in */place/home) echo x > model/new; touch model/mode ;; *) echo x > model/gone; touch model/mode; chmod +x model/mode ;; esac\n";
    let project = project(script);
    let archive = archive(&project);
    let outcome = reproduce(&project, &archive, &[], 1);
    outcome
        .says("different  `gone`\n           missing in the rebuild")
        .says("different  `new`\n           only in the rebuild");
    outcome.says("different  `mode`\n           its executable mode differs").says("R0         `same`");
}

#[test]
fn reproduce_takes_the_demanded_level_from_the_recipe_or_the_option() {
    let script = "mkdir -p model; case \"$HOME\" in */place/home) echo '{\"b\":1,\"a\":0.30000000001}' ;; *) echo '{\"a\":0.3,\"b\":1}' ;; esac > model/c.json\n";
    let project = project(script);
    project.append_recipe("[reproduce]\nlevel = \"R2\"\natol = 1e-6\n");
    project.commit();
    let archive = archive(&project);
    let outcome = reproduce(&project, &archive, &[], 0);
    outcome.says("R2         `c.json`\n           at `a`: 0.3 / 0.30000000001");
    outcome.says("pass: rebuilt as R2, the same numbers within the tolerance (demanded R2)");
    let outcome = reproduce(&project, &archive, &["--level", "R0"], 1);
    outcome.says("fail: rebuilt only as R2").says("the provenance is true, the bytes differ");
}

#[test]
fn reproduce_is_inconclusive_if_the_command_fails() {
    for (script, said) in [
        ("case \"$HOME\" in */place/home) exit 4 ;; esac\n", "failed: exit code 4"),
        (
            "case \"$HOME\" in */place/home) rm -r model; exit 0 ;; esac\n",
            "the command did not make the artifact",
        ),
        ("case \"$HOME\" in */place/home) sleep 4219 & ;; esac\n", "left processes running"),
        ("case \"$HOME\" in */place/home) echo >> params.toml ;; esac\n", "the command changed"),
        ("case \"$HOME\" in */place/home) sleep 100 ;; esac\n", "did not end within 2 seconds"),
    ] {
        let project = project_with(&format!("{MAKE}{script}"), "timeout = \"2s\"\n");
        let archive = archive(&project);
        reproduce(&project, &archive, &[], 3).says("inconclusive: ").says(said);
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn reproduce_is_inconclusive_if_required_isolation_is_unavailable() {
    let project = project_with(MAKE, "network = false\n");
    let archive = archive(&project);
    let (key, target) = (project.public_key(), archive.to_string_lossy().into_owned());
    let arguments = ["reproduce", &target, "--key", &key];
    let path = programs_without_bubblewrap(&project);
    project.modelseal(&arguments).env("PATH", &path).expect(3).says("must be isolated");
    let without = [&arguments[..], &["--insecure-no-isolation"]].concat();
    project.modelseal(&without).env("PATH", &path).expect(0);
    reproduce(&project, &archive, &[], 0);
}

/// Each variation changes what the command sees, and nothing else changes it.
#[test]
fn reproduce_attributes_each_difference_to_its_variation() {
    let see = "import json, os, sys, time, random, pathlib\n\
               here = pathlib.Path('.')\n\
               os.makedirs('model')\n\
               path = here / 'model' / 'probe'\n\
               path.write_text('')\n\
               seen = {\n\
                 'path': os.getcwd(),\n\
                 'home': os.environ['HOME'],\n\
                 'user': str(os.getuid()),\n\
                 'umask': oct(path.stat().st_mode),\n\
                 'timezone': time.strftime('%H', time.localtime(0)),\n\
                 'locale': os.environ.get('LC_ALL', 'none'),\n\
                 'fileorder': [n for n in os.listdir('listed')],\n\
                 'cpus': len(os.sched_getaffinity(0)),\n\
                 'hashseed': hash('x'),\n\
                 'threads': os.environ.get('OMP_NUM_THREADS', 'none'),\n\
                 'time': time.strftime('%Y-%m', time.gmtime()),\n\
                 'seed': open('params.toml').read(),\n\
               }\n\
               path.unlink()\n\
               for name, value in seen.items():\n\
               \x20   (here / 'model' / f'{name}.json').write_text(json.dumps(value))\n";
    let project = project("");
    project.edit_recipe("[\"sh\", \"make.sh\"]", "[\"python3\", \"see.py\"]");
    project.write("see.py", see);
    for name in ["a", "b", "c", "d", "e"] {
        project.write(&format!("listed/{name}"), name);
    }
    project.commit();
    let archive = archive(&project);
    let json = reproduce(&project, &archive, &["--vary", "all", "--format", "json"], 1).json();
    let varied = json["varied"].as_array().expect("a list");
    assert_eq!(varied.len(), 13);
    for row in varied {
        let (name, status) =
            (row["varied"].as_str().expect("a name"), row["status"].as_str().expect("a status"));
        match name {
            "nothing" => assert_eq!(status, "same"),
            // A variation that is not possible here is skipped with a reason.
            "fileorder" | "time" | "cpus" | "user" if status == "skipped" => {
                assert!(!row["reason"].as_str().expect("a reason").is_empty());
            }
            _ => {
                assert_eq!(status, "differs", "{row}");
                let file = row["path"].as_str().expect("a path");
                // Another path also means another home. The first differing file in byte order is named.
                let expected = if name == "path" { "home.json".to_string() } else { format!("{name}.json") };
                assert_eq!(file, expected, "{row}");
                assert!(row["cure"].as_str().is_some_and(|cure| !cure.is_empty()));
            }
        }
    }
}

#[test]
fn reproduce_is_inconclusive_if_another_seed_gives_the_same_model() {
    let project = project("mkdir -p model; echo constant > model/weights.safetensors\n");
    let archive = archive(&project);
    let outcome = reproduce(&project, &archive, &["--vary", "seed"], 3);
    outcome
        .says("another seed gives the same model: is the seed used?")
        .says("inconclusive: another seed gives the same model");
    project.write("params.toml", "learning_rate = 0.1\n");
    project.commit();
    let archive = project.build_with(&["--force"]);
    reproduce(&project, &archive, &["--vary", "seed"], 0)
        .says("seed       skipped  no hyperparameter is named `seed`");
    project.modelseal(&["reproduce", "x", "--vary", "moon"]).expect(2).says("expected all, nothing, path");
}

#[test]
fn reproduce_compares_the_output_of_environment_commands() {
    let project = project(MAKE);
    project
        .append_recipe("[environment]\ncommands = [[\"sh\", \"-c\", \"echo $HOME\"], [\"echo\", \"1.0\"]]\n");
    project.commit();
    let archive = archive(&project);
    let outcome = reproduce(&project, &archive, &[], 0);
    outcome.says("differs   `sh -c echo $HOME`: sealed `/").says("same      `echo 1.0`: `1.0`");
}

#[test]
fn reproduce_compares_bytes_after_the_end_of_a_known_format() {
    for (name, write) in [
        ("m.pkl", "import pickle\nf.write(pickle.dumps(1) + noise)"),
        ("w.safetensors", "import struct\nf.write(struct.pack('<Q', 2) + b'{}' + noise)"),
        ("c.bin.gz", "import gzip\nf.write(gzip.compress(bytes(8), mtime=0) + noise)"),
        (
            "w.safetensors",
            "import json, struct\nh = json.dumps({'w': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 64]}}).encode()\nf.write(struct.pack('<Q', len(h)) + h + noise)",
        ),
    ] {
        let project = project("");
        project.edit_recipe("[\"sh\", \"make.sh\"]", "[\"python3\", \"make.py\"]");
        project.write("make.py", format!("import os\nnoise = os.urandom(64)\nos.makedirs('model')\nf = open('model/{name}', 'wb')\n{write}\n"));
        project.commit();
        let outcome = reproduce(&project, &archive(&project), &[], 1);
        outcome.says(&format!("different  `{name}`\n           from byte "));
    }
}

#[test]
fn reproduce_reports_malformed_and_huge_files_as_different() {
    let files = [
        ("deep.pkl", "b'\\x80\\x04)' + b'\\x85' * 500000 + tail"),
        ("marks.pkl", "b'\\x80\\x04' + b'(' * 500000 + tail"),
        ("huge.pkl", "b'\\x80\\x04\\x8e' + b'\\xff' * 8 + tail"),
        ("deep.json", "b'[' * 500000 + tail"),
        ("huge.safetensors", "b'\\xff' * 8 + tail"),
        ("odd.npy", "b'\\x93NUMPY\\x01\\x00\\xff\\xff' + tail"),
        ("cut.zip", "b'PK\\x03\\x04' + tail"),
        ("bomb.gz", "__import__('gzip').compress(b'0' * 200000000 + tail, 1, mtime=0)"),
        ("cut.gz", "b'\\x1f\\x8b\\x08' + tail"),
    ];
    let mut script = String::from("import os\ntail = os.urandom(32)\nos.makedirs('model')\n");
    for (name, bytes) in files {
        script += &format!("open('model/{name}', 'wb').write({bytes})\n");
    }
    let project = project("");
    project.edit_recipe("[\"sh\", \"make.sh\"]", "[\"python3\", \"make.py\"]");
    project.write("make.py", script);
    project.commit();
    let outcome = reproduce(&project, &archive(&project), &[], 1);
    for (name, _) in files {
        outcome.says(&format!("different  `{name}`"));
    }
}

#[test]
fn reproduce_follows_links_if_the_build_followed_them() {
    let script = "mkdir -p store model; echo w > store/w; ln -s ../store/w model/w\n";
    let project = project(script);
    project.edit_recipe("path = \"model\"", "path = \"model\"\nsymlinks = \"follow\"");
    project.write(".gitignore", "store\nmodel\ndist\n");
    project.commit();
    let archive = archive(&project);
    reproduce(&project, &archive, &[], 0).says("R0         `w`");
}

#[test]
fn reproduce_is_inconclusive_if_the_rebuild_contains_a_fifo() {
    let project = project(&format!("{MAKE}case \"$HOME\" in */place/home) mkfifo model/pipe ;; esac\n"));
    reproduce(&project, &archive(&project), &[], 3).says("is a FIFO");
}

#[test]
fn reproduce_runs_a_repeated_variation_once_and_rejects_unknown_data() {
    let project = project(MAKE);
    let archive = archive(&project);
    let json = reproduce(&project, &archive, &["--vary", "path,path,nothing", "--format", "json"], 0).json();
    assert_eq!(json["varied"].as_array().map(Vec::len), Some(2));
    project
        .modelseal(&[
            "reproduce",
            &archive.to_string_lossy(),
            "--key",
            &project.public_key(),
            "--data",
            "moon=x",
        ])
        .expect(2)
        .says("the recipe has no data source `moon`");
}

#[test]
fn reproduce_accepts_absolute_data_only_at_the_path_of_the_recipe() {
    let project = project("");
    let data = project.root().join("absolute.csv");
    fs::write(&data, "1\n").expect("writes");
    project.write("make.sh", format!("mkdir -p model && cat '{}' > model/w\n", data.display()));
    project.append_recipe(&format!("[[data]]\nname = \"far\"\npath = \"{}\"\n", data.display()));
    project.commit();
    let archive = archive(&project);
    reproduce(&project, &archive, &[], 0);
    let other = project.out("other.csv");
    fs::copy(&data, &other).expect("copies");
    let elsewhere = format!("far={}", other.display());
    reproduce(&project, &archive, &["--data", &elsewhere], 3).says("the recipe names an absolute path");
    fs::write(&data, "2\n").expect("writes");
    reproduce(&project, &archive, &[], 3).says("differs from the sealed version");
    fs::remove_file(&data).expect("removes");
    reproduce(&project, &archive, &[], 3).says("inconclusive: data `far` is missing");
}
