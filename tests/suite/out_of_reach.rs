//! What a command in the sandbox cannot reach, apart from files: sockets, descriptors, keyrings, system calls, `/proc`.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::peers;
use crate::support::project::Project;

/// Tries each named socket and prints which of them answered.
const CONNECT: &str = r#"
import os, socket, sys
for name in sys.argv[1:]:
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect('\0' + name[1:] if name.startswith('@') else name)
        print('REACHED', name)
    except OSError as error:
        print('refused', name, error.strerror)
"#;

/// Makes system calls by number and prints what the kernel answered.
const CALLS: &str = r#"
import ctypes, errno, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == 'x86_64'
def call(name, number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_ulong(value) for value in (number, *arguments)])
    print(name, 'done' if result >= 0 else errno.errorcode.get(ctypes.get_errno(), '?'))
n = lambda x86_64, other: x86_64 if x86 else other
call('keyctl', n(250, 219), 0, 2**64 - 3, 1)
call('add_key', n(248, 217), 0, 0, 0, 0, 0)
call('ptrace', n(101, 117), 0)
call('process_vm_readv', n(310, 270), 1, 0, 0, 0, 0, 0)
call('pidfd_getfd', 438, 0, 0, 0)
call('bpf', n(321, 280), 0, 0, 0)
call('perf_event_open', n(298, 241), 0, 0, 0, 0, 0)
call('userfaultfd', n(323, 282), 0)
call('mount', n(165, 40), 0, 0, 0, 0, 0)
call('setns', n(308, 268), 0, 0)
call('unshare_user', n(272, 97), 0x10000000)
call('unshare_time', n(272, 97), 0x80)
call('clone_user', n(56, 220), 0x10000000 | 17)
call('clone3', 435, 0, 0)
call('io_uring_setup', 425, 1, 0)
call('open_by_handle_at', n(304, 265), 0, 0, 0)
call('prlimit_of_1', n(302, 261), 1, 7, 0, 0)
call('prlimit_of_1_in_upper_half', n(302, 261), 1 | 1 << 32, 7, 0, 0)
call('tiocsti', n(16, 29), 0, 0x5412, 0)
call('tiocsti_in_lower_half', n(16, 29), 0, 0x5412 | 1 << 32, 0)
call('btrfs_snapshot', n(16, 29), -1 % 2**64, 0x50009401, 0)
call('btrfs_snapshot_2', n(16, 29), -1 % 2**64, 0x50009417, 0)
call('bcachefs_snapshot', n(16, 29), -1 % 2**64, 0x4020bc10, 0)
call('clone_of_a_file', n(16, 29), -1 % 2**64, 0x40049409, 0)
call('clone_of_a_range', n(16, 29), -1 % 2**64, 0x4020940d, 0)
call('unshare_files', n(272, 97), 0x400)
call('prlimit_of_itself', n(302, 261), 0, 7, 0, 0)
import os
for name, make in (
    ('chmod', lambda: os.chmod(os.environ['TMPDIR'], 0o4700)),
    ('fchmod', lambda: os.fchmod(os.open(os.environ['TMPDIR'], 0), 0o4700)),
    ('open', lambda: os.open(os.environ['TMPDIR'] + '/x', os.O_CREAT | os.O_WRONLY, 0o4700)),
    ('unnamed', lambda: os.open(os.environ['TMPDIR'], os.O_TMPFILE | os.O_WRONLY, 0o4700)),
    ('unnamed_without', lambda: os.open(os.environ['TMPDIR'], os.O_TMPFILE | os.O_WRONLY, 0o700)),
    ('chmod_group', lambda: os.chmod(os.environ['TMPDIR'], 0o2700)),
    ('open_group', lambda: os.open(os.environ['TMPDIR'] + '/y', os.O_CREAT | os.O_WRONLY, 0o2700)),
):
    try:
        make()
        print(name, 'done')
    except OSError as error:
        print(name, errno.errorcode[error.errno])
if x86:
    call('x32_getpid', 0x40000000 | 39)
for family in ('AF_INET', 'AF_INET6', 'AF_NETLINK', 'AF_VSOCK', 'AF_UNIX'):
    try:
        socket.socket(getattr(socket, family), socket.SOCK_DGRAM).close()
        print(family, 'done')
    except OSError as error:
        print(family, errno.errorcode[error.errno])
socket.socketpair()[0].close()
for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/sys/kernel/uevent_helper', '/sys/power/state'):
    try:
        open(path, 'r+').close()
        print(path, 'opened')
    except OSError as error:
        print(path, 'refused')
