//! Mistakes in a recipe: line, column, the nearest known name and exit 2, exactly as shown here.

use crate::support::Project;
use crate::support::project::RECIPE;

#[track_caller]
fn mistake(from: &str, to: &str, expected: &str) {
    let project = Project::new();
    project.edit_recipe(from, to);
    let outcome = project.modelseal(&["build", "--key", &project.key()]).expect(2);
    assert_eq!(outcome.stderr.trim_end(), expected.trim_matches('\n'), "{from} -> {to}");
    outcome.claims_no_success();
    assert!(!project.at("dist").exists());
}

#[test]
fn recipe_error_for_an_unknown_key_suggests_the_nearest_key() {
    mistake(
        "label = \"class\"",
        "lable = \"class\"",
        "
error: unknown key `lable`
   --> modelseal.toml:11:1
    |
 11 | lable = \"class\"
    | ^^^^^
hint: did you mean `label`?
",
    );
    mistake(
        "[params]",
        "[parms]",
        "
error: unknown key `parms`
   --> modelseal.toml:13:2
    |
 13 | [parms]
    |  ^^^^^
hint: did you mean `params`?
",
    );
    mistake(
        "label = \"class\"",
        "moon = \"full\"",
        "
error: unknown key `moon`; expected one of `name`, `path`, `label`, `timestamp`, `max_age`, `static`, `symlinks`
   --> modelseal.toml:11:1
    |
 11 | moon = \"full\"
    | ^^^^
",
    );
}

#[test]
fn recipe_error_shows_the_place_of_a_wrong_type_or_value() {
    mistake(
        "version = \"1.0.0\"",
        "version = 1.0",
        "
error: invalid type: floating point `1.0`, expected a string
  --> modelseal.toml:3:11
   |
 3 | version = 1.0
   |           ^^^
",
    );
    mistake(
        "label = \"class\"",
        "symlinks = \"folow\"",
        "
error: unknown value `folow`
   --> modelseal.toml:11:12
    |
 11 | symlinks = \"folow\"
    |            ^^^^^^^
hint: did you mean `follow`?
",
    );
    mistake(
        "label = \"class\"",
        "timestamp = \"t\"\nmax_age = \"30 days\"",
        "
error: a duration is a whole number above 0 with a unit, such as `36h`, `30d` or `2w`
   --> modelseal.toml:12:11
    |
 12 | max_age = \"30 days\"
    |           ^^^^^^^^^
",
    );
    mistake(
        "name = \"wine\"",
        "name = \"../wine\"",
        "
error: a model's name must be 1 to 64 letters, digits, `.`, `_`, `+` or `-`, and begin with a letter or digit
  --> modelseal.toml:2:8
   |
 2 | name = \"../wine\"
   |        ^^^^^^^^^
",
    );
    mistake(
        "name = \"train\"",
        "name = \"Train.set\"",
        "
error: a name must be 1 to 64 lower-case letters, digits, `_` or `-`, and begin with a letter or digit
  --> modelseal.toml:9:8
   |
 9 | name = \"Train.set\"
   |        ^^^^^^^^^^^
",
    );
}

#[test]
fn recipe_error_names_a_missing_table_or_key() {
    mistake(
        "[model]\nname = \"wine\"\nversion = \"1.0.0\"\n",
        "",
        "
error: missing field `model` in `modelseal.toml`
",
    );
    mistake(
        "version = \"1.0.0\"\n",
        "",
        "
error: missing field `version`
  --> modelseal.toml:1:1
   |
 1 | [model]
   | ^^^^^^^
",
    );
}

#[test]
fn recipe_error_shows_the_place_of_a_toml_syntax_error() {
    mistake(
        "name = \"wine\"",
        "name = \"wine",
        "
error: invalid basic string, expected `\"`
  --> modelseal.toml:2:13
   |
 2 | name = \"wine
   |             ^
",
    );
    mistake(
        "name = \"wine\"",
        "name = \"wine\"\nname = \"beer\"",
        "
error: duplicate key
  --> modelseal.toml:3:1
   |
 3 | name = \"beer\"
   | ^^^^
",
    );
}

#[test]
fn recipe_rejects_a_probe_without_a_valid_name_command_or_inputs() {
    for (text, reason) in [
        ("[[probe]]\nname = \"golden\"\ncommand = [\"x\"]\n", "missing field `inputs`"),
        ("[[probe]]\nname = \"a.b\"\ncommand = [\"x\"]\ninputs = \"i\"\n", "a name must be 1 to 64"),
        ("[[probe]]\nname = \"a\"\ncommand = []\ninputs = \"i\"\n", "a command must be a list of a program"),
        ("[[probe]]\nname = \"a\"\ncommand = [\"x\"]\ninputs = \"/i\"\n", "must be relative to the recipe"),
        ("[[probe]]\nname = \"a\"\ncommand = [\"x\"]\ninput = \"i\"\n", "unknown key `input`"),
    ] {
        let project = Project::new();
        project.append_recipe(text);
        project.modelseal(&["build"]).expect(2).says(reason).says("--> modelseal.toml:");
    }
    let project = Project::new();
    let probe = "[[probe]]\nname = \"a\"\ncommand = [\"x\"]\ninputs = \"i\"\n";
    project.append_recipe(&probe.repeat(2));
    project.modelseal(&["build"]).expect(2).says("this name is used twice");
}

#[test]
fn recipe_error_escapes_control_characters_and_stays_short() {
    let project = Project::new();
    project.edit_recipe("label", "\"\u{202e}\\u001B[2J\" = 1\nlabel");
    let outcome = project.modelseal(&["build"]).expect(2);
    assert!(!outcome.stderr.contains(['\u{1b}', '\u{202e}']), "{}", outcome.stderr);
    project.write("modelseal.toml", format!("{}\nx = \"{}\"\n", RECIPE, "y".repeat(100_000)));
    let outcome = project.modelseal(&["build"]).expect(2);
    assert!(outcome.stderr.len() < 2000);
}

#[test]
fn build_rejects_a_recipe_that_is_missing_binary_too_long_or_a_fifo() {
    let project = Project::new();
    let build = || project.modelseal(&["build"]);
    project.write("modelseal.toml", b"\xff\xfe");
    build().expect(2).says("is not UTF-8 text");
    project.write("modelseal.toml", " ".repeat((1 << 20) + 1));
    build().expect(2).says("longer than 1 MiB");
    std::fs::remove_file(project.at("modelseal.toml")).expect("removes");
    build().expect(2).says("cannot find the recipe `modelseal.toml`").says("`modelseal init` writes one");
    rustix::fs::mkfifoat(rustix::fs::CWD, project.at("modelseal.toml"), rustix::fs::Mode::RWXU)
        .expect("makes");
    build().expect(2).says("is not a regular file");
    project.write("deep.toml", format!("x = {}", "[".repeat(100_000)));
    project.modelseal(&["build", "deep.toml"]).expect(2);
    // A recipe may have any name, and it may start with a byte order mark.
    project.write("other.toml", format!("\u{feff}{RECIPE}"));
    std::fs::remove_file(project.at("modelseal.toml")).expect("removes");
    std::fs::remove_file(project.at("deep.toml")).expect("removes");
    project.commit();
    project.modelseal(&["build", "other.toml"]).expect(0);
}
