use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A run of the binary, in its own environment.
pub struct Run {
    command: Command,
    input: Vec<u8>,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Prepares the binary. Only PATH is taken from the caller's environment.
pub fn modelseal<I, S>(arguments: I) -> Run
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelseal"));
    command.args(arguments).env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    Run { command, input: Vec::new() }
}

impl Run {
    pub fn home(mut self, home: &Path) -> Self {
        self.command.env("HOME", home);
        self
    }

    pub fn current_dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// The command itself, for what this type does not offer.
    pub fn into_command(self) -> Command {
        self.command
    }

    pub fn run(self) -> Outcome {
        finish(self.command, self.input)
    }

    /// Runs and checks the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.code, Some(code), "{}\n{}", outcome.stdout, outcome.stderr);
        outcome
    }
}

/// Runs a command to its end with this standard input.
pub fn finish(mut command: Command, input: Vec<u8>) -> Outcome {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("has standard input");
    let writer = std::thread::spawn(move || {
        // Some tests are about a program that stops reading.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("writes");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Outcome {
    /// Everything that was printed.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Checks that the output contains a text.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.all().contains(text), "{text:?} is not in:\n{}", self.all());
        self
    }

    /// Checks that no word of success appears, and that nothing panicked.
    #[track_caller]
    pub fn claims_no_success(&self) -> &Self {
        let all = self.all().to_lowercase();
        for word in ["verified", "success", "pass:", "panicked", "\nunpacked to"] {
            assert!(!all.contains(word), "{word:?} is in:\n{all}");
        }
        self
    }

    /// The output as JSON, validated against its published schema.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let document =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{}", self.all()));
        super::schema::validate(&document);
        document
    }
}
