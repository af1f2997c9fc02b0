//! Streams as the real kubectl uses them, over WebSockets and over SPDY. Skipped, saying so, where there is no kubectl;
//! `TRUNKLINE_KUBECTL` names one that is not in the path.
//!
//! Commands of a pod run on this machine: what is tested is the way between kubectl and a pod, not the pod.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::{Served, pod, serve};
use futures::stream::BoxStream;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kubeapi::{
    ApiServer, AsyncReadWrite, ExecExit, ExecOptions, LogOptions, PodConnector, Status, Streams,
};
use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// Runs what pods run on this machine.
struct Host;

#[async_trait]
impl PodConnector for Host {
    async fn ready(&self, _: &str, _: &str, container: &str) -> Result<(), Status> {
        if container == "stopped" {
            return Err(Status::new(
                500,
                kubeapi::Reason::Unknown,
                "container not found (\"stopped\")",
            ));
        }
        Ok(())
    }

    async fn exec(
        &self,
        _: &str,
        _: &str,
        opts: ExecOptions,
        mut streams: Streams,
    ) -> Result<ExecExit, Status> {
        let failed = |e: std::io::Error| Status::internal(&e.to_string());
        if opts.command == ["size"] {
            let size = streams.resize.recv().await.unwrap();
            let text = format!("{}x{}\n", size.columns, size.rows);
            let mut stdout = streams.stdout.take().unwrap();
            stdout.write_all(text.as_bytes()).await.map_err(failed)?;
            return Ok(ExecExit { code: 0 });
        }
        let mut child = Command::new(&opts.command[0])
            .args(&opts.command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (mut to, mut from, mut complaints) = (
            child.stdin.take().unwrap(),
            child.stdout.take().unwrap(),
            child.stderr.take().unwrap(),
        );
        let input = tokio::spawn(async move {
            if let Some(mut stdin) = streams.stdin.take() {
                let _ = copy(&mut stdin, &mut to).await;
            }
        });
        let output = async {
            if let Some(mut stdout) = streams.stdout.take() {
                let _ = copy(&mut from, &mut stdout).await;
            }
        };
        let errors = async {
            if let Some(mut stderr) = streams.stderr.take() {
                let _ = copy(&mut complaints, &mut stderr).await;
            }
        };
        let (ended, (), ()) = tokio::join!(child.wait(), output, errors);
        input.abort();
        Ok(ExecExit {
            code: ended.map_err(failed)?.code().unwrap_or(137),
        })
    }

    /// The main process of every pod reads a line and answers it.
    async fn attach(
        &self,
        _: &str,
        pod: &str,
        _: ExecOptions,
        mut streams: Streams,
    ) -> Result<ExecExit, Status> {
        let mut stdout = streams.stdout.take().unwrap();
        let mut line = String::new();
        if let Some(stdin) = streams.stdin.take() {
            BufReader::new(stdin).read_line(&mut line).await.unwrap();
        }
        let answer = format!("{pod} heard {line}");
        stdout.write_all(answer.as_bytes()).await.unwrap();
        Ok(ExecExit { code: 0 })
    }

    async fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        Ok(Box::pin(futures::stream::empty()))
    }

    async fn port_forward(
        &self,
        _: &str,
        _: &str,
        port: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, Status> {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Status::new(
                500,
                kubeapi::Reason::Unknown,
                format!("failed to connect to localhost:{port}: {error}"),
            )),
        }
    }
}

/// What kubectl is told to speak.
#[derive(Debug, Clone, Copy)]
enum Speak {
    WebSocket,
    Spdy,
}

struct Kubectl {
    program: String,
    /// Serves until the test ends.
    _served: Served,
    home: tempfile::TempDir,
    speak: Speak,
}

