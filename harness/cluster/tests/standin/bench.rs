//! A machine whose Docker, kind, helm and cluster are stand-ins, and a child process that works on it.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use serde_json::{Value, json};
use sha2::Digest;
use trunkline_cluster::component::{self, Checksum, Profile};

use crate::{cluster::Cluster, daemon::Daemon, driver::Job, sources};

const KIND: &str = include_str!("kind.sh");
const HELM: &str = include_str!("helm.sh");

pub struct Bench {
    pub directory: tempfile::TempDir,
    pub daemon: Arc<Daemon>,
    pub cluster: Cluster,
    pub job: Job,
    runtime: tokio::runtime::Runtime,
}

/// How a child ended: what it told, and the error if it had one.
#[derive(Debug)]
pub struct Ended {
    pub said: Vec<String>,
    pub answer: Result<String, String>,
}

impl Bench {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (daemon, cluster) = runtime.block_on(async {
            (
                Daemon::start(directory.path()),
                Cluster::start(directory.path()).await,
            )
        });
        let bench = Self {
            job: Job {
                verb: "up".into(),
                state: directory.path().join("state"),
                cache: directory.path().join("cache"),
                profile: Profile::Plain,
                everything: false,
                images: None,
                deadline_seconds: 20,
                pinned: BTreeMap::new(),
            },
            directory,
            daemon,
            cluster,
            runtime,
        };
        bench.program("kind", KIND);
        bench.program("helm", HELM);
        bench
    }

    /// With everything OVN-Kubernetes' profile can have, from a directory: nothing comes off the net.
    pub fn ovn_kubernetes() -> Self {
        let mut bench = Self::new();
        let images = bench.path("images");
        std::fs::create_dir(&images).unwrap();
        for source in component::all()
            .iter()
            .flat_map(|component| &component.sources)
        {
            if let Checksum::GitTree(id) = &source.checksum {
                // As if it had been unpacked before.
                let directory = source.directory.as_deref().unwrap();
                let chart = bench
                    .path("cache")
                    .join("platform")
                    .join(id)
                    .join(directory);
                std::fs::create_dir_all(&chart).unwrap();
                std::fs::write(chart.join("values-single-node-zone.yaml"), "tags: {}\n").unwrap();
                continue;
            }
            let text = sources::text(&source.name);
            std::fs::write(images.join(&source.name), text).unwrap();
            bench
                .job
                .pinned
                .insert(source.name.clone(), hex::encode(sha2::Sha256::digest(text)));
        }
        for image in component::all()
            .iter()
            .flat_map(|component| &component.images)
        {
            let name = image.reference.replace(['/', ':'], "-");
            sources::archive(&images.join(format!("{name}.tar")), &image.reference);
        }
        bench.job.profile = Profile::OvnKubernetes;
        bench.job.everything = true;
        bench.job.images = Some(images);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn program(&self, name: &str, text: &str) {
        let bin = self.path("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join(name), text).unwrap();
        std::fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub fn without(&self, program: &str) {
        std::fs::remove_file(self.path("bin").join(program)).unwrap();
    }

    /// Makes a stand-in program fail with these words, or hang.
    pub fn spoil(&self, how: &str, words: &str) {
        std::fs::write(self.path(how), words).unwrap();
    }

    pub fn mend(&self, how: &str) {
        std::fs::remove_file(self.path(how)).unwrap();
    }

    /// What kind and helm were called with.
    pub fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// A kind cluster of the same name that nobody here made.
    pub fn stranger(&self) {
        let nodes = json!({"nodes": [{"role": "control-plane", "image": "kindest/node"}]});
        std::fs::write(self.path("nodes.json"), nodes.to_string()).unwrap();
    }

    pub fn nodes(&self) -> usize {
        let Ok(text) = std::fs::read_to_string(self.path("nodes.json")) else {
            return 0;
        };
        let config: Value = serde_json::from_str(&text).unwrap();
        config["nodes"].as_array().unwrap().len()
    }

    /// A child that does the job, with nothing of this machine but its shell.
    pub fn spawn(&self, verb: &str) -> Child {
        let job = Job {
            verb: verb.into(),
            ..self.job.clone()
        };
        Command::new(std::env::current_exe().unwrap())
            .arg("__driver")
            .arg(serde_json::to_string(&job).unwrap())
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("HOME", self.directory.path())
            .env("STANDIN", self.directory.path())
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.daemon.socket.display()),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap()
    }

    pub fn run(&self, verb: &str) -> Ended {
        let output = self.spawn(verb).wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut said: Vec<String> = text.lines().map(str::to_owned).collect();
        let last = said
            .pop()
            .unwrap_or_else(|| panic!("the driver said nothing ({})", output.status));
        let answer: Result<String, String> = serde_json::from_str(&last).unwrap();
        Ended { said, answer }
    }

    /// Runs a job that must succeed.
    pub fn done(&self, verb: &str) -> Vec<String> {
        let ended = self.run(verb);
        match ended.answer {
            Ok(_) => ended.said,
            Err(error) => panic!("{verb}: {error}\n{}", ended.said.join("\n")),
        }
    }

    pub fn refused(&self, verb: &str) -> String {
        self.run(verb).answer.unwrap_err()
    }

    pub fn status(&self) -> String {
        self.run("status").answer.unwrap()
    }

    /// Returns when the file is there, which a stand-in writes.
    pub fn wait_for(&self, name: &str) {
        let path: &Path = &self.path(name);
        for _ in 0..200 {
            if path.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{name} never came");
    }
}
