//! Processes and what they leave.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::{WaitPidFlag, waitpid},
    unistd::Pid,
};
use rustix::process::PidfdFlags;

/// A process, held so that its id cannot come to mean another.
pub struct Process {
    pub pid: Pid,
    name: String,
    handle: OwnedFd,
}

impl Process {
    pub fn open(pid: Pid) -> Option<Self> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let raw = rustix::process::Pid::from_raw(pid.as_raw())?;
        let handle = rustix::process::pidfd_open(raw, PidfdFlags::empty()).ok()?;
        Some(Self {
            pid,
            name: name.trim().to_owned(),
            handle,
        })
    }

    /// Waits until the process has ended.
    pub fn wait_gone(&self, limit: Duration) -> Result<(), String> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(1) => Ok(()),
            _ => Err(format!(
                "process {} ({}) is still there after {limit:?}",
                self.pid, self.name
            )),
        }
    }

    /// The control groups it is in.
    pub fn cgroups(&self) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).ok()
    }
}

/// The namespaces a process (by its name in /proc) is in, as `net:[4026531840]`.
pub fn namespaces(process: &str) -> BTreeSet<String> {
    ["net", "mnt", "pid", "ipc", "uts"]
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok())
        .map(|link| link.display().to_string())
        .collect()
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .flat_map(|task| {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            children
                .split_whitespace()
                .filter_map(|child| child.parse().ok())
                .map(Pid::from_raw)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Everything below a process.
pub fn family(root: Pid) -> Vec<Process> {
    let mut found = Vec::new();
    let mut left = children(root);
    while let Some(pid) = left.pop() {
        left.extend(children(pid));
        found.extend(Process::open(pid));
    }
    found
}

/// Looks again and again until there is something to see. For what nothing tells of, such as births.
pub fn soon<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = look();
        if seen.is_some() || Instant::now() > deadline {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// From now on whoever loses its parent below this process becomes its child: nobody gets out of sight.
pub fn adopt_orphans() {
    nix::sys::prctl::set_child_subreaper(true).expect("any process may be a subreaper");
}

/// Waits until this process has no child any more, adopted ones included.
pub fn wait_childless(limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    loop {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some())
        {
        }
        let Some(child) = children(Pid::this()).into_iter().find_map(Process::open) else {
            return Ok(());
        };
        child.wait_gone(deadline.saturating_duration_since(Instant::now()))?;
    }
}

/// What could be left of a lab beside processes, as far as this thread can see it.
#[derive(Debug)]
pub struct Traces {
    interfaces: BTreeSet<String>,
    mounts: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Traces {
    /// `scratch` is a directory that only what is looked at uses.
    pub fn now(scratch: &Path) -> Self {
        let interfaces =
            fs::read_to_string("/proc/thread-self/net/dev").expect("the kernel lists interfaces");
        let mounts =
            fs::read_to_string("/proc/thread-self/mountinfo").expect("the kernel lists mounts");
        let mut files = BTreeSet::new();
        let mut left = vec![scratch.to_owned()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    left.push(entry.path());
                }
                files.insert(entry.path().display().to_string());
            }
        }
        Self {
            interfaces: interfaces
                .lines()
                .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
                .collect(),
            mounts: mounts.lines().map(str::to_owned).collect(),
            files,
        }
    }

    /// What is there now and was not before. What went meanwhile is somebody else's affair: the kernel takes a mount out
    /// of every namespace when its directory is removed in another, as Docker does with a container's.
    pub fn since<'a>(&'a self, before: &'a Self) -> Vec<&'a String> {
        let pairs = [
            (&self.interfaces, &before.interfaces),
            (&self.mounts, &before.mounts),
            (&self.files, &before.files),
        ];
        let new =
            |(now, before): (&'a BTreeSet<String>, &'a BTreeSet<String>)| now.difference(before);
        pairs.into_iter().flat_map(new).collect()
    }
}

/// The namespaces that are still in use by somebody or mounted somewhere.
pub fn namespaces_in_use() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let processes = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let mut used: BTreeSet<String> = processes.flat_map(|process| namespaces(&process)).collect();
    let mounts =
        fs::read_to_string("/proc/thread-self/mountinfo").expect("the kernel lists mounts");
    let roots = mounts.lines().filter_map(|line| line.split(' ').nth(3));
    used.extend(roots.filter(|root| root.contains(":[")).map(str::to_owned));
    used
}