impl Kubectl {
    /// None when kubectl is not installed. There is a running pod `a` with the containers `main` and `stopped`.
    async fn new(speak: Speak) -> Option<Self> {
        let program = std::env::var("TRUNKLINE_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let found = Command::new(&program)
            .args(["version", "--client"])
            .output()
            .await;
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: kubectl is not installed");
            return None;
        }
        let served = serve(ApiServer::builder().pods(Arc::new(Host)).build().unwrap());
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::default_namespaced(served.server.client("test"));
        let mut object = pod("a");
        object["spec"]["containers"] = json!([
            {"name": "main", "image": "image:1", "stdin": true, "tty": true},
            {"name": "stopped", "image": "image:1"},
        ]);
        object["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/default-container": "main"});
        let object = serde_json::from_value(object).unwrap();
        pods.create(&PostParams::default(), &object).await.unwrap();
        let running = json!({"status": {"phase": "Running", "podIP": "10.244.1.5", "conditions": [
            {"type": "Ready", "status": "True"}]}});
        pods.patch_status("a", &PatchParams::default(), &Patch::Merge(running))
            .await
            .unwrap();
        let home = tempfile::tempdir().unwrap();
        let config = served
            .pki
            .kubeconfig(&served.url, "test", "admin", &["system:masters"])
            .unwrap();
        std::fs::write(home.path().join("kubeconfig"), config).unwrap();
        Some(Self {
            program,
            _served: served,
            home,
            speak,
        })
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let websockets = match self.speak {
            Speak::WebSocket => "true",
            Speak::Spdy => "false",
        };
        Command::new(&self.program)
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads no input may have closed it.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        tokio::time::timeout(Duration::from_secs(30), child.wait_with_output())
            .await
            .expect("kubectl takes too long")
            .unwrap()
    }

    /// The output of a command that must succeed.
    async fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The complaint of a command that must fail, and its code.
    async fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments, "").await;
        assert!(!output.status.success(), "{arguments:?} succeeded");
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    }

    /// Starts a port-forward to a port and says where it listens.
    async fn forward(&self, port: u16) -> (Child, u16) {
        let mut child = self.start(&["port-forward", "pod/a", &format!(":{port}")]);
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line())
            .await
            .expect("kubectl takes too long")
            .unwrap()
            .expect("kubectl forwards nothing");
        let local = line
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_else(|| panic!("{line}"))
            .parse()
            .unwrap();
        (child, local)
    }
}

#[rstest]
#[tokio::test]
async fn exec(#[values(Speak::WebSocket, Speak::Spdy)] speak: Speak) {
    let Some(kubectl) = Kubectl::new(speak).await else {
        return;
    };
    let echoed = kubectl.ok(&["exec", "-i", "a", "--", "cat"], "hello").await;
    assert_eq!(echoed, "hello");
    let big = "0123456789abcdef".repeat(100_000);
    let echoed = kubectl.ok(&["exec", "-i", "a", "--", "cat"], &big).await;
    assert_eq!(echoed.len(), big.len());
    let both = kubectl
        .run(
            &[
                "exec",
                "a",
                "--",
                "sh",
                "-c",
                "echo out; echo err >&2; exit 3",
            ],
            "",
        )
        .await;
    assert_eq!(both.stdout, b"out\n");
    let stderr = String::from_utf8(both.stderr).unwrap();
    assert!(stderr.starts_with("err\n"), "{stderr}");
    assert!(
        stderr.ends_with("command terminated with exit code 3\n"),
        "{stderr}"
    );
    assert_eq!(both.status.code(), Some(3));
}

#[rstest]
#[tokio::test]
async fn exec_that_cannot_be(#[values(Speak::WebSocket, Speak::Spdy)] speak: Speak) {
    let Some(kubectl) = Kubectl::new(speak).await else {
        return;
    };
    let (code, complaint) = kubectl
        .refused(&["exec", "a", "-c", "other", "--", "true"])
        .await;
    assert_eq!(code, 1);
    assert!(
        complaint.contains("container other is not valid for pod a"),
        "{complaint}"
    );
    let (_, complaint) = kubectl.refused(&["exec", "b", "--", "true"]).await;
    assert!(complaint.contains("pods \"b\" not found"), "{complaint}");
    let (_, complaint) = kubectl
        .refused(&["exec", "a", "--", "/no/such/program"])
        .await;
    assert!(
        complaint.contains("No such file or directory"),
        "{complaint}"
    );
}

