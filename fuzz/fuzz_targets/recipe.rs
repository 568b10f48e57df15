//! Any text as a recipe. Parsing never panics, and every mistake can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use modelseal_build::recipe::Recipe;

fuzz_target!(|text: &str| {
    if let Err(error) = Recipe::parse("modelseal.toml".into(), text.to_string()) {
        let shown = error.to_string();
        assert!(!shown.chars().any(|character| character.is_control() && character != '\n'), "{shown:?}");
    }
});
