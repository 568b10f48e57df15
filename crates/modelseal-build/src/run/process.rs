//! Runs one command until no process of it is left.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::bubblewrap::{Wrapped, inherit};
use super::job::{Job, Stream};
use super::output::Output;
use super::wrap::wrap;
use super::{Error, orphans};
use modelseal_format::context::Cancel;

/// How long a command may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take if a person is waiting.
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);

/// The longest time between two checks of a running command.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How often modelseal tries to start a command while sockets of other programs appear and disappear.
const TRIES: u32 = 5;

/// The result of a command that succeeded and left no process.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub elapsed: Duration,
}

/// Runs a command to its end.
///
/// The command has a separate process group. All processes that it started are ended with it.
///
/// # Errors
/// [`Error`]. No process of the command is running any more.
pub fn run(job: &Job<'_>) -> Result<Ended, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match run_once(job) {
            Err(Error::Sandbox { reason, .. }) if tries < TRIES && is_gone(&reason) => {}
            result => return result,
        }
    }
}

/// Whether bubblewrap did not start a command because a socket that had to be covered no longer exists.
fn is_gone(reason: &str) -> bool {
    let path = reason.strip_prefix("bwrap: Can't create file at ").and_then(|rest| rest.rsplit_once(": "));
    path.is_some_and(|(path, _)| !Path::new(path).exists())
}

