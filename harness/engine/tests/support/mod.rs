//! A site in this process: the real API server, a stand-in for the kubelet, and containers that are child processes
//! of the test, so that probes are real and go to servers on the loopback.

#![allow(dead_code, reason = "each test program uses its part of this")]

pub mod agent;
pub mod console;
pub mod kubelet;
pub mod pods;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kube::Client;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use trunkline_engine::{
    AgentDelivery, Capabilities, CaseOutcome, Cleanup, EvidenceRequest, RunOptions, Site,
    SiteError,
    events::{self, Convergence, Event, EventKind, Evidence, Failure, RunId, StepOutcome},
};
use trunkline_scenario::{Suite, model::Scenario};

/// Where the site says that the agent is. The connector knows better.
pub const AGENT: &str = "/.trunkline/agent";

#[derive(Clone)]
pub struct World {
    pub client: Client,
    pub capabilities: Capabilities,
    pub delivery: AgentDelivery,
    /// What the site answers when it is asked for evidence.
    pub evidence: Option<Evidence>,
    pub asked: Arc<Mutex<Vec<EvidenceRequest>>>,
    pub barriers: Arc<Mutex<u32>>,
    /// Why the site turns every scenario away.
    pub closed: Option<String>,
    /// The directory scenarios are written to; gone with the world.
    folder: Arc<tempfile::TempDir>,
    _kubelet: Arc<tokio_util::task::AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

#[async_trait]
impl Site for World {
    fn name(&self) -> &'static str {
        "test"
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn agent(&self) -> AgentDelivery {
        self.delivery.clone()
    }

    async fn admit(&self, _: &Scenario) -> Result<Vec<String>, SiteError> {
        match &self.closed {
            Some(why) => Err(SiteError::new(why)),
            None => Ok(Vec::new()),
        }
    }

    async fn barrier(&self) -> Result<Option<Convergence>, SiteError> {
        *self.barriers.lock().unwrap() += 1;
        Ok(Some(Convergence {
            took: Duration::from_millis(1),
            zones: [("a".into(), Duration::from_millis(1))].into(),
        }))
    }

    async fn evidence(&self, question: &EvidenceRequest) -> Result<Option<Evidence>, SiteError> {
        self.asked.lock().unwrap().push(question.clone());
        Ok(self.evidence.clone())
    }
}

/// How a run ended and what it told.
pub struct Ran {
    pub outcome: CaseOutcome,
    pub events: Vec<Event>,
}

impl World {
    pub async fn new() -> Self {
        Self::on(None).await
    }

    /// With virtual machines, whose consoles are those of `machines`.
    pub async fn with(machines: &console::Machines) -> Self {
        Self::on(Some(machines)).await
    }

    async fn on(machines: Option<&console::Machines>) -> Self {
        let pods = Arc::new(pods::Children::new(agent::path()));
        let mut server = kubeapi::ApiServer::builder()
            .crd(serde_json::from_str(include_str!("../data/nad-crd.json")).unwrap())
            .pods(pods);
        let definitions: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../data/machine-crds.json")).unwrap();
        for definition in definitions {
            if machines.is_some() {
                server = server.crd(definition);
            }
        }
        let server = server.build().unwrap();
        let client = match machines {
            None => server.client("test"),
            Some(machines) => {
                let rest = server.service_as(kubeapi::User::master("test"));
                machines.client(Some(rest)).await
            }
        };
        let kubelet = kubelet::start(client.clone()).await;
        Self {
            client,
            capabilities: Capabilities {
                sdn: Some("ovn-kubernetes".into()),
                workers: 2,
                vms: machines.is_some(),
                ..Capabilities::default()
            },
            delivery: AgentDelivery::Present(PathBuf::from(AGENT)),
            evidence: None,
            asked: Arc::default(),
            barriers: Arc::default(),
            closed: None,
            folder: Arc::new(tempfile::tempdir().unwrap()),
            _kubelet: Arc::new(kubelet),
        }
    }

    /// Puts a manifest beside the scenario.
    pub fn manifest(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    /// The scenario with these steps, as a file beside the manifests. Every one gets the namespace `blue`.
    pub fn scenario(&self, body: &str) -> Arc<Scenario> {
        let text = format!(
            "apiVersion: trunkline.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: test}}\nspec:\n  title: A test\n{body}"
        );
        let path = self.folder.path().join("test.yaml");
        std::fs::write(&path, text).unwrap();
        let suite = Suite::load([camino::Utf8PathBuf::from_path_buf(path).unwrap()]);
        let errors: Vec<_> = suite
            .diagnostics
            .iter()
            .filter(|one| one.is_error())
            .map(ToString::to_string)
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        suite.scenarios.first().cloned().expect("one scenario")
    }

    pub async fn run(&self, body: &str) -> Ran {
        self.run_with(body, RunOptions::default()).await
    }

    pub async fn run_with(&self, body: &str, options: RunOptions) -> Ran {
        let scenario = self.scenario(body);
        let (sender, mut receiver) = events::channel(RunId::random());
        let site = Arc::new(self.clone());
        // On a task of its own, as programs that run several cases do it.
        let run =
            tokio::spawn(
                async move { trunkline_engine::run(&scenario, site, options, &sender).await },
            );
        let outcome = tokio::time::timeout(Duration::from_secs(60), run)
            .await
            .expect("runs end")
            .expect("runs do not panic");
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        Ran { outcome, events }
    }

    /// Options that leave everything behind to be looked at.
    pub fn leave() -> RunOptions {
        RunOptions {
            cleanup: Cleanup::Leave,
            ..RunOptions::default()
        }
    }
}

impl Ran {
    #[track_caller]
    pub fn passed(&self) -> &Self {
        assert_eq!(
            self.outcome,
            CaseOutcome::Passed,
            "{:#?}",
            self.events
                .iter()
                .map(|event| &event.kind)
                .collect::<Vec<_>>()
        );
        self
    }

    /// The failures of the only step that failed.
    #[track_caller]
    pub fn failures(&self) -> Vec<Failure> {
        let failed: Vec<_> = self
            .outcomes()
            .into_iter()
            .filter_map(|outcome| match outcome {
                StepOutcome::Failed { failures } => Some(failures),
                StepOutcome::Broken { failure } => Some(vec![*failure]),
                _ => None,
            })
            .collect();
        assert_eq!(failed.len(), 1, "{:?} {:#?}", self.outcome, self.outcomes());
        failed.into_iter().flatten().collect()
    }

    #[track_caller]
    pub fn failure(&self) -> Failure {
        let failures = self.failures();
        assert_eq!(failures.len(), 1, "{failures:#?}");
        failures.into_iter().next().unwrap()
    }

    pub fn outcomes(&self) -> Vec<StepOutcome> {
        self.events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::StepFinished { outcome, .. } => Some(outcome.clone()),
                _ => None,
            })
            .collect()
    }

    /// Events of one sort, in their order.
    pub fn of<T>(&self, pick: impl Fn(&EventKind) -> Option<T>) -> Vec<T> {
        self.events
            .iter()
            .filter_map(|event| pick(&event.kind))
            .collect()
    }
}

/// An HTTP server on the loopback that answers every request with the same body; its port.
pub async fn http(body: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

/// A port on which nobody listens.
pub async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A port that takes connections and never says anything.
pub async fn silent_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    port
}
