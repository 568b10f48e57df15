use std::os::unix::fs::symlink;

use super::*;

fn toolchain(home: &Path) -> Toolchain {
    Toolchain { homes: vec![home.to_path_buf()], ..Toolchain::default() }
}

fn make(home: &Path, files: &[&str]) {
    for file in files {
        let path = home.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
        fs::write(path, "").expect("writes");
    }
}

fn is_shown(toolchain: &Toolchain, path: &Path) -> bool {
    toolchain.places.iter().any(|place| path.starts_with(place))
}

#[test]
fn toolchain_shows_programs_in_a_home_without_the_files_beside_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().canonicalize().expect("resolves");
    let secrets = [
        ".local/share/keyrings/login.keyring",
        ".local/state/history",
        ".cargo/credentials.toml",
        ".docker/config.json",
        "work/keys/ci.key",
        "secret",
    ];
    let shown = [
        ".local/bin/tool",
        ".local/lib/tool/library",
        ".cargo/bin/cargo",
        ".docker/bin/docker",
        "work/bin/run",
        "bin/mine",
        "spark-4/jars/spark.jar",
        "node/lib/node_modules/x",
    ];
    make(&home, &secrets);
    make(&home, &shown);
    make(&home, &["spark-4/bin/spark", "node/bin/node"]);
    let mut toolchain = toolchain(&home);
    for path in [".local/bin", ".cargo/bin", ".docker/bin", "work/bin", "bin", "spark-4/bin", "node/bin"] {
        toolchain.add_programs(&home.join(path), false);
    }
    for path in shown {
        assert!(is_shown(&toolchain, &home.join(path)), "{path} is not shown");
    }
    for path in secrets {
        assert!(!is_shown(&toolchain, &home.join(path)), "{path} is shown");
    }
}

#[test]
fn toolchain_shows_the_interpreter_and_libraries_of_an_environment() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().canonicalize().expect("resolves");
    let python = ".local/share/uv/python/cpython-3.13.1/";
    make(&home, &[&format!("{python}bin/python3.13"), &format!("{python}lib/python3.13/os.py")]);
    make(&home, &["venv/bin/activate", "library/src/package.py", ".local/share/other"]);
    symlink("cpython-3.13.1", home.join(".local/share/uv/python/cpython-3.13")).expect("links");
    let base = home.join(".local/share/uv/python/cpython-3.13/bin");
    symlink(base.join("python3.13"), home.join("venv/bin/python")).expect("links");
    fs::write(home.join("venv/pyvenv.cfg"), format!("home = {}\nuv = 0.9\n", base.display()))
        .expect("writes");
    make(&home, &["venv/lib/python3.13/site-packages/x.pth"]);
    let editable = format!("import x\n{}\n", home.join("library/src").display());
    fs::write(home.join("venv/lib/python3.13/site-packages/x.pth"), editable).expect("writes");
    let mut toolchain = toolchain(&home);
    toolchain.add_environment(&home.join("venv"));
    for path in ["venv/pyvenv.cfg", "library/src/package.py", &format!("{python}lib/python3.13/os.py")] {
        assert!(is_shown(&toolchain, &home.join(path)), "{path} is not shown");
    }
    assert!(!is_shown(&toolchain, &home.join(".local/share/other")));
    let link = (home.join(".local/share/uv/python/cpython-3.13"), PathBuf::from("cpython-3.13.1"));
    assert!(toolchain.links.contains(&link), "{:?}", toolchain.links);
}

#[test]
fn toolchain_guards_programs_and_environments_but_not_data_beside_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().canonicalize().expect("resolves");
    make(&root, &["p/bin/run", "p/conf/a.yaml", "p/lib/x", "venv/bin/python", "venv/lib/x", "tools/x"]);
    make(&root, &["venv/pyvenv.cfg", "node_modules/x/cli.js", "node_modules/.bin/other"]);
    symlink("../x/cli.js", root.join("node_modules/.bin/x")).expect("links");
    symlink("../../tools/x", root.join("p/bin/x")).expect("links");
    let mut toolchain = toolchain(Path::new("/nowhere"));
    for path in ["p/bin", "venv/bin", "node_modules/.bin", "p/absent"] {
        toolchain.add_programs(&root.join(path), false);
    }
    let is_guarded = |path: &str| {
        let path = root.join(path);
        toolchain.guarded.iter().chain(&toolchain.programs).any(|guarded| path.starts_with(guarded))
    };
    for path in ["p/bin/run", "tools/x", "venv/lib/x", "node_modules/x/other.js", "p/absent/git"] {
        assert!(is_guarded(path), "{path} is not guarded");
    }
    assert!(!is_guarded("p/conf/a.yaml") && !is_guarded("p/lib/x") && !is_guarded("tools/y"));
}

/// A repository can contain links and an environment.
#[test]
fn toolchain_hides_files_that_a_project_links_to_in_the_home() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().canonicalize().expect("resolves");
    make(&home, &["p/venv/bin/activate", "p/bin/x", ".ssh/id", ".aws/credentials", "python/bin/python"]);
    make(&home, &["p/venv/lib/python3/site-packages/x.pth", "library/x.py"]);
    symlink(home.join(".ssh/id"), home.join("p/bin/id")).expect("links");
    symlink(home.join("python/bin/python"), home.join("p/venv/bin/python")).expect("links");
    fs::write(home.join("p/venv/pyvenv.cfg"), format!("home = {}", home.join(".aws").display()))
        .expect("writes");
    let packages = home.join("p/venv/lib/python3/site-packages/x.pth");
    fs::write(packages, home.join(".ssh").to_string_lossy().as_bytes()).expect("writes");
    let mut toolchain = Toolchain { projects: vec![home.join("p")], ..toolchain(&home) };
    toolchain.add_programs(&home.join("p/bin"), false);
    toolchain.add_environment(&home.join("p/venv"));
    assert!(is_shown(&toolchain, &home.join("python/bin/python")));
    for path in [".ssh/id", ".aws/credentials", "library/x.py"] {
        assert!(!is_shown(&toolchain, &home.join(path)), "{path} is shown");
    }
}

#[test]
fn toolchain_never_shows_a_home_as_an_installation() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().canonicalize().expect("resolves");
    make(&home, &["bin/mine", "pyvenv.cfg", "conda-meta/x", "secret"]);
    let mut toolchain = toolchain(&home);
    toolchain.add_programs(&home.join("bin"), false);
    toolchain.add_environment(&home);
    assert!(is_shown(&toolchain, &home.join("bin/mine")));
    assert!(!is_shown(&toolchain, &home.join("secret")));
}
