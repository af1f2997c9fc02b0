//! What tests say and ask.
#![allow(clippy::needless_pass_by_value)] // literals read best by value

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::Resource;
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use kubeapi::{ExecOptions, LogOptions, PodConnector, Streams};
use libtest_mimic::Failed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cluster::{Cluster, IMAGE};

pub struct Context {
    pub cluster: Arc<Cluster>,
    pub namespace: String,
}

pub fn fail(text: impl Into<String>) -> Failed {
    Failed::from(text.into())
}

/// How long anything may take that should take no time.
const SOON: Duration = Duration::from_secs(20);

impl Context {
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    pub async fn create<K>(&self, object: Value) -> Result<K, Failed>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let object: K = serde_json::from_value(object)?;
        Ok(self
            .api::<K>()
            .create(&PostParams::default(), &object)
            .await?)
    }

    /// A pod with one container `c`, and what the test adds.
    pub async fn pod(&self, name: &str, container: Value, spec: Value) -> Result<Pod, Failed> {
        let mut object = json!({
            "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0},
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        object["spec"]["containers"] = json!([self::container("c", container)]);
        self.create(object).await
    }

    pub async fn script(&self, name: &str, script: &str) -> Result<Pod, Failed> {
        self.pod(name, json!({"command": ["sh", "-c", script]}), json!({}))
            .await
    }

    /// Waits until something is true of an object, and returns it.
    pub async fn until<K>(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&K) -> bool + Send,
    ) -> Result<K, Failed>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize
            + Send
            + 'static,
    {
        let condition =
            await_condition(self.api::<K>(), name, |o: Option<&K>| o.is_some_and(&holds));
        match timeout(SOON, condition).await {
            Ok(Ok(Some(object))) => Ok(object),
            Ok(Ok(None)) => Err(fail(format!("{name} went away before it was {what}"))),
            Ok(Err(error)) => Err(fail(format!("watching {name}: {error}"))),
            Err(_) => {
                let now = self.api::<K>().get_opt(name).await?;
                let now = serde_json::to_string_pretty(&now)?;
                Err(fail(format!(
                    "{name} is not {what}, but:\n{now}\n{}",
                    self.events().await?
                )))
            }
        }
    }

    pub async fn phase(&self, name: &str, phase: &str) -> Result<Pod, Failed> {
        self.until(name, phase, |p: &Pod| {
            p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(phase)
        })
        .await
    }

    pub async fn ready(&self, name: &str) -> Result<Pod, Failed> {
        self.until(name, "ready", is_ready).await
    }

    /// Waits until the container `c` waits for this reason; returns the message.
    pub async fn waiting(&self, name: &str, reason: &str) -> Result<String, Failed> {
        let waiting = |p: &Pod| {
            let state = status(p, "c")?.state.clone()?.waiting?;
            (state.reason.as_deref() == Some(reason)).then(|| state.message.unwrap_or_default())
        };
        let pod = self
            .until(name, reason, |p: &Pod| waiting(p).is_some())
            .await?;
        waiting(&pod).ok_or_else(|| fail("the state changed back"))
    }

    pub async fn gone(&self, name: &str) -> Result<(), Failed> {
        self.until_gone::<Pod>(name).await
    }

    pub async fn until_gone<K>(&self, name: &str) -> Result<(), Failed>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let gone = await_condition(self.api::<K>(), name, |object: Option<&K>| object.is_none());
        timeout(SOON, gone)
            .await
            .map_err(|_| fail(format!("{name} is still there")))??;
        Ok(())
    }

    pub async fn delete(&self, name: &str) -> Result<(), Failed> {
        self.api::<Pod>()
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    pub async fn logs(&self, name: &str) -> Result<String, Failed> {
        Ok(self.api::<Pod>().logs(name, &LogParams::default()).await?)
    }

    /// All events of the namespace, a line each.
    pub async fn events(&self) -> Result<String, Failed> {
        let events = self.api::<Event>().list(&ListParams::default()).await?;
        let lines: Vec<String> = events
            .iter()
            .map(|e| {
                format!(
                    "{} {} {}: {}",
                    e.type_.as_deref().unwrap_or_default(),
                    e.involved_object.name.as_deref().unwrap_or_default(),
                    e.reason.as_deref().unwrap_or_default(),
                    e.message.as_deref().unwrap_or_default()
                )
            })
            .collect();
        Ok(lines.join("\n"))
    }

    /// Waits until there is an event with this line in it.
    pub async fn event(&self, text: &str) -> Result<(), Failed> {
        let api = self.api::<Event>();
        let stream = kube::runtime::watcher(api, kube::runtime::watcher::Config::default());
        let mut stream = std::pin::pin!(stream);
        let found = async {
            loop {
                if self.events().await?.contains(text) {
                    return Ok::<_, Failed>(());
                }
                stream.next().await;
            }
        };
        match timeout(SOON, found).await {
            Ok(found) => found,
            Err(_) => Err(fail(format!(
                "no event {text:?} in\n{}",
                self.events().await?
            ))),
        }
    }

    pub async fn exec(
        &self,
        pod: &str,
        command: &[&str],
        input: Option<&str>,
    ) -> Result<(i32, String, String), Failed> {
        let mut session = self.session(pod, command, false);
        if let Some(input) = input {
            session.stdin.write_all(input.as_bytes()).await?;
        }
        session.finish().await
    }

    pub fn session(&self, pod: &str, command: &[&str], tty: bool) -> Session {
        let options = ExecOptions {
            container: "c".to_owned(),
            command: command.iter().map(|c| (*c).to_owned()).collect(),
            stdin: true,
            stdout: true,
            stderr: !tty,
            tty,
        };
        self.open(pod, options, false)
    }

    pub fn open(&self, pod: &str, options: ExecOptions, attach: bool) -> Session {
        let (stdin, their_stdin) = tokio::io::duplex(4096);
        let (stdout, their_stdout) = tokio::io::duplex(4096);
        let (stderr, their_stderr) = tokio::io::duplex(4096);
        let (resize, their_resize) = mpsc::channel(4);
        let streams = Streams {
            stdin: Some(Box::new(their_stdin)),
            stdout: Some(Box::new(their_stdout)),
            stderr: options.stderr.then(|| Box::new(their_stderr) as _),
            resize: their_resize,
        };
        let connector = self.cluster.connector.clone();
        let (namespace, pod) = (self.namespace.clone(), pod.to_owned());
        let exit = tokio::spawn(async move {
            let exit = if attach {
                connector.attach(&namespace, &pod, options, streams).await
            } else {
                connector.exec(&namespace, &pod, options, streams).await
            };
            exit.map(|e| e.code).map_err(|status| status.message)
        });
        Session {
            stdin,
            stdout,
            stderr,
            resize,
            exit,
        }
    }

    pub async fn log_options(&self, pod: &str, options: LogOptions) -> Result<String, Failed> {
        let mut stream = self
            .cluster
            .connector
            .logs(&self.namespace, pod, options)
            .await
            .map_err(|s| fail(s.message))?;
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk?));
        }
        Ok(text)
    }
}

