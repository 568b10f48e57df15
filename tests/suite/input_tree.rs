//! The contents of the artifact's directory: links, special files, names, and changes during reading.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Outcome, Project};

fn project() -> Project {
    Project::with_artifact(&[("a", b"a")])
}

#[test]
fn build_refuses_symbolic_links_by_default_and_follows_them_on_request() {
    for target in ["a", "/etc/hostname", "nowhere", "loop", "."] {
        let project = project();
        symlink(target, project.at("model/loop")).expect("links");
        project.build_refused(&[], 1).says("`").says("is a symbolic link").says("symlinks = \"follow\"");
    }
    let project = project();
    fs::create_dir(project.at("blobs")).expect("creates");
    project.write("blobs/1234", "content");
    symlink("../blobs/1234", project.at("model/weights.bin")).expect("links");
    project.edit_recipe("path = \"model\"", "path = \"model\"\nsymlinks = \"follow\"");
    let archive = project.build();
    let directory = project.unpack(&archive);
    let unpacked = directory.join("weights.bin");
    assert!(fs::symlink_metadata(&unpacked).expect("is there").is_file());
    assert_eq!(fs::read(unpacked).expect("reads"), b"content");
}

#[test]
fn build_that_follows_links_reports_broken_and_circular_links() {
    for (target, expected) in [
        ("nowhere", "is a broken symbolic link"),
        (".", "a directory that contains it"),
        ("loop", "model/loop"),
    ] {
        let project = project();
        project.edit_recipe("path = \"model\"", "path = \"model\"\nsymlinks = \"follow\"");
        symlink(target, project.at("model/loop")).expect("links");
        let outcome = project.modelseal(&["build"]).run();
        assert!(matches!(outcome.code, Some(1 | 2)), "{}", outcome.all());
        outcome.says(expected).claims_no_success();
    }
}

#[test]
fn build_reports_a_fifo_or_a_socket_in_the_artifact_without_hanging() {
    let fifo = project();
    rustix::fs::mkfifoat(rustix::fs::CWD, fifo.at("model/x"), rustix::fs::Mode::RWXU).expect("makes");
    fifo.build_refused(&[], 1).says("model/x` is a FIFO");
    let socket = project();
    let _listener = std::os::unix::net::UnixListener::bind(socket.at("model/x")).expect("binds");
    socket.build_refused(&[], 1).says("model/x` is a socket");
}

#[test]
fn build_refuses_unportable_file_names_and_prints_them_escaped() {
    for (name, expected) in [
        (&b"caf\xe9"[..], "is not valid UTF-8"),
        (b"a\nb", "`model/a\\u{a}b` cannot be sealed: it contains a control character"),
        (b"a\x1b[2J", "`model/a\\u{1b}[2J`"),
        (b"a\\b", "contains a backslash"),
        (b"C:x", "begins with a drive letter"),
        (b"model.sig", "is reserved for modelseal or git"),
        (b"MODEL.sig", "is reserved for modelseal or git"),
        (b"A", "differs from `A` only by case"),
    ] {
        let project = project();
        fs::write(project.at("model").join(OsStr::from_bytes(name)), "x").expect("writes");
        let outcome = project.build_refused(&[], 1);
        outcome.says(expected);
        assert!(!outcome.stderr.contains('\u{1b}'));
    }
    let project = project();
    project.write("model/é", "composed");
    project.write("model/e\u{301}", "decomposed");
    project.build_refused(&[], 1).says("only by case or by Unicode normalisation");
}

#[test]
fn build_seals_unusual_but_harmless_file_names() {
    let longest = "x".repeat(255);
    let project = Project::with_artifact(&[
        ("-rf", b"1"),
        ("a b", b"2"),
        (&longest, b"3"),
        ("größe/模型", b"4"),
        ("a\u{202e}b", b"5"),
        ("$(touch x)", b"6"),
        ("'quoted'", b"7"),
        ("sub/.git/HEAD", b"8"),
        ("%0A::error::x", b"9"),
    ]);
    let archive = project.build();
    let directory = project.unpack(&archive);
    assert_eq!(project.verify(&directory, &["--hash", "all"]).code, Some(0));
    let show = project.modelseal(&["show", &archive.to_string_lossy()]).expect(0);
    show.says("`a\\u{202e}b`");
}

