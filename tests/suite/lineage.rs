//! `--against`: compares the sealed inputs with a checkout.

use std::fs;
use std::path::PathBuf;

use crate::support::{Outcome, Project};

fn project() -> (Project, PathBuf) {
    let project = Project::new();
    project.write("requirements.lock", "numpy==2.3.1\n");
    project.append_recipe("[environment]\nfiles = [\"requirements.lock\"]\n");
    project.commit();
    let archive = project.build();
    let kept = project.out("release.tar");
    fs::rename(archive, &kept).expect("renames");
    (project, kept)
}

fn against(project: &Project, archive: &std::path::Path) -> Outcome {
    project.verify(archive, &["--against", "."])
}

#[test]
fn verify_against_accepts_the_checkout_that_was_built_from() {
    let (project, archive) = project();
    let outcome = against(&project, &archive);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says("the inputs of `.`");
    assert!(!outcome.stdout.contains("no --against"));
    // Code is compared by content: a commit that changes no code still has the same code.
    project.write("params.toml", "learning_rate = 0.1\nseed = 42\n");
    project.git(&["commit", "-q", "--allow-empty", "-m", "moved on"]);
    assert_eq!(against(&project, &archive).code, Some(0));
}

#[test]
fn verify_against_names_each_input_that_differs() {
    for (path, content, check, message) in [
        ("train.py", "print('other')\n", "lineage.code", "changed since the commit: `train.py`"),
        (
            "modelseal.toml",
            "",
            "lineage.recipe",
            "the recipe in the checkout differs from the sealed version",
        ),
        ("data/train.csv", "x,class\n9,z\n", "lineage.data.train", "the data `train` in the checkout"),
        ("params.toml", "learning_rate = 0.2\n", "lineage.params", "the file `params.toml` in the checkout"),
        (
            "requirements.lock",
            "numpy==9\n",
            "lineage.environment",
            "the file `requirements.lock` in the checkout",
        ),
    ] {
        let (project, archive) = project();
        if content.is_empty() {
            project.append_recipe("# remark\n");
        } else {
            project.write(path, content);
        }
        let outcome = against(&project, &archive);
        assert_eq!(outcome.code, Some(1), "{path}: {}", outcome.all());
        outcome.says(&format!("{check:<19}  fail")).says(message).says("  sealed: ").says("   found: ");
        outcome.claims_no_success();
        let failed = outcome.stdout.matches(" fail  ").count();
        // A changed recipe also changes the tree of the code, but not the content of the code.
        assert_eq!(failed, 1, "{}", outcome.stdout);
    }
}

#[test]
fn verify_against_lists_missing_data_as_not_checked() {
    let (project, archive) = project();
    fs::remove_dir_all(project.at("data")).expect("removes");
    let outcome = against(&project, &archive);
    assert_eq!(outcome.code, Some(0), "{}", outcome.all());
    outcome.says("not checked: lineage.data.train against the checkout: `data/train.csv` does not exist");
    let elsewhere = project.out("elsewhere.csv");
    fs::write(&elsewhere, "x,class\n1,a\n2,b\n3,a\n").expect("writes");
    let place = format!("train={}", elsewhere.display());
    let outcome = project.verify(&archive, &["--against", ".", "--data", &place]);
    assert_eq!(outcome.code, Some(0));
    assert!(!outcome.stdout.contains("does not exist"));
    fs::write(&elsewhere, "x,class\n").expect("writes");
    assert_eq!(project.verify(&archive, &["--against", ".", "--data", &place]).code, Some(1));
    let unknown = project.verify(&archive, &["--against", ".", "--data", "moon=x"]);
    assert_eq!(unknown.code, Some(2));
    assert_eq!(project.verify(&archive, &["--data", &place]).code, Some(2), "--data needs --against");
}

#[test]
fn verify_against_exits_2_for_a_directory_without_a_recipe() {
    let (project, archive) = project();
    let outcome = project.verify(&archive, &["--against", "model"]);
    assert_eq!(outcome.code, Some(2));
    outcome.says("cannot find the recipe `model/modelseal.toml`").claims_no_success();
}