/// One exec or attach.
pub struct Session {
    pub stdin: DuplexStream,
    pub stdout: DuplexStream,
    pub stderr: DuplexStream,
    pub resize: mpsc::Sender<kubeapi::TerminalSize>,
    pub exit: JoinHandle<Result<i32, String>>,
}

impl Session {
    /// Ends the input and waits for the end of everything.
    pub async fn finish(self) -> Result<(i32, String, String), Failed> {
        let Self {
            stdin,
            mut stdout,
            mut stderr,
            exit,
            resize,
        } = self;
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        let (a, b, code) = timeout(SOON, async {
            tokio::join!(
                stdout.read_to_string(&mut out),
                stderr.read_to_string(&mut err),
                exit
            )
        })
        .await
        .map_err(|_| fail("the session does not end"))?;
        a?;
        b?;
        drop(resize);
        Ok((code?.map_err(fail)?, out, err))
    }

    /// Reads until this text has come.
    pub async fn expect(&mut self, text: &str) -> Result<String, Failed> {
        let mut seen = String::new();
        let mut buffer = [0; 1024];
        while !seen.contains(text) {
            let n = timeout(SOON, self.stdout.read(&mut buffer))
                .await
                .map_err(|_| fail(format!("no {text:?} in {seen:?}")))??;
            if n == 0 {
                return Err(fail(format!(
                    "the output ended after {seen:?}, without {text:?}"
                )));
            }
            seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        Ok(seen)
    }
}

pub fn container(name: &str, fields: Value) -> Value {
    let mut container = json!({"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent"});
    for (key, value) in fields.as_object().into_iter().flatten() {
        container[key] = value.clone();
    }
    container
}

pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready") == Some("True")
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| c.type_ == kind)
        .map(|c| c.status.as_str())
}

pub fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    status
        .container_statuses
        .iter()
        .flatten()
        .chain(init)
        .find(|c| c.name == container)
}

/// The exit code and reason of a container that has ended.
pub fn ended(pod: &Pod, container: &str) -> Option<(i32, String)> {
    let end = status(pod, container)?.state.clone()?.terminated?;
    Some((end.exit_code, end.reason.unwrap_or_default()))
}

pub fn check(holds: bool, text: impl Into<String>) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(fail(text)) }
}

pub fn equal<T: PartialEq + Debug>(got: T, expected: T) -> Result<(), Failed> {
    check(
        got == expected,
        format!("got {got:?}, expected {expected:?}"),
    )
}