"#;

fn project(command: &[&str], run: &str) -> Project {
    peers::program("bwrap");
    let project = Project::empty();
    let command: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
    project.write(
        "modelseal.toml",
        format!(
            "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[run]\ncommand = [{}]\n{run}",
            command.join(", ")
        ),
    );
    project.write("connect.py", CONNECT);
    project.write("calls.py", CALLS);
    project.write(".gitignore", "model/\ndist/\n");
    project.commit();
    project
}

/// Stops a server when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(socket: &Path, program: &str, arguments: &[&str]) -> Server {
    let child = Command::new(program)
        .args(arguments)
        .env("HOME", socket.parent().expect("a parent"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let server = Server(child.expect("starts"));
    for _ in 0..500 {
        if socket.exists() {
            return server;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{program} does not listen at {}", socket.display());
}

#[test]
#[ignore = "needs bubblewrap, ssh-agent, gpg-agent and dbus-daemon"]
fn sandbox_blocks_sockets_of_agents_and_services() {
    peers::program("ssh-agent");
    peers::program("gpg-agent");
    peers::program("dbus-daemon");
    let project = project(
        &["sh", "-c", "mkdir model; python3 connect.py $SOCKETS > model/w"],
        "pass_env = [\"SOCKETS\"]\n",
    );
    let home = project.home();
    let unique = std::process::id();
    // A service may place its socket anywhere. The path of a socket must be short.
    let agents = tempfile::Builder::new().prefix("agents").tempdir_in("/var/tmp").expect("a directory");
    let ssh = agents.path().join("ssh");
    let _ssh = serve(&ssh, "ssh-agent", &["-D", "-a", &ssh.to_string_lossy()]);
    let bus = agents.path().join("bus");
    let address = format!("--address=unix:path={}", bus.display());
    let _bus = serve(&bus, "dbus-daemon", &["--session", "--nofork", "--nopidfile", &address]);
    let gpg = home.join(".gnupg/S.gpg-agent");
    fs::create_dir(home.join(".gnupg")).expect("creates");
    let gnupg = home.join(".gnupg").to_string_lossy().into_owned();
    fs::set_permissions(&gnupg, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("sets");
    let _gpg = serve(&gpg, "gpg-agent", &["--homedir", &gnupg, "--daemon", "--no-detach", "sleep", "300"]);
    // One socket like docker's, except for its name, and one outside the directories of services.
    let docker = PathBuf::from(format!("/run/modelseal-test-{unique}.sock"));
    let odd = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{unique}.sock"));
    let mut names = vec![ssh, bus, gpg];
    let listeners: Vec<UnixListener> = [&docker, &odd]
        .into_iter()
        .filter_map(|path| {
            let listener = UnixListener::bind(path).ok()?;
            names.push(path.clone());
            Some(listener)
        })
        .collect();
    let names: Vec<String> = names.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let connect = project.at("connect.py");
    let outside = Command::new("python3").arg(&connect).args(&names).output().expect("runs");
    let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
    let key = project.key();
    let built = project.modelseal(&["build", "--key", &key]).env("SOCKETS", names.join(" ")).run();
    drop(listeners);
    for path in [docker, odd] {
        let _ = fs::remove_file(path);
    }
    assert_eq!(outside.matches("REACHED").count(), names.len(), "{outside}");
    assert_eq!(built.code, Some(0), "{}", built.all());
    let inside = fs::read_to_string(project.at("model/w")).expect("reads");
    let refused = inside.lines().filter(|line| line.starts_with("refused ")).count();
    assert_eq!(refused, names.len(), "{inside}");
}

/// Listens at a socket that is bound by a relative name and may be moved afterwards.
const LISTEN: &str = r#"
import os, socket, sys, time
directory, bound, name = sys.argv[1:]
os.chdir(directory)
s = socket.socket(socket.AF_UNIX)
s.bind(bound)
s.listen()
os.rename(bound, name)
time.sleep(300)
"#;

/// The kernel does not report where these sockets really are.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_blocks_sockets_with_relative_or_changed_names() {
    let command = "mkdir model; python3 connect.py $SOCKETS > model/w; rm stale && echo removed >> model/w";
    let project = project(&["sh", "-c", command], "pass_env = [\"SOCKETS\"]\n");
    project.write(".gitignore", "model/\ndist/\nstale\nown\nmoved\n");
    project.write("listen.py", LISTEN);
    project.commit();
    drop(UnixListener::bind(project.at("stale")).expect("binds"));
    let outside =
        tempfile::Builder::new().prefix("s").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("makes");
    let sockets: [(&Path, &str, &str); 4] = [
        (&project.at(""), "own", "own"),
        (&project.at(""), "first", "moved"),
        (outside.path(), "own", "own"),
        (outside.path(), "first", "moved"),
    ];
    let listen = project.at("listen.py").to_string_lossy().into_owned();
    let mut servers = Vec::new();
    let mut names = Vec::new();
    for (directory, bound, name) in sockets {
        let shown = directory.to_string_lossy();
        servers.push(serve(&directory.join(name), "python3", &[&listen, &shown, bound, name]));
        names.push(directory.join(name).to_string_lossy().into_owned());
    }
    let reach = |names: &[String]| {
        let said = Command::new("python3").arg(project.at("connect.py")).args(names).output().expect("runs");
        String::from_utf8_lossy(&said.stdout).matches("REACHED").count()
    };
    assert_eq!(reach(&names), names.len());
    let built = project.modelseal(&["build", "--key", &project.key()]).env("SOCKETS", names.join(" ")).run();
    assert_eq!(built.code, Some(0), "{}", built.all());
    let inside = fs::read_to_string(project.at("model/w")).expect("reads");
    assert_eq!(inside.matches("refused ").count(), names.len(), "{inside}");
    assert!(inside.contains("removed"), "{inside}");
    assert_eq!(reach(&names), names.len(), "they are still there");
}

/// The documentation says that the network makes them reachable.
#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_allows_abstract_sockets_only_with_the_network() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("modelseal-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("binds");
    for (network, expected) in [("true", "REACHED"), ("false", "refused")] {
        let command = format!("mkdir model; python3 connect.py @{name} > model/w");
        let project = project(&["sh", "-c", &command], &format!("network = {network}\n"));
        project.modelseal(&["build", "--key", &project.key()]).expect(0);
        let said = fs::read_to_string(project.at("model/w")).expect("reads");
        assert!(said.starts_with(expected), "network = {network}: {said}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn sandbox_denies_system_calls_that_lead_out() {
    for (network, sockets) in [("true", "done"), ("false", "EAFNOSUPPORT")] {
        let command = "mkdir model; python3 calls.py > model/w";
        let project = project(&["sh", "-c", command], &format!("network = {network}\n"));
        project.modelseal(&["build", "--key", &project.key()]).expect(0);
        let said = fs::read_to_string(project.at("model/w")).expect("reads");
        for line in said.lines() {
            let (name, answer) = line.split_once(' ').expect("two words");
            let expected = match name {
                "clone3" | "io_uring_setup" | "x32_getpid" => "ENOSYS",
                "clone_of_a_file" | "clone_of_a_range" => "EBADF",
                "unshare_files" | "unnamed_without" | "prlimit_of_itself" | "AF_UNIX" => "done",
                // Only root could give a file to any group.
                "chmod_group" | "open_group" if !rustix::process::geteuid().is_root() => "done",
                "AF_VSOCK" if network == "true" => answer,
                name if name.starts_with("AF_") => sockets,
                name if name.starts_with('/') => "refused",
                _ => "EPERM",
            };
            assert_eq!(answer, expected, "network = {network}: {line}");
        }
        assert!(said.lines().count() >= 30, "{said}");
    }
}

/// Descriptors that are open in the process that starts modelseal reach neither commands nor signers.
#[test]
#[ignore = "needs bubblewrap and openssl"]
fn build_closes_inherited_descriptors_for_commands_and_signers() {
    let list = "ls -l /proc/self/fd | tail -n +2 | grep -v /proc/; cat <&9";
    let command = format!("mkdir model; ({list}) > model/w 2> /dev/null; true");
    let project = project(&["sh", "-c", &command], "");
    let secret = project.root().join("secret");
    fs::write(&secret, "HUNTER2").expect("writes");
    let (key, public) = (project.key(), project.public_key());
    let said = project.root().join("signer-said");
    let signer = format!("({list}) > '{}' 2>/dev/null; openssl dgst -sha256 -sign '{key}'", said.display());
    let modelseal = env!("CARGO_BIN_EXE_modelseal");
    let output = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" 9< ../secret", modelseal])
        .args(["build", "--key", &public, "--signer", &signer])
        .current_dir(project.at(""))
        .env("HOME", project.home())
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for path in [project.at("model/w"), said] {
        let said = fs::read_to_string(path).expect("reads");
        assert!(!said.contains("HUNTER2") && !said.contains(" 9 -> "), "{said}");
    }
}
