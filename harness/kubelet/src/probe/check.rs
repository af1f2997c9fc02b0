//! One attempt.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use trunkline_fabric::NetNs;

use super::{Outcome, http};
use crate::oci::ProcessSpec;
use crate::runtime::{Runc, RuntimeError, capture};

/// What probes and hooks of a container reach.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub container: Container,
    pub container_id: String,
    /// The container's own process: commands run as it does.
    pub process: ProcessSpec,
    pub pod_ip: Option<IpAddr>,
    /// The node's.
    pub netns: NetNs,
    pub runc: Runc,
}

impl Target {
    pub(super) async fn check(&self, probe: &Probe, limit: Duration) -> Outcome {
        if let Some(exec) = &probe.exec {
            return self
                .exec(exec.command.clone().unwrap_or_default(), limit)
                .await;
        }
        if let Some(get) = &probe.http_get {
            return match http::get(self, get, limit).await {
                Ok(()) => Outcome::Success,
                Err(text) => Outcome::Failure(text),
            };
        }
        if let Some(tcp) = &probe.tcp_socket {
            return self.tcp(tcp.host.as_deref(), &tcp.port, limit).await;
        }
        if probe.grpc.is_some() {
            return Outcome::Failure(
                "gRPC probes are not supported by this kubelet; use exec, httpGet or tcpSocket"
                    .to_owned(),
            );
        }
        Outcome::Failure("missing probe handler".to_owned())
    }

    async fn exec(&self, command: Vec<String>, limit: Duration) -> Outcome {
        match self.run(command, Some(limit)).await {
            Ok((0, _)) => Outcome::Success,
            Ok((_, output)) => Outcome::Failure(output),
            Err(error) => Outcome::Failure(error.to_string()),
        }
    }

    /// Runs a command in the container; its exit code and output.
    pub(crate) async fn run(
        &self,
        command: Vec<String>,
        limit: Option<Duration>,
    ) -> Result<(i32, String), RuntimeError> {
        let process = ProcessSpec {
            args: command,
            terminal: false,
            ..self.process.clone()
        };
        let done = capture(&self.runc, &self.container_id, &process, limit).await?;
        Ok((done.code, done.output))
    }

    async fn tcp(&self, host: Option<&str>, port: &IntOrString, limit: Duration) -> Outcome {
        let address = match self.address(host, port) {
            Ok(address) => address,
            Err(text) => return Outcome::Failure(text),
        };
        match timeout(limit, self.connect(address)).await {
            Ok(Ok(_)) => Outcome::Success,
            Ok(Err(error)) => Outcome::Failure(dial_error(address, &error)),
            Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
        }
    }

    /// Where a probe goes: the pod unless it names another host; ports by number or by the container's names.
    pub(super) fn address(
        &self,
        host: Option<&str>,
        port: &IntOrString,
    ) -> Result<SocketAddr, String> {
        let ip = match host.filter(|h| !h.is_empty()) {
            Some(host) => host
                .parse()
                .map_err(|_| format!("probe host {host:?} is no IP address; nodes have no DNS"))?,
            None => self
                .pod_ip
                .ok_or_else(|| "the pod has no IP address".to_owned())?,
        };
        let number = match port {
            IntOrString::Int(number) => *number,
            IntOrString::String(name) => self
                .container
                .ports
                .iter()
                .flatten()
                .find(|p| p.name.as_ref() == Some(name))
                .map(|p| p.container_port)
                .or_else(|| name.parse().ok())
                .ok_or_else(|| {
                    format!("couldn't find port: {name:?} in {:?}", self.container.name)
                })?,
        };
        let port = u16::try_from(number).map_err(|_| format!("invalid port number: {number}"))?;
        Ok(SocketAddr::new(ip, port))
    }

    /// A connection that starts in the node's network namespace.
    pub(super) async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self
            .netns
            .run(move || match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            })
            .await
            .map_err(std::io::Error::other)??;
        socket.connect(address).await
    }
}

/// In the words of the kubelet's own dialer.
pub(super) fn dial_error(address: SocketAddr, error: &std::io::Error) -> String {
    let reason = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        std::io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: connect: {reason}")
}
