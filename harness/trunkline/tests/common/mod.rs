//! What the tests of the command line share.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use kube::config::{KubeConfigOptions, Kubeconfig};
use rustix::process::PidfdFlags;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::Pid,
};

/// The binary a user has, in the repository's root.
pub fn trunkline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    command
}

/// Why no lab can run here, if that is so.
pub fn host_lacks() -> Option<String> {
    let output = trunkline().args(["doctor", "--json"]).output().ok()?;
    if output.status.success() {
        return None;
    }
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).ok()?;
    let failed = checks.iter().find(|check| check["status"] == "failed")?;
    Some(format!("this machine cannot run a lab: {}: {}", failed["title"], failed["found"]))
}

/// A lab that `up` keeps until this is dropped.
pub struct Lab {
    name: String,
    kubeconfig: PathBuf,
}

impl Lab {
    pub fn up(name: &str) -> Self {
        let output = trunkline().args(["up", "--name", name]).output().expect("trunkline runs");
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "up: {errors}");
        let kubeconfig = told.trim().strip_prefix("export KUBECONFIG=").unwrap_or_else(|| panic!("up printed {told:?}"));
        Self { name: name.to_owned(), kubeconfig: kubeconfig.into() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// What the API answers to a GET.
    pub fn get(&self, path: &str) -> serde_json::Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            let client = kube::Client::try_from(config.expect("a usable kubeconfig")).expect("a client");
            let request = http::Request::get(path).body(Vec::new()).expect("a request");
            let text = client.request_text(request).await.expect("an answer");
            serde_json::from_str(&text).expect("JSON")
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = trunkline().args(["down", "--name", &self.name]).output();
    }
}

/// A process, held so that its id cannot come to mean another.
pub struct Process {
    pid: Pid,
    name: String,
    handle: OwnedFd,
}

impl Process {
    fn open(pid: Pid) -> Option<Self> {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let handle = rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid.as_raw())?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, name: name.trim().to_owned(), handle })
    }

    /// Waits until the process is gone.
    pub fn wait_gone(self, limit: Duration) -> Result<(), String> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(1) => Ok(()),
            _ => Err(format!("process {} ({}) is still there after {limit:?}", self.pid, self.name)),
        }
    }
}

/// A process and everything below it.
pub fn family(root: Pid) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut left = vec![root];
    while let Some(pid) = left.pop() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            left.extend(children.split_whitespace().filter_map(|child| child.parse().ok()).map(Pid::from_raw));
        }
        if pid != root {
            found.extend(Process::open(pid));
        }
    }
    found
}