#[tokio::test]
async fn a_container_that_does_not_run_is_named_before_the_switch() {
    let Some(kubectl) = Kubectl::new(Speak::Spdy).await else {
        return;
    };
    let (_, complaint) = kubectl
        .refused(&["exec", "a", "-c", "stopped", "--", "true"])
        .await;
    assert_eq!(
        complaint,
        "error: unable to upgrade connection: container not found (\"stopped\")\n"
    );
}

#[rstest]
#[tokio::test]
async fn attach(#[values(Speak::WebSocket, Speak::Spdy)] speak: Speak) {
    let Some(kubectl) = Kubectl::new(speak).await else {
        return;
    };
    let heard = kubectl.ok(&["attach", "-i", "a"], "ping\n").await;
    assert!(heard.contains("a heard ping\n"), "{heard}");
}

#[rstest]
#[tokio::test]
async fn files_are_copied_both_ways(#[values(Speak::WebSocket, Speak::Spdy)] speak: Speak) {
    let Some(kubectl) = Kubectl::new(speak).await else {
        return;
    };
    let inside = tempfile::tempdir().unwrap();
    let tree = kubectl.home.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    std::fs::write(tree.join("big"), &big).unwrap();
    std::fs::write(tree.join("small"), "small").unwrap();
    let there = format!("a:{}", inside.path().display());
    kubectl.ok(&["cp", "tree", &there], "").await;
    let read = |path: &Path| std::fs::read(path).unwrap();
    assert_eq!(read(&inside.path().join("tree/big")), big);
    kubectl
        .ok(&["cp", &format!("{there}/tree"), "back"], "")
        .await;
    let back = kubectl.home.path().join("back");
    assert_eq!(read(&back.join("big")), big);
    assert_eq!(read(&back.join("small")), b"small");
}

/// Answers every connection with what it got, once the client has said everything.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                stream.write_all(&all).await.unwrap();
            });
        }
    });
    port
}

async fn round_trip(local: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", local)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("no answer came through")
        .unwrap();
    answer
}

#[rstest]
#[tokio::test]
async fn ports_are_forwarded(#[values(Speak::WebSocket, Speak::Spdy)] speak: Speak) {
    let Some(kubectl) = Kubectl::new(speak).await else {
        return;
    };
    let (mut child, local) = kubectl.forward(echo().await).await;
    assert_eq!(round_trip(local, b"once").await, b"once");
    // Many at a time, each with more than any buffer on the way holds.
    let big: Vec<u8> = (0..2_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let trips = (0..8).map(|_| round_trip(local, &big));
    for answer in futures::future::join_all(trips).await {
        assert!(answer == big, "{} bytes came back", answer.len());
    }
    assert!(child.try_wait().unwrap().is_none(), "kubectl has ended");
}

#[rstest]
#[tokio::test]
async fn a_port_nobody_listens_on_is_said(#[values(Speak::WebSocket, Speak::Spdy)] speak: Speak) {
    let Some(kubectl) = Kubectl::new(speak).await else {
        return;
    };
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let (mut child, local) = kubectl.forward(closed).await;
    assert_eq!(round_trip(local, b"").await, b"");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let complaint = tokio::time::timeout(Duration::from_secs(10), lines.next_line())
        .await
        .expect("kubectl says nothing")
        .unwrap()
        .unwrap();
    assert!(
        complaint.contains("error forwarding port") && complaint.contains("Connection refused"),
        "{complaint}"
    );
}
