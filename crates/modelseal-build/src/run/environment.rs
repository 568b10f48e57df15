use std::ffi::OsStr;
use std::path::Path;

use super::Confinement;
use super::programs::USUAL;
use super::variables::Variables;

/// Variables of an active virtual environment. Without them, the command would find another interpreter.
const VIRTUAL_ENVIRONMENT: [&str; 3] = ["VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"];

/// Variables with the same value on every machine.
const FIXED: [(&str, &str); 4] =
    [("LANG", "C.UTF-8"), ("TZ", "UTC"), ("PYTHONHASHSEED", "0"), ("PYTHONNOUSERSITE", "1")];

/// Builds the environment of a command. From the caller it takes only PATH, the active virtual environment and the
/// locations of toolchains. Then come the fixed variables, and then those of the recipe.
///
/// `passed` are names of variables of the caller. One that is not set is not passed. Variables of modelseal are never
/// passed.
pub fn variables<'a>(
    confinement: &Confinement,
    home: &Path,
    temporary: &Path,
    epoch: u64,
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
    passed: impl IntoIterator<Item = &'a str>,
) -> Variables {
    let mut variables = Variables::default();
    let mut set = |name: &str, value: &OsStr| {
        variables.own.insert(name.into(), value.into());
    };
    // Without PATH, programs search different directories.
    set("PATH", USUAL.as_ref());
    for name in ["PATH"].into_iter().chain(VIRTUAL_ENVIRONMENT) {
        if let Some(value) = std::env::var_os(name) {
            set(name, &value);
        }
    }
    for (name, value) in confinement.variables() {
        set(name, value);
    }
    for (name, value) in FIXED {
        set(name, value.as_ref());
    }
    set("HOME", home.as_os_str());
    set("TMPDIR", temporary.as_os_str());
    set("SOURCE_DATE_EPOCH", epoch.to_string().as_ref());
    for name in passed.into_iter().filter(|name| confinement.passes(name)) {
        if let Some(value) = std::env::var_os(name) {
            set(name, &value);
        }
    }
    variables.given = given.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Scope;

    #[test]
    fn command_environment_hides_variables_that_the_recipe_does_not_name() {
        let given = [("TZ", "Asia/Tokyo"), ("SEED", "1")];
        let passed = ["CARGO_PKG_NAME", "MODELSEAL_PASSWORD", "NO_SUCH_VARIABLE"];
        let confinement = Confinement::new(Scope::default()).expect("looks");
        let variables = variables(&confinement, Path::new("/home"), Path::new("/tmp/x"), 7, given, passed);
        let variables = variables.all();
        let names: Vec<&str> = variables.keys().filter_map(|name| name.to_str()).collect();
        let managers: Vec<&str> = confinement.variables().map(|(name, _)| name).collect();
        let optional = [&VIRTUAL_ENVIRONMENT[..], &managers].concat();
        let expected: Vec<&str> = names.iter().copied().filter(|name| !optional.contains(name)).collect();
        assert_eq!(
            expected,
            [
                "CARGO_PKG_NAME",
                "HOME",
                "LANG",
                "PATH",
                "PYTHONHASHSEED",
                "PYTHONNOUSERSITE",
                "SEED",
                "SOURCE_DATE_EPOCH",
                "TMPDIR",
                "TZ"
            ]
        );
        assert_eq!(variables[OsStr::new("TZ")], "Asia/Tokyo");
    }
}
