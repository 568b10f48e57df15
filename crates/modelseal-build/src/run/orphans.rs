//! The processes that a command leaves running after it has ended.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, waitpid};

/// How long processes that are already ending may take.
const GRACE: Duration = Duration::from_millis(500);

/// How long a process may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time between two checks whether processes have ended.
const PAUSE: Duration = Duration::from_millis(5);

/// From now on, a process whose parent has ended becomes a child of this process, so that a command cannot leave any
/// behind by detaching them. Only for programs that start no other processes at the same time.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
}

/// Whether [`adopt_orphans`] was called and the system supports it.
fn is_adopting() -> bool {
    #[cfg(target_os = "linux")]
    return matches!(rustix::process::child_subreaper(), Ok(Some(_)));
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// The children that this process has before a command is started.
pub(super) fn children() -> BTreeSet<i32> {
    if !is_adopting() {
        return BTreeSet::new();
    }
    let me = getpid().as_raw_nonzero().get();
    processes().into_iter().filter(|(_, parent)| *parent == me).map(|(child, _)| child).collect()
}

/// Ends every process that a command left behind, and returns their names.
pub(super) fn end(group: Pid, before: &BTreeSet<i32>) -> Vec<String> {
    let begun = Instant::now();
    while begun.elapsed() < GRACE {
        if left(group, before).is_empty() {
            return Vec::new();
        }
        std::thread::sleep(PAUSE);
    }
    let names = left(group, before).into_iter().map(name).collect();
    stop(group, before, Signal::TERM, GRACE);
    stop(group, before, Signal::KILL, PATIENCE);
    names
}

/// Sends a signal to a group and to adopted processes, until all have ended or the time is up.
pub(super) fn stop(group: Pid, before: &BTreeSet<i32>, signal: Signal, patience: Duration) {
    let begun = Instant::now();
    loop {
        let left = left(group, before);
        if left.is_empty() || begun.elapsed() > patience {
            return;
        }
        let _ = kill_process_group(group, signal);
        for process in left.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(process, signal);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns the processes of the group, and the new children of this process with all their descendants.
fn left(group: Pid, before: &BTreeSet<i32>) -> Vec<i32> {
    loop {
        // A child that has ended may have passed its own children to this process after they were listed.
        let (found, reaped) = look(group, before);
        if !found.is_empty() || !reaped {
            return found;
        }
    }
}

/// Returns the current processes, and whether one had ended and was reaped.
fn look(group: Pid, before: &BTreeSet<i32>) -> (Vec<i32>, bool) {
    if !is_adopting() {
        let _ = waitpid(Some(group), WaitOptions::NOHANG);
        let alive = rustix::process::test_kill_process_group(group).is_ok();
        return (if alive { vec![group.as_raw_nonzero().get()] } else { Vec::new() }, false);
    }
    let me = getpid().as_raw_nonzero().get();
    let processes = processes();
    let mut found: Vec<i32> = processes
        .iter()
        .filter(|(child, parent)| *parent == me && !before.contains(child))
        .map(|(child, _)| *child)
        .collect();
    let listed = found.len();
    // Children that have ended only wait to be reaped.
    found.retain(|child| match Pid::from_raw(*child).map(|pid| waitpid(Some(pid), WaitOptions::NOHANG)) {
        Some(Ok(None)) => true,
        Some(_) | None => false,
    });
    let reaped = found.len() < listed;
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(processes.iter().filter(|(_, other)| *other == parent).map(|(child, _)| *child));
        next += 1;
    }
    (found, reaped)
}

/// Every process with its parent.
fn processes() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parse = |entry: fs::DirEntry| {
        let process: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in brackets, may contain anything. The state and the parent follow it.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        Some((process, parent.parse().ok()?))
    };
    entries.filter_map(parse).collect()
}

fn name(process: i32) -> String {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .take(4)
        .map(|word| String::from_utf8_lossy(word).chars().take(60).collect())
        .collect();
    if words.is_empty() {
        format!("process {process}")
    } else {
        modelseal_format::display::name(&words.join(" "))
    }
}
