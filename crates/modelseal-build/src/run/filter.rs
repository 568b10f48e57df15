//! The system calls that a command in a sandbox cannot make, as a program for the kernel's seccomp.
//!
//! Namespaces keep a command from what it cannot name. The filter keeps it from creating new namespaces, in which it
//! could unmount what hides a key. It also denies parts of the kernel that are in no namespace or that training does
//! not need.

#[cfg(target_os = "linux")]
pub(super) use linux::filter;

/// No filter exists for this system.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(super) fn filter(_network: bool, _root: bool) -> Result<Vec<u8>, String> {
    Err("system calls cannot be filtered on this operating system".to_string())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule, TargetArch, sock_filter,
    };

    /// Denied for all arguments.
    const DENIED: [i64; 29] = [
        // Keyrings are in no namespace.
        libc::SYS_add_key,
        libc::SYS_keyctl,
        libc::SYS_request_key,
        // The memory and the descriptors of other processes.
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_madvise,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
        // Files by handles, which bypass every mount.
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        // Mounts and namespaces.
        libc::SYS_chroot,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fsopen,
        libc::SYS_fspick,
        libc::SYS_mount,
        libc::SYS_mount_setattr,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        OPEN_TREE_ATTR,
        libc::SYS_pivot_root,
        libc::SYS_setns,
        libc::SYS_umount2,
        // Large parts of the kernel that training does not need.
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_quotactl,
        libc::SYS_syslog,
        libc::SYS_userfaultfd,
    ];

    /// The same number on every architecture. The C library does not define it yet.
    const OPEN_TREE_ATTR: i64 = 467;

    /// These fail as if the kernel did not know them, so that programs do without. No filter sees the flags of `clone3`
    /// and `openat2`, because they are in memory. No filter sees the system calls that io_uring makes.
    const UNKNOWN: [i64; 5] = [
        libc::SYS_openat2,
        libc::SYS_clone3,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_io_uring_setup,
    ];

    /// The set-user-ID bit: a program runs as the owner of its file. With a file of root, any user could become root.
    const SET_USER: u64 = 0o4000;

    /// The set-group-ID bit. Denied only to root, who can give a file to any group. Others use it to share directories.
    const SET_GROUP: u64 = 0o2000;

    /// Creates a file without a name (`__O_TMPFILE`).
    const UNNAMED: u64 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;

    /// Calls that set the mode of a file, with the index of the mode argument.
    const MODES: &[(i64, u8)] = &[
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_chmod, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_creat, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, 1),
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (FCHMODAT2, 2),
        (libc::SYS_mknodat, 2),
    ];

    /// The same number on every architecture. The C library does not define it yet.
    const FCHMODAT2: i64 = 452;

    /// Flags of `clone` and `unshare` that create a namespace.
    const NAMESPACES: [i32; 7] = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];

    /// Only `unshare` knows it. In `clone`, the bit is part of the signal number.
    const CLONE_NEWTIME: u64 = 0x80;

    /// `ioctl` commands that type into a terminal.
    const TYPING: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

    /// The kinds of `ioctl` commands of btrfs and bcachefs. Some of them show a directory a second time, without what is
    /// mounted in it: a snapshot has what is hidden.
    const OF_FILE_SYSTEMS: [u64; 2] = [0x94, 0xbc];

    /// `ioctl` commands with the number of btrfs that all file systems know: FICLONE, FICLONERANGE and FIDEDUPERANGE. They
    /// copy what a command can read.
    const COPYING: [u64; 3] = [0x4004_9409, 0x4020_940d, 0xc018_9436];

    /// On x86-64, numbers from here on are x32 calls, which are other names for the same calls.
    #[cfg(target_arch = "x86_64")]
    const X32: u32 = 0x4000_0000;

    /// Returns the filter in the format that the kernel reads. A call of another architecture ends the process.
    ///
    /// # Errors
    /// A message if there is no filter for this processor.
    pub(in crate::run) fn filter(network: bool, root: bool) -> Result<Vec<u8>, String> {
        program(network, root)
            .map(|program| program.iter().flat_map(bytes).collect())
            .map_err(|error| format!("system calls cannot be filtered on this processor ({error})"))
    }

    fn program(network: bool, root: bool) -> Result<BpfProgram, BackendError> {
        let architecture: TargetArch = std::env::consts::ARCH.try_into()?;
        let compile = |rules: Rules, error: i32| -> Result<BpfProgram, BackendError> {
            let errno = SeccompAction::Errno(error as u32);
            SeccompFilter::new(rules, SeccompAction::Allow, errno, architecture)?.try_into()
        };
        let mut program = foreign_calls();
        // The last statement allows everything else. It is removed here, because the next program follows. This is only
        // correct if no call has rules in two programs.
        program.extend(compile(UNKNOWN.map(|call| (call, Vec::new())).into(), libc::ENOSYS)?);
        program.pop();
        if !network {
            let family = rule(0, SeccompCmpArgLen::Dword, Ne, libc::AF_UNIX as u64)?;
            program.extend(compile([(libc::SYS_socket, vec![family])].into(), libc::EAFNOSUPPORT)?);
            program.pop();
        }
        program.extend(compile(denied(root)?, libc::EPERM)?);
        Ok(program)
    }

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    fn denied(root: bool) -> Result<Rules, BackendError> {
        let bits = if root { &[SET_USER, SET_GROUP][..] } else { &[SET_USER] };
        let flag = |flag: u64| rule(0, SeccompCmpArgLen::Qword, MaskedEq(flag), flag);
        let namespaces = || NAMESPACES.iter().map(|namespace| flag(*namespace as u32 as u64));
        // The kernel reads only the lower half of an `ioctl` command, and an `int` as the number of a process.
        let typing = TYPING.iter().map(|command| rule(1, SeccompCmpArgLen::Dword, Eq, *command));
        let of_others = rule(0, SeccompCmpArgLen::Dword, Ne, 0)?;
        let mut rules: Rules = DENIED.map(|call| (call, Vec::new())).into();
        for &(call, mode) in MODES {
            let denied = bits.iter().map(|bit| rule(mode, SeccompCmpArgLen::Dword, MaskedEq(*bit), *bit));
            rules.insert(call, denied.collect::<Result<_, _>>()?);
        }
        rules.insert(libc::SYS_openat, of_new_file(2, bits)?);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, of_new_file(1, bits)?);
        rules.insert(libc::SYS_clone, namespaces().collect::<Result<_, _>>()?);
        rules.insert(libc::SYS_unshare, namespaces().chain([flag(CLONE_NEWTIME)]).collect::<Result<_, _>>()?);
        let of_file_systems = OF_FILE_SYSTEMS.iter().map(|kind| of_file_system(*kind));
        rules.insert(libc::SYS_ioctl, typing.chain(of_file_systems).collect::<Result<_, _>>()?);
        rules.insert(libc::SYS_prlimit64, vec![of_others]);
        Ok(rules)
    }

    /// The `ioctl` commands of a file system, without those that only copy.
    fn of_file_system(kind: u64) -> Result<SeccompRule, BackendError> {
        let command = |operator, value| SeccompCondition::new(1, SeccompCmpArgLen::Dword, operator, value);
        let is_of_kind = command(MaskedEq(0xff << 8), kind << 8);
        let others = COPYING.iter().map(|copying| command(Ne, *copying));
        SeccompRule::new([is_of_kind].into_iter().chain(others).collect::<Result<_, _>>()?)
    }

    /// Rules for a call that creates a file with one of these bits. The mode is the argument after the flags, and only
    /// counts if a file is created.
    fn of_new_file(flags: u8, bits: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
        let is_set =
            |argument, bit| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, MaskedEq(bit), bit);
        let makes = [libc::O_CREAT as u64, UNNAMED];
        let pairs = makes.iter().flat_map(|make| bits.iter().map(move |bit| (*make, *bit)));
        pairs
            .map(|(make, bit)| SeccompRule::new(vec![is_set(flags, make)?, is_set(flags + 1, bit)?]))
            .collect()
    }

    fn rule(
        argument: u8,
        length: SeccompCmpArgLen,
        operator: SeccompCmpOp,
        value: u64,
    ) -> Result<SeccompRule, BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
    }

    #[cfg(target_arch = "x86_64")]
    fn foreign_calls() -> BpfProgram {
        let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let number = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
        let is_not =
            sock_filter { code: (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16, jt: 0, jf: 1, k: X32 };
        let unknown = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        vec![number, is_not, unknown]
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn foreign_calls() -> BpfProgram {
        Vec::new()
    }

    /// The memory layout of `struct sock_filter`.
    fn bytes(statement: &sock_filter) -> [u8; 8] {
        let ([code0, code1], [k0, k1, k2, k3]) = (statement.code.to_ne_bytes(), statement.k.to_ne_bytes());
        [code0, code1, statement.jt, statement.jf, k0, k1, k2, k3]
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn seccomp_filter_has_each_call_in_one_program_and_fits_the_kernel_limit() {
            let denied = denied(true).expect("compiles");
            assert!(UNKNOWN.iter().chain(&[libc::SYS_socket]).all(|call| !denied.contains_key(call)));
            let lengths = [true, false].map(|network| filter(network, true).expect("compiles").len());
            assert!(lengths[0] < lengths[1] && lengths[1] < 4096 * 8, "{lengths:?}");
        }
    }
}
