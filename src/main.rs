#![forbid(unsafe_code)]
//! The `modelseal` program. It only sets the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    modelseal::cli::main()
}
