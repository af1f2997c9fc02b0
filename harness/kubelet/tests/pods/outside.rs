//! The outer half: what is needed, and how to get into the namespaces.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};
use trunkline_userland::{Cache, RootKind, programs, rootfs};

use crate::tests;

pub const INSIDE: &str = "TRUNKLINE_TEST_INSIDE";
pub const LAB_ROOT: &str = "TRUNKLINE_TEST_LAB_ROOT";
pub const WORKLOAD_ROOT: &str = "TRUNKLINE_TEST_WORKLOAD_ROOT";
pub const HTTP_SERVER: &str = "TRUNKLINE_TEST_HTTP_SERVER";

pub fn run(args: &Arguments) -> ExitCode {
    let found = requirements();
    let reason = match &found {
        Ok(_) if args.list => None,
        Ok(needs) => return inside(needs),
        Err(reason) => Some(reason.clone()),
    };
    if let Some(reason) = &reason {
        eprintln!("tests of real pods are ignored: {reason}");
    }
    let trials = tests::all()
        .into_iter()
        .map(|(name, _)| Trial::test(name, || Ok(())).with_ignored_flag(reason.is_some()))
        .collect();
    libtest_mimic::run(args, trials).exit_code()
}

struct Needs {
    lab: PathBuf,
    workload: PathBuf,
    http_server: PathBuf,
}

fn requirements() -> Result<Needs, String> {
    let cache = Cache::locate().map_err(|e| e.to_string())?;
    let root = |kind, variable: &str| match std::env::var_os(variable) {
        Some(path) => Ok(PathBuf::from(path)),
        None => match rootfs::find(&cache, kind) {
            Ok(Some(root)) => Ok(root.path),
            Ok(None) => Err(format!(
                "the {kind:?} root file system is not in {}; `ci/quickstart` builds it",
                cache.root().display()
            )),
            Err(error) => Err(error.to_string()),
        },
    };
    let probe = unshare()
        .args(["--", "true"])
        .output()
        .map_err(|e| format!("unshare: {e}"))?;
    if !probe.status.success() {
        return Err(format!(
            "no namespaces here: {}",
            String::from_utf8_lossy(&probe.stderr).trim()
        ));
    }
    Ok(Needs {
        lab: root(RootKind::Lab, LAB_ROOT)?,
        workload: root(RootKind::Workload, WORKLOAD_ROOT)?,
        http_server: programs::install(&cache)
            .map_err(|e| e.to_string())?
            .http_server,
    })
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--net",
        "--ipc",
        "--uts",
    ]);
    let forced = std::env::var_os("TRUNKLINE_TEST_USER_NAMESPACE").is_some();
    if forced || !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user", "--map-auto"]);
    }
    command
}

fn inside(needs: &Needs) -> ExitCode {
    let before = cgroups();
    let status = unshare()
        .arg("--")
        .arg(std::env::current_exe().expect("a running program has a path"))
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env(LAB_ROOT, &needs.lab)
        .env(WORKLOAD_ROOT, &needs.workload)
        .env(HTTP_SERVER, &needs.http_server)
        .status();
    if cgroups() != before {
        eprintln!("the machine's cgroups changed");
        return ExitCode::FAILURE;
    }
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("inside the namespaces: {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("unshare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every cgroup that holds what runc would name: 64 hexadecimal digits.
fn cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = queue.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                let name = entry.file_name();
                if name.len() == 64
                    && name
                        .to_string_lossy()
                        .bytes()
                        .all(|b| b.is_ascii_hexdigit())
                {
                    found.push(entry.path());
                }
                queue.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
