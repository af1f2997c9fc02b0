//! What the tests of the command line share.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod process;
pub mod transcript;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use kube::config::{KubeConfigOptions, Kubeconfig};

/// The repository's root: what people's shells stand in.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where the test binaries keep their labs, apart from those of whoever works on this machine.
pub fn runtime_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// The binary a user has, in the repository's root.
pub fn trunkline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command
        .current_dir(root())
        .env("XDG_RUNTIME_DIR", runtime_dir());
    for variable in [
        "RUST_LOG",
        "COLUMNS",
        "TRUNKLINE_DEBIAN_MIRROR",
        "TRUNKLINE_DEBIAN_TIMEOUT",
    ] {
        command.env_remove(variable);
    }
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
    Some(format!(
        "this machine cannot run a lab: {}: {}",
        failed["title"], failed["found"]
    ))
}

/// Ends the test that asks, saying so, where no lab can run.
#[macro_export]
macro_rules! needs_lab {
    () => {
        if let Some(reason) = common::host_lacks() {
            eprintln!("skipped: {reason}");
            return;
        }
    };
}

/// A lab that `up` keeps until this is dropped.
pub struct Lab {
    name: String,
    runtime_dir: PathBuf,
    kubeconfig: PathBuf,
}

impl Lab {
    pub fn up(name: &str) -> Self {
        Self::up_in(&runtime_dir(), name)
    }

    /// Beside the labs of that runtime directory.
    pub fn up_in(runtime_dir: &Path, name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let up = trunkline()
            .env("XDG_RUNTIME_DIR", runtime_dir)
            .args(["up", "--name", &name])
            .output();
        let output = up.expect("trunkline runs");
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "up: {errors}");
        let kubeconfig = told
            .trim()
            .strip_prefix("export KUBECONFIG=")
            .unwrap_or_else(|| panic!("up printed {told:?}"));
        Self {
            name,
            runtime_dir: runtime_dir.to_owned(),
            kubeconfig: kubeconfig.into(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What `trunkline list --labs` says about it.
    pub fn listed(&self) -> Option<serde_json::Value> {
        let mut list = trunkline();
        list.env("XDG_RUNTIME_DIR", &self.runtime_dir)
            .args(["list", "--labs", "--json"]);
        let labs: Vec<serde_json::Value> =
            serde_json::from_slice(&list.output().expect("trunkline runs").stdout).expect("JSON");
        labs.into_iter().find(|lab| lab["name"] == self.name)
    }

    /// What the API answers to a GET.
    pub fn get(&self, path: &str) -> serde_json::Value {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
            let config =
                kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                    .await;
            let client =
                kube::Client::try_from(config.expect("a usable kubeconfig")).expect("a client");
            let request = http::Request::get(path)
                .body(Vec::new())
                .expect("a request");
            let text = client.request_text(request).await.expect("an answer");
            serde_json::from_str(&text).expect("JSON")
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut down = trunkline();
        let _ = down
            .env("XDG_RUNTIME_DIR", &self.runtime_dir)
            .args(["down", "--name", &self.name])
            .output();
    }
}
