#![forbid(unsafe_code)]
//! The `modelseal` program: the exit code, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    modelseal::cli::main()
}
