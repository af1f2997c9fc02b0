//! What the tests of whole labs share: where the root file system is, and a judge that sees whatever a lab leaves.
//!
//! Each test runs in a process of its own, the judge. It is the reaper of everything below it, so "no process is left"
//! is not a guess: the kernel says that there are no children. As root it also has its own mount and network
//! namespaces, so that a mount or an interface that appears there can only be the lab's.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, Uid};
use trunkline_fabric::NetNs;
use trunkline_lab::boot::{BootSpec, LogTo};
use trunkline_lab::doctor::{self, CheckId, Status};
use trunkline_userland::Cache;
use trunkline_userland::rootfs::{self, RootKind};

const JUDGE: &str = "__judge";
const ROOTFS: &str = "TRUNKLINE_TEST_ROOTFS";

/// For the end of processes that have been told to end.
const END_LIMIT: Duration = Duration::from_secs(20);

pub type Verdict = Result<(), String>;
pub type Test = fn(PathBuf) -> Pin<Box<dyn Future<Output = Verdict>>>;

/// Runs the named tests, or one of them if this process is its judge. Call after `main_if_reexec`.
pub fn main(tests: &'static [(&'static str, Test)]) -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == JUDGE) {
        return judge(tests, &args[2], Path::new(&args[3]));
    }
    let trials = tests
        .iter()
        .map(|(name, _)| Trial::ignorable_test(*name, move || trial(name)))
        .collect();
    let mut arguments = Arguments::from_args();
    // Two labs at a time are a test of their own; the others measure.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str) -> Result<Completion, Failed> {
    let rootfs = match find_rootfs() {
        Ok(rootfs) => rootfs,
        Err(reason) => {
            eprintln!("{name} skipped: {reason}");
            return Ok(Completion::ignored_with(reason));
        }
    };
    let output = Command::new("/proc/self/exe")
        .args([JUDGE, name])
        .arg(rootfs)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        eprint!("{said}");
        return Ok(Completion::Completed);
    }
    Err(Failed::from(format!("{}\n{said}", output.status)))
}

/// The root file system to test with, or why there is nothing to test.
fn find_rootfs() -> Result<PathBuf, String> {
    let missing = doctor::examine(Path::new("/"))
        .into_iter()
        .find(|check| check.status == Status::Failed && check.id != CheckId::RootFsBuilder);
    if let Some(check) = missing {
        return Err(format!("{}: {}", check.title, check.found));
    }
    if let Some(path) = std::env::var_os(ROOTFS) {
        return Ok(path.into());
    }
    let cache = Cache::locate().map_err(|error| error.to_string())?;
    match rootfs::find(&cache, RootKind::Lab) {
        Ok(Some(found)) => Ok(found.path),
        Ok(None) => Err(format!(
            "no root file system in {}, and {ROOTFS} names none",
            cache.root().display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// A lab with this configuration, its log on standard error.
pub fn spec(rootfs: &Path, config: &impl serde::Serialize) -> BootSpec {
    BootSpec {
        rootfs: rootfs.to_owned(),
        cache: rootfs.to_owned(),
        listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        config: serde_json::to_value(config).unwrap(),
        log: LogTo::Stderr,
    }
}

fn judge(tests: &[(&str, Test)], name: &str, rootfs: &Path) -> ExitCode {
    let Some((_, test)) = tests.iter().find(|(known, _)| *known == name) else {
        eprintln!("no test {name}");
        return ExitCode::FAILURE;
    };
    set_child_subreaper(true).unwrap();
    if Uid::effective().is_root() {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let verdict = runtime.block_on(async {
        if Uid::effective().is_root() {
            NetNs::current().await.unwrap();
        }
        let before = World::look();
        let verdict = test(rootfs.to_owned()).await;
        (verdict, before)
    });
    drop(runtime);
    let (verdict, before) = verdict;
    let result = verdict
        .and_then(|()| wait_until_childless())
        .and_then(|()| before.compare(&World::look()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            kill_descendants();
            ExitCode::FAILURE
        }
    }
}

/// What a failed test has left must not outlive it. Orphans come to this process, so children are enough.
fn kill_descendants() {
    loop {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            // Gone meanwhile is as good.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

/// Of any thread of this process.
pub fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|children| {
            let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
            pids.map(Pid::from_raw).collect::<Vec<_>>()
        })
        .collect()
}

/// Reaps until the kernel says that no descendant is left.
pub fn wait_until_childless() -> Verdict {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        loop {
            match waitpid(None, None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => break,
                Err(errno) => panic!("waitpid: {errno}"),
            }
        }
        let _ = sender.send(());
    });
    receiver
        .recv_timeout(END_LIMIT)
        .map_err(|_| format!("processes are left after {END_LIMIT:?}: {:?}", children()))
}

/// What the host sees of a lab.
#[derive(Debug, PartialEq, Eq)]
struct World {
    mounts: BTreeSet<String>,
    interfaces: BTreeSet<String>,
}

impl World {
    fn look() -> Self {
        let lines = |file: &str, first: usize| -> BTreeSet<String> {
            let text = fs::read_to_string(file).unwrap();
            text.lines().skip(first).map(str::to_owned).collect()
        };
        let name = |line: String| line.split(':').next().unwrap_or_default().trim().to_owned();
        Self {
            mounts: lines("/proc/self/mountinfo", 0),
            interfaces: lines("/proc/self/net/dev", 2)
                .into_iter()
                .map(name)
                .collect(),
        }
    }

    fn compare(&self, after: &Self) -> Verdict {
        if self == after {
            return Ok(());
        }
        Err(format!("the host changed from\n{self:#?}\nto\n{after:#?}"))
    }
}
