//! The server that conversations are held with: kubeapi, or a real one.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kubeapi::{ApiServer, Pki};
use serde_json::Value;

use crate::answer::{Answer, Record};
use crate::normal::sort;
use crate::speaker;

/// What to hold conversations with, and which record to compare with.
#[derive(Debug)]
pub struct Against {
    real: Option<(String, String)>,
    record: PathBuf,
    write: Option<PathBuf>,
}

/// A server that is up.
pub struct Up {
    pub ways: speaker::Server,
    pub kubeconfig: String,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Against {
    pub fn from_environment() -> Self {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let real = path("TRUNKLINE_REAL_KUBECONFIG").map(|path| {
            let kubeconfig = std::fs::read_to_string(path).unwrap();
            (
                kubeconfig,
                std::env::var("TRUNKLINE_REAL_VERSION").unwrap_or_default(),
            )
        });
        Self {
            real,
            record: path("TRUNKLINE_PARITY_RECORD").unwrap_or_else(|| crate::here("recorded")),
            write: path("TRUNKLINE_PARITY_WRITE"),
        }
    }

    pub fn is_real(&self) -> bool {
        self.real.is_some()
    }

    pub fn writes(&self) -> bool {
        self.write.is_some()
    }

    pub async fn server(&self) -> Up {
        match &self.real {
            Some((kubeconfig, _)) => up(kubeconfig.clone(), None).await,
            None => ours().await,
        }
    }

    pub fn read(&self, name: &str) -> Option<Record> {
        let text = std::fs::read_to_string(self.record.join(format!("{name}.json"))).ok()?;
        Some(
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("record of {name}: {error}")),
        )
    }

    pub fn write(&self, name: &str, answers: &[Answer]) {
        let Some(directory) = &self.write else {
            return;
        };
        let server = match &self.real {
            Some((_, version)) => format!("kube-apiserver {version}"),
            None => "kubeapi".to_owned(),
        };
        let record = Record {
            server,
            answers: answers.to_vec(),
        };
        let record: Value = sort(&serde_json::to_value(record).unwrap());
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        serde::Serialize::serialize(&record, &mut serializer).unwrap();
        text.push(b'\n');
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join(format!("{name}.json")), text).unwrap();
    }
}

/// kubeapi on a socket, as bare as the real server of the rig: no controllers, no kubelets.
async fn ours() -> Up {
    let server = ApiServer::builder().without_controllers().build().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let pki = Arc::new(Pki::generate(&["127.0.0.1".to_owned()]).unwrap());
    let kubeconfig = pki
        .kubeconfig(&url, "kubeapi", "admin", &["system:masters"])
        .unwrap();
    let task = tokio::spawn(async move {
        let serving = server.serve(listener, &pki, std::future::pending());
        serving.await.unwrap();
    });
    up(kubeconfig, Some(task)).await
}

async fn up(kubeconfig: String, task: Option<tokio::task::JoinHandle<()>>) -> Up {
    let parsed = Kubeconfig::from_yaml(&kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await;
    let mut config = config.unwrap();
    // Open watches are silent for as long as nothing happens.
    config.read_timeout = None;
    // Refusals are what we want to see.
    config.default_retry = false;
    let mut anonymous = config.clone();
    anonymous.auth_info = AuthInfo::default();
    let ways = speaker::Server {
        admin: kube::Client::try_from(config).unwrap(),
        nobody: kube::Client::try_from(anonymous).unwrap(),
    };
    Up {
        ways,
        kubeconfig,
        task,
    }
}
