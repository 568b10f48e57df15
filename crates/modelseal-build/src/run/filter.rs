//! Which system calls a command in a sandbox cannot make: a program for the kernel's seccomp.
//!
//! Namespaces keep a command from what it cannot name. This keeps it from making new ones, in which it could
//! unmount what hides a key, and from parts of the kernel that are in no namespace or that no training needs.

#[cfg(target_os = "linux")]
pub(super) use linux::filter;

/// There is none for this system.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(super) fn filter(_network: bool, _root: bool) -> Result<Vec<u8>, String> {
    Err("there is no filter of system calls for this system".to_string())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule, TargetArch, sock_filter,
    };

    /// Denied whatever the arguments are.
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
        // Files by handles, past every mount.
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

    /// The same number everywhere; too new for the C library.
    const OPEN_TREE_ATTR: i64 = 467;

    /// As if the kernel had never heard of them: programs then do without. The flags of `clone3` and
    /// `openat2` lie in memory, where no filter sees them; io_uring makes system calls that no filter sees.
    const UNKNOWN: [i64; 5] = [
        libc::SYS_openat2,
        libc::SYS_clone3,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_io_uring_setup,
    ];

    /// Makes whoever runs a file its owner: of root's, anybody could.
    const SET_USER: u64 = 0o4000;

    /// The same for its group. Denied to root, who can give a file to any group; others share directories by it.
    const SET_GROUP: u64 = 0o2000;

    /// Makes a file that has no name yet (`__O_TMPFILE`).
    const UNNAMED: u64 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;

    /// Calls that give a file its mode, and which argument that is.
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

    /// The same number everywhere; too new for the C library.
    const FCHMODAT2: i64 = 452;

    /// Flags of `clone` and `unshare` that make a namespace.
    const NAMESPACES: [i32; 7] = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];

    /// Only `unshare` knows it; to `clone` it is part of a signal's number.
    const CLONE_NEWTIME: u64 = 0x80;

    /// What types into a terminal.
    const TYPING: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

    /// Numbers from here on belong to the x32 calls of x86-64, which are other names of the same calls.
    #[cfg(target_arch = "x86_64")]
    const X32: u32 = 0x4000_0000;

    /// The filter, as the kernel reads it. Calls of another architecture end the process.
    ///
    /// # Errors
    /// There is none for this processor.
    pub(in crate::run) fn filter(network: bool, root: bool) -> Result<Vec<u8>, String> {
        program(network, root)
            .map(|program| program.iter().flat_map(bytes).collect())
            .map_err(|error| format!("there is no filter of system calls for this processor ({error})"))
    }

    fn program(network: bool, root: bool) -> Result<BpfProgram, BackendError> {
        let architecture: TargetArch = std::env::consts::ARCH.try_into()?;
        let compile = |rules: Rules, error: i32| -> Result<BpfProgram, BackendError> {
            let errno = SeccompAction::Errno(error as u32);
            SeccompFilter::new(rules, SeccompAction::Allow, errno, architecture)?.try_into()
        };
        let mut program = foreign_calls();
        // The last statement lets everything else pass: what follows takes its place. That is only right
        // where no call has rules in two of them.
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
        // The kernel looks at the lower half of a command of `ioctl`, and at an `int` for a process.
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
        rules.insert(libc::SYS_ioctl, typing.collect::<Result<_, _>>()?);
        rules.insert(libc::SYS_prlimit64, vec![of_others]);
        Ok(rules)
    }

    /// A new file with one of these bits; the mode follows the flags, and counts only if a file is made.
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

    /// As `struct sock_filter` lies in memory.
    fn bytes(statement: &sock_filter) -> [u8; 8] {
        let ([code0, code1], [k0, k1, k2, k3]) = (statement.code.to_ne_bytes(), statement.k.to_ne_bytes());
        [code0, code1, statement.jt, statement.jf, k0, k1, k2, k3]
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn no_call_has_rules_in_two_programs() {
            let denied = denied(true).expect("compiles");
            assert!(UNKNOWN.iter().chain(&[libc::SYS_socket]).all(|call| !denied.contains_key(call)));
            let lengths = [true, false].map(|network| filter(network, true).expect("compiles").len());
            assert!(lengths[0] < lengths[1] && lengths[1] < 4096 * 8, "{lengths:?}");
        }
    }
}
