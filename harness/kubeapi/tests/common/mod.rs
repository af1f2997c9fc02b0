//! Servers and clients for the tests.

#![allow(dead_code)] // every test binary uses its part

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubeapi::{
    ApiServer, AsyncReadWrite, ExecExit, ExecOptions, LogOptions, Pki, PodConnector, Status,
    Streams,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server on a socket.
pub struct Served {
    pub server: ApiServer,
    pub pki: Arc<Pki>,
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves on a free port of the loopback interface.
pub fn serve(server: ApiServer) -> Served {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let pki = Arc::new(Pki::generate(&["127.0.0.1".to_owned()]).unwrap());
    let task = tokio::spawn({
        let (server, pki) = (server.clone(), pki.clone());
        async move {
            server
                .serve(listener, &pki, std::future::pending())
                .await
                .unwrap();
        }
    });
    Served {
        server,
        pki,
        url,
        task,
    }
}

impl Served {
    /// A client with a client certificate, over TLS.
    pub async fn client(&self, user: &str, groups: &[&str]) -> kube::Client {
        let yaml = self
            .pki
            .kubeconfig(&self.url, "test", user, groups)
            .unwrap();
        let config = Kubeconfig::from_yaml(&yaml).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }

    pub async fn admin(&self) -> kube::Client {
        self.client("admin", &["system:masters"]).await
    }
}

/// Pods that run a shell of three commands: `cat`, `flood N`, `exit N`.
pub struct Toy;

#[async_trait]
impl PodConnector for Toy {
    async fn exec(
        &self,
        _: &str,
        pod: &str,
        opts: ExecOptions,
        mut streams: Streams,
    ) -> Result<ExecExit, Status> {
        let command: Vec<&str> = opts.command.iter().map(String::as_str).collect();
        let mut stdout = streams.stdout.take();
        let mut stderr = streams.stderr.take();
        match command.as_slice() {
            ["cat"] => {
                let mut input = streams.stdin.take().unwrap();
                let mut output = stdout.unwrap();
                tokio::io::copy(&mut input, &mut output).await.unwrap();
                Ok(ExecExit { code: 0 })
            }
            ["flood", size] => {
                let bytes = vec![b'x'; size.parse().unwrap()];
                stdout.as_mut().unwrap().write_all(&bytes).await.unwrap();
                Ok(ExecExit { code: 0 })
            }
            ["exit", code] => {
                let text = format!("{pod}/{} fails\n", opts.container);
                if let Some(stderr) = stderr.as_mut() {
                    stderr.write_all(text.as_bytes()).await.unwrap();
                }
                Ok(ExecExit {
                    code: code.parse().unwrap(),
                })
            }
            ["size"] => {
                let size = streams.resize.recv().await.unwrap();
                let text = format!("{}x{}", size.columns, size.rows);
                stdout
                    .as_mut()
                    .unwrap()
                    .write_all(text.as_bytes())
                    .await
                    .unwrap();
                Ok(ExecExit { code: 0 })
            }
            _ => Err(Status::internal("no such command")),
        }
    }

    async fn attach(
        &self,
        ns: &str,
        pod: &str,
        opts: ExecOptions,
        streams: Streams,
    ) -> Result<ExecExit, Status> {
        let opts = ExecOptions {
            command: vec!["cat".to_owned()],
            ..opts
        };
        self.exec(ns, pod, opts, streams).await
    }

    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        opts: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        let lines: Vec<String> = (0..opts.tail_lines.unwrap_or(3))
            .map(|n| format!("{namespace}/{pod}/{} line {n}\n", opts.container))
            .collect();
        let lines = stream::iter(lines.into_iter().map(|line| Ok(Bytes::from(line))));
        if opts.follow {
            return Ok(lines.chain(stream::pending()).boxed());
        }
        Ok(lines.boxed())
    }

    async fn port_forward(
        &self,
        _: &str,
        _: &str,
        port: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, Status> {
        let (near, far) = tokio::io::duplex(1024);
        match port {
            80 => {}
            8080 => {
                tokio::spawn(http_server(far));
                return Ok(Box::new(near));
            }
            _ => return Err(Status::internal("connection refused")),
        }
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(far);
            let mut buffer = [0; 64];
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                let upper = buffer[..count].to_ascii_uppercase();
                if writer.write_all(&upper).await.is_err() {
                    return;
                }
            }
        });
        Ok(Box::new(near))
    }
}

/// Answers one HTTP request with its method, its path and its body.
async fn http_server(connection: tokio::io::DuplexStream) {
    use http_body_util::BodyExt;
    let service =
        hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async {
            let line = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await?.to_bytes();
            let text = format!("{line} {}", String::from_utf8_lossy(&body));
            Ok::<_, hyper::Error>(http::Response::new(text))
        });
    // The client may hang up at any time.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(connection), service)
        .await;
}

/// A server whose pods are toys.
pub fn toy_server() -> ApiServer {
    ApiServer::builder().pods(Arc::new(Toy)).build().unwrap()
}

/// A pod that is on a node.
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeName": "node", "containers": [{"name": "main", "image": "image:1"}]},
    })
}

/// A definition of namespaced Widgets with a schema, a status and a scale.
pub fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true,
                 "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                 "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}],
                 "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "color": {"type": "string", "default": "red"},
                        "replicas": {"type": "integer"}},
                        "x-kubernetes-validations": [{"rule": "self.size < 100", "message": "too big"}]},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
                {"name": "v1alpha1", "served": true, "storage": false, "deprecated": true,
                 "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
            ],
        },
    })
}