fn run_once(job: &Job<'_>) -> Result<Ended, Error> {
    let command: Vec<OsString> = job.command.iter().map(OsString::from).collect();
    let mut wrapped = wrap(job.sandbox, job.confinement, &command, job.directory, job.variables)?;
    if let Some(reason) = &wrapped.reason {
        job.listener.not_isolated(reason);
    }
    if wrapped.isolated && !is_there(&command, job) {
        // The isolating program would report this only on standard error.
        let source = std::io::ErrorKind::NotFound.into();
        return Err(Error::Start { command: job.command.to_vec(), source });
    }
    // The isolating program receives the variables as options, and starts in a directory where the project cannot put
    // files.
    let variables = if wrapped.isolated { Default::default() } else { job.variables.all() };
    let directory = if wrapped.isolated { Path::new("/") } else { job.directory };
    let _busy = job.context.cancel().busy();
    let before = orphans::children();
    let begun = Instant::now();
    let mut starting = Command::new(&wrapped.command[0]);
    starting
        .args(&wrapped.command[1..])
        .current_dir(directory)
        .env_clear()
        .envs(variables)
        .stdin(if job.input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let started = inherit(&wrapped.descriptors).and_then(|()| starting.spawn());
    let mut child = started.map_err(|source| Error::Start { command: job.command.to_vec(), source })?;
    wrapped.descriptors.clear();
    let group = Pid::from_child(&child);
    let output = Output::new(job, begun);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (stopped, names) = thread::scope(|scope| {
        let talk = || {
            if let Some(mut stdin) = stdin {
                // A command that does not read all of its input closes the pipe, at the latest when it ends.
                let tell = move || _ = stdin.write_all(job.input);
                thread::Builder::new().spawn_scoped(scope, tell)?;
            }
            thread::Builder::new().spawn_scoped(scope, || output.pump(Stream::Output, stdout))?;
            thread::Builder::new().spawn_scoped(scope, || output.pump(Stream::Error, stderr))
        };
        let stopped = match talk() {
            Ok(_) => wait(job, &output, &mut child, begun),
            // The system cannot start another thread.
            Err(error) => Err(Stopped::Lost(error)),
        };
        let patience = match stopped {
            Ok(_) => None,
            Err(Stopped::Interrupted) => Some(LITTLE_PATIENCE),
            Err(_) => Some(PATIENCE),
        };
        if let Some(patience) = patience {
            end_child(&mut child, group, patience, job.context.cancel());
        }
        let names = orphans::end(group, &before);
        output.ended();
        (stopped, names)
    });
    job.listener.ended();
    wrapped.cleanup.restore()?;
    if wrapped.isolated {
        job.sandbox.check()?;
        job.confinement.check()?;
    }
    let command = || job.command.to_vec();
    let printed = output.finish().map_err(|source| Error::Output { command: command(), source })?;
    match stopped {
        Err(Stopped::Interrupted) => Err(Error::Interrupted),
        Err(Stopped::Timeout(limit)) => Err(Error::Timeout { command: command(), limit }),
        Err(Stopped::Silent(limit)) => Err(Error::Silent { command: command(), limit }),
        Err(Stopped::TooMuchOutput) => {
            Err(Error::TooMuchOutput { command: command(), limit: job.limits.output })
        }
        Err(Stopped::Lost(source)) => Err(Error::Start { command: command(), source }),
        Ok(status) if status.code() == Some(1) && !wrapped.was_started() => {
            Err(not_run(job, &wrapped, &printed.first_error))
        }
        Ok(status) if !status.success() => {
            let refused_write = wrapped.isolated && printed.refused_write;
            Err(Error::Failed { command: command(), how: how(status), refused_write })
        }
        Ok(_) if printed.count > job.limits.output => {
            Err(Error::TooMuchOutput { command: command(), limit: job.limits.output })
        }
        Ok(_) if !names.is_empty() => Err(Error::Leftovers { command: command(), names }),
        Ok(_) => Ok(Ended { elapsed: begun.elapsed() }),
    }
}

/// Whether the program of a command can be found in the way that the system searches for it.
fn is_there(command: &[OsString], job: &Job<'_>) -> bool {
    let Some(program) = command.first() else { return false };
    if program.as_encoded_bytes().contains(&b'/') {
        return job.directory.join(program).exists();
    }
    let path = job.variables.all().get(std::ffi::OsStr::new("PATH")).cloned().unwrap_or_default();
    std::env::split_paths(&path).any(|directory| job.directory.join(directory).join(program).is_file())
}

/// The error for a command that bubblewrap did not start, from what bubblewrap printed.
fn not_run(job: &Job<'_>, wrapped: &Wrapped, said: &[u8]) -> Error {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().unwrap_or("bubblewrap ended");
    let command = job.command.to_vec();
    let program = wrapped.command.iter().rev().nth(command.len().saturating_sub(1));
    match line.strip_prefix("bwrap: execvp ") {
        Some(_) => match program.map(|program| job.directory.join(program)).filter(|path| path.exists()) {
            Some(path) if !path.starts_with(job.directory) => Error::OutOfSight { command, path },
            _ => Error::Start { command, source: std::io::ErrorKind::NotFound.into() },
        },
        None => Error::Sandbox { command, reason: modelseal_format::display::Escaped(line).to_string() },
    }
}

/// Why modelseal stopped waiting for a command.
enum Stopped {
    Interrupted,
    Timeout(Duration),
    Silent(Duration),
    TooMuchOutput,
    Lost(std::io::Error),
}

fn wait(
    job: &Job<'_>,
    output: &Output<'_>,
    child: &mut Child,
    begun: Instant,
) -> Result<ExitStatus, Stopped> {
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) => return Err(Stopped::Lost(error)),
        }
        let elapsed = begun.elapsed();
        if job.context.cancel().is_requested() {
            return Err(Stopped::Interrupted);
        }
        if let Some(limit) = job.limits.time.filter(|limit| elapsed > *limit) {
            return Err(Stopped::Timeout(limit));
        }
        if let Some(limit) = output.silent_for_too_long(elapsed) {
            return Err(Stopped::Silent(limit));
        }
        if output.is_too_much() {
            return Err(Stopped::TooMuchOutput);
        }
        job.listener.waiting(elapsed);
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks a command to end, and kills it if it does not. Descendants without a parent are ended later.
fn end_child(child: &mut Child, group: Pid, patience: Duration, cancel: &Cancel) {
    let begun = Instant::now();
    let _ = rustix::process::kill_process_group(group, Signal::TERM);
    while begun.elapsed() < patience && !cancel.is_repeated() {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(LONGEST_PAUSE);
    }
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        // Shells and bubblewrap pass a signal on in this form.
        (Some(code @ 129..=159), _) => format!("exit code {code} (signal {})", code - 128),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::run::{Confinement, Isolation, Limits, Listener, Sandbox, Scope};
    use modelseal_format::context::Context;

    struct Collect(Mutex<Vec<u8>>);

    impl Listener for Collect {
        fn output(&self, _: Stream, bytes: &[u8]) {
            self.0.lock().expect("locks").extend_from_slice(bytes);
        }

        fn waiting(&self, _: Duration) {}
    }

    fn shell(script: &str, limits: Limits) -> (Result<Ended, Error>, String) {
        let command = ["sh".to_string(), "-c".to_string(), script.to_string()];
        let confinement = Confinement::new(Scope::default()).expect("looks");
        let (root, temporary) = (Path::new("/"), Path::new("/tmp"));
        let variables = super::super::variables(&confinement, root, temporary, 0, [], []);
        let collect = Collect(Mutex::new(Vec::new()));
        let sandbox = Sandbox { isolation: Isolation::Never, ..Sandbox::default() };
        let ended = run(&Job {
            command: &command,
            directory: Path::new("/"),
            variables: &variables,
            confinement: &confinement,
            sandbox: &sandbox,
            limits,
            input: &[],
            log: None,
            listener: &collect,
            context: &Context::default(),
        });
        let output = collect.0.into_inner().expect("unlocks");
        (ended, String::from_utf8_lossy(&output).into_owned())
    }

    const GENEROUS: Limits = Limits { time: Some(Duration::from_secs(60)), output: 1 << 20, silence: None };

    #[test]
    fn command_output_and_exit_code_are_passed_on() {
        let (ended, output) = shell("echo out; echo err >&2; read x || echo no input; echo $TZ", GENEROUS);
        ended.expect("ends well");
        let mut lines: Vec<&str> = output.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["UTC", "err", "no input", "out"]);
        let (ended, _) = shell("exit 7", GENEROUS);
        assert!(matches!(ended, Err(Error::Failed { how, .. }) if how == "exit code 7"));
        let (ended, _) = shell("kill -9 $$", GENEROUS);
        assert!(matches!(ended, Err(Error::Failed { how, .. }) if how == "ended by signal 9"));
    }

    #[test]
    fn command_that_ignores_sigterm_is_killed_after_the_timeout() {
        let limits = Limits { time: Some(Duration::from_millis(100)), ..GENEROUS };
        let (ended, _) = shell("trap '' TERM; echo begun; while :; do sleep 0.1; done", limits);
        assert!(matches!(ended, Err(Error::Timeout { .. })), "{ended:?}");
    }

    #[test]
    fn command_with_too_much_output_is_killed_and_its_output_truncated() {
        let (ended, output) = shell("yes", Limits { output: 100_000, ..GENEROUS });
        assert!(matches!(ended, Err(Error::TooMuchOutput { .. })), "{ended:?}");
        assert_eq!(output.len(), 100_000);
    }

    #[test]
    fn command_that_leaves_a_background_process_is_reported() {
        let (ended, _) = shell("sleep 1000 & exit 0", GENEROUS);
        assert!(matches!(ended, Err(Error::Leftovers { .. })), "{ended:?}");
    }
}