#[test]
fn build_refuses_an_existing_signature_or_seal_until_it_is_excluded() {
    for name in ["model.sig", ".modelseal/manifest.sigstore.json"] {
        let project = project();
        project.write(&format!("model/{name}"), "{}");
        project.build_refused(&[], 1).says("add it to `exclude` under `[artifact]`");
        project
            .edit_recipe("path = \"model\"", "path = \"model\"\nexclude = [\"model.sig\", \".modelseal/\"]");
        let archive = project.build();
        assert_eq!(project.verify(&archive, &[]).code, Some(0));
    }
}

#[test]
fn build_leaves_out_the_files_of_git_and_seals_the_exclusions() {
    let project = project();
    for name in [".gitattributes", ".gitignore", ".git/config", ".github/workflows/x.yml", "sub/.gitignore"] {
        project.write(&format!("model/{name}"), "x");
    }
    let key = project.key();
    project
        .modelseal(&["build", "--key", &key])
        .expect(0)
        .says("left out of the artifact: `.git`, `.gitattributes`, `.github`, `.gitignore`");
    let archive = project.at("dist/m-1.tar");
    let show = project.modelseal(&["show", &archive.to_string_lossy(), "--format", "json"]).expect(0).json();
    let excluded = &show["statement"]["predicate"]["buildDefinition"]["internalParameters"]["excluded"];
    assert_eq!(*excluded, serde_json::json!([".git", ".gitattributes", ".github", ".gitignore"]));
    let names: Vec<&str> = show["statement"]["subject"]
        .as_array()
        .expect("subjects")
        .iter()
        .filter_map(|file| file["name"].as_str())
        .collect();
    assert_eq!(names, ["m", "a", "sub/.gitignore"]);
}

#[test]
fn artifact_exclude_uses_gitignore_globs_and_rejects_invalid_ones() {
    let project = Project::with_artifact(&[
        ("keep.bin", b""),
        ("x.tmp", b""),
        ("sub/y.tmp", b""),
        ("logs/z", b""),
        ("sub/logs/z", b""),
        ("important.tmp", b""),
    ]);
    project.edit_recipe(
        "path = \"model\"",
        "path = \"model\"\nexclude = [\"*.tmp\", \"/logs/\", \"!important.tmp\"]",
    );
    let directory = project.unpack(&project.build());
    let mut names: Vec<String> = walkdir::WalkDir::new(&directory)
        .into_iter()
        .map(|entry| entry.expect("walks").into_path())
        .filter(|path| path.is_file())
        .map(|path| path.strip_prefix(&directory).expect("is below").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [".modelseal/manifest.sigstore.json", "important.tmp", "keep.bin", "model.sig", "sub/logs/z"]
    );
    let mut last = "*.tmp";
    for glob in ["a{b", "[a-", "a["] {
        project.edit_recipe(&format!("{last:?}"), &format!("{glob:?}"));
        project.modelseal(&["build"]).expect(2).says("this is not a valid glob").says("modelseal.toml:6:");
        last = glob;
    }
}

#[test]
fn build_refuses_an_empty_artifact_and_leaves_out_empty_directories() {
    let empty = Project::with_artifact(&[]);
    empty.build_refused(&[], 1).says("contains no files");
    let project = Project::with_artifact(&[("empty", b"")]);
    fs::create_dir_all(project.at("model/nothing/here")).expect("creates");
    let key = project.key();
    project
        .modelseal(&["build", "--key", &key])
        .expect(0)
        .says("empty directories are left out: `nothing/here`");
    let directory = project.unpack(&project.at("dist/m-1.tar"));
    assert_eq!(fs::read(directory.join("empty")).expect("reads"), b"");
    assert!(!directory.join("nothing").exists());
}

#[test]
fn build_seals_a_single_file_as_a_directory_with_one_file() {
    let project = project();
    project.edit_recipe("path = \"model\"", "path = \"model/a\"");
    let directory = project.unpack(&project.build());
    assert_eq!(fs::read(directory.join("a")).expect("reads"), b"a");
    assert_eq!(project.verify(&directory, &[]).code, Some(0));
}

#[test]
fn build_leaves_its_own_output_inside_the_artifact_out_of_the_archive() {
    let project = project();
    let output = project.at("model/result.tar").to_string_lossy().into_owned();
    let first = fs::read(project.build_with(&["-o", &output])).expect("reads");
    let second = fs::read(project.build_with(&["-o", &output])).expect("reads");
    assert!(first == second);
    // This also applies if the artifact is the project itself.
    let whole = Project::with_artifact(&[("a", b"a")]);
    whole.edit_recipe("path = \"model\"", "path = \".\"");
    let first = fs::read(whole.build()).expect("reads");
    let second = fs::read(whole.build()).expect("reads");
    assert!(first == second);
}

