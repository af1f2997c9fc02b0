//! `seccompProfile`.
//!
//! `RuntimeDefault` refuses what the default profiles of container runtimes refuse, written as a list of refusals:
//! it is a tenth of their lists of permissions, so runc compiles it in no time. A system call newer than this
//! list is allowed here and refused there.

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};
use serde_json::{Value, json};

use super::ConfigError;

/// Refused to containers without the capability.
const GUARDED: [(&str, &[&str]); 9] = [
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "swapoff",
            "swapon",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_SYS_BOOT", &["kexec_file_load", "kexec_load", "reboot"]),
    (
        "CAP_SYS_MODULE",
        &[
            "create_module",
            "delete_module",
            "finit_module",
            "init_module",
            "query_module",
        ],
    ),
    ("CAP_SYS_PACCT", &["acct"]),
    (
        "CAP_SYS_PTRACE",
        &[
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
        ],
    ),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    (
        "CAP_SYS_TIME",
        &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
];

/// Refused to everybody.
const NEVER: [&str; 19] = [
    "_sysctl",
    "add_key",
    "get_kernel_syms",
    "get_mempolicy",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "mbind",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "request_key",
    "set_mempolicy",
    "sysfs",
    "uselib",
    "userfaultfd",
    "ustat",
    "vm86",
];

/// New namespaces that `clone` could make: mount, cgroup, UTS, IPC, user, PID, network.
const NAMESPACE_FLAGS: [u64; 7] = [
    0x0002_0000,
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
];

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The profile of a container; None for unconfined ones.
pub(super) fn profile(
    pod: &Pod,
    container: &Container,
    privileged: bool,
) -> Result<Option<Value>, ConfigError> {
    if privileged {
        return Ok(None);
    }
    let own = container
        .security_context
        .as_ref()
        .and_then(|s| s.seccomp_profile.as_ref());
    let pods = pod
        .spec
        .as_ref()
        .and_then(|s| s.security_context.as_ref())
        .and_then(|s| s.seccomp_profile.as_ref());
    let Some(SeccompProfile {
        type_,
        localhost_profile,
    }) = own.or(pods)
    else {
        return Ok(None);
    };
    match type_.as_str() {
        "RuntimeDefault" => Ok(Some(default_profile(&granted(container)))),
        "Localhost" => Err(ConfigError(format!(
            "failed to create container: seccomp profile {:?} of type Localhost: nodes here have no profiles; use RuntimeDefault or Unconfined",
            localhost_profile.as_deref().unwrap_or_default()
        ))),
        _ => Ok(None),
    }
}

fn granted(container: &Container) -> Vec<String> {
    let added = container
        .security_context
        .as_ref()
        .and_then(|s| s.capabilities.as_ref())
        .and_then(|c| c.add.clone())
        .unwrap_or_default();
    added
        .into_iter()
        .map(|name| {
            let name = name.to_uppercase();
            if name == "ALL" || name.starts_with("CAP_") {
                name
            } else {
                format!("CAP_{name}")
            }
        })
        .collect()
}

fn default_profile(granted: &[String]) -> Value {
    let has = |capability: &str| granted.iter().any(|g| g == capability || g == "ALL");
    let mut refused: Vec<&str> = NEVER.to_vec();
    for (capability, calls) in GUARDED {
        if !has(capability) {
            refused.extend(calls);
        }
    }
    refused.sort_unstable();
    let mut rules = vec![json!({"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM})];
    if !has("CAP_SYS_ADMIN") {
        for flag in NAMESPACE_FLAGS {
            rules.push(json!({
                "names": ["clone"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": EPERM,
                "args": [{"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}],
            }));
        }
        // its flags lie in memory, where no filter can look; libraries fall back to clone
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    let architectures: &[&str] = match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &[],
    };
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules})
}