#[test]
fn build_refuses_lfs_pointers_and_error_pages_in_place_of_weights() {
    let lfs = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 9\n", "0".repeat(64));
    for (name, content, expected) in [
        ("w.safetensors", lfs.as_str(), "is a Git LFS pointer"),
        ("w.onnx", "<!DOCTYPE html><html>not found</html>", "an HTML or XML page"),
        ("w.pt", "/annex/objects/SHA256E-s1--x", "git-annex pointer"),
    ] {
        let project = Project::with_artifact(&[(name, content.as_bytes())]);
        project.build_refused(&[], 1).says(name).says(expected).says("hint: ");
    }
    let card = Project::with_artifact(&[("card.html", b"<!DOCTYPE html><html></html>")]);
    card.build();
}

#[test]
fn recipe_rejects_paths_outside_the_work_tree_and_shows_the_line() {
    for (from, to) in [
        ("path = \"model\"", "path = \"../out\""),
        ("path = \"model\"", "path = \"/etc\""),
        ("path = \"model\"", "path = \"link\""),
        ("values = { a = 1 }", "files = [\"../p.toml\"]"),
        ("values = { a = 1 }", "files = [\"sub/../../p.toml\"]"),
        ("path = \"model\"", "path = \"link/../home\""),
        ("path = \"model\"", "path = \"model/..\""),
    ] {
        let project = project();
        symlink(project.home(), project.at("link")).expect("links");
        project.edit_recipe(from, to);
        let outcome = project.modelseal(&["build"]).expect(2);
        outcome.says("--> modelseal.toml:").says("^^^").claims_no_success();
        let goes_back = to.contains("/..") && !to.contains("\"..");
        outcome.says(if goes_back { "`..` is allowed only at the start of a path" } else { "work tree" });
    }
}

#[test]
fn build_exits_2_and_names_an_unreadable_file() {
    let project = project();
    fs::set_permissions(project.at("model/a"), fs::Permissions::from_mode(0o000)).expect("sets");
    let key = project.key();
    let mut command = project.modelseal(&["build", "--key", &key]).into_command();
    if rustix::process::geteuid().is_root() {
        // Root may read everything, so run as another user.
        let owned =
            std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(project.root()).status();
        assert!(owned.expect("chown runs").success());
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        std::os::unix::process::CommandExt::gid(&mut command, 65534);
    }
    let outcome = crate::support::run::finish(command, Vec::new());
    assert_eq!(outcome.code, Some(2), "{}", outcome.all());
    outcome.says("cannot read `model/a`").says("Permission denied").claims_no_success();
}

/// A file that is written to during the build. Either the build names it, or the archive contains one complete state of
/// it and verifies.
#[test]
fn build_reports_a_file_that_changes_while_it_is_read() {
    let project = project();
    let path = project.at("model/hot.bin");
    fs::write(&path, vec![0u8; 8 << 20]).expect("writes");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, path) = (stop.clone(), path.clone());
        move || {
            let mut value = 0u8;
            while !stop.load(Ordering::Relaxed) {
                value = value.wrapping_add(1);
                let _ = fs::write(&path, vec![value; 8 << 20]);
            }
        }
    });
    let key = project.key();
    let build = || {
        let outcome = project.modelseal(&["build", "--key", &key, "--force"]).run();
        if outcome.code == Some(0) {
            return project.verify(&project.at("dist/m-1.tar"), &["--hash", "all"]);
        }
        outcome
    };
    // A busy machine needs more attempts until a write and a read overlap.
    let mut outcomes: Vec<Outcome> = Vec::new();
    while outcomes.len() < 8
        || (outcomes.len() < 200 && outcomes.iter().all(|outcome| outcome.code == Some(0)))
    {
        outcomes.push(build());
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("writes");
    let mut refused = 0;
    for outcome in outcomes {
        if outcome.code != Some(0) {
            assert_eq!(outcome.code, Some(1), "{}", outcome.all());
            outcome.says("`model/hot.bin` changed while it was being read").claims_no_success();
            refused += 1;
        }
    }
    assert!(refused > 0, "the race was never lost");
}
