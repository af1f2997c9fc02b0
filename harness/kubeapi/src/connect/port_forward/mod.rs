//! Port-forward: connections to ports of a pod, whatever carries them.

mod channels;
mod spdy;

use std::fmt;
use std::sync::Arc;

use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};

use super::spdy::session::Session;
use super::upgrade::{Kind, Request};
use super::websocket::{socket, tunnel};
use crate::body::Body;
use crate::pods::{AsyncReadWrite, PodConnector};
use crate::request::Query;
use crate::server::respond;

/// The only protocol over SPDY.
const SPDY_PROTOCOL: &str = "portforward.k8s.io";
/// The same with a WebSocket around it, as kubectl asks for it first.
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";

/// The pod that connections go to.
#[derive(Clone)]
pub struct Target {
    pub connector: Arc<dyn PodConnector>,
    pub namespace: String,
    pub pod: String,
    pub uid: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}/{})", self.namespace, self.pod)
    }
}

impl Target {
    /// A connection to a port; the error is what the client's user reads.
    async fn connect(&self, port: u16) -> Result<Box<dyn AsyncReadWrite>, String> {
        self.connector
            .port_forward(&self.namespace, &self.pod, port)
            .await
            .map_err(|status| {
                format!(
                    "error forwarding port {port} to pod {}, uid {}: {}",
                    self.pod, self.uid, status.message
                )
            })
    }
}

/// Switches the connection to what the client speaks and forwards until the client goes away.
pub fn answer(target: Target, query: &Query, request: Request<'_>) -> Response<Body> {
    if request.kind == Kind::Spdy {
        return match request.agree(&[SPDY_PROTOCOL]) {
            Ok((_, switch)) => switch.start(move |connection| over_spdy(target, connection)),
            Err(refusal) => *refusal,
        };
    }
    if request.offered().contains(&TUNNELLED) {
        return match request.agree(&[TUNNELLED]) {
            Ok((_, switch)) => switch.start(move |connection| async move {
                over_spdy(target, tunnel(socket(connection).await)).await;
            }),
            Err(refusal) => *refusal,
        };
    }
    let ports = match ports(query) {
        Ok(ports) => ports,
        Err(why) => return respond::text(400, why),
    };
    match request.agree(&["v4.channel.k8s.io", "v5.channel.k8s.io", ""]) {
        Ok((_, switch)) => switch.start(move |connection| async move {
            channels::serve(target, ports, socket(connection).await).await;
        }),
        Err(refusal) => *refusal,
    }
}

async fn over_spdy<C>(target: Target, connection: C)
where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    match Session::start(connection) {
        Ok(session) => spdy::serve(target, session).await,
        Err(error) => tracing::warn!(%error, "session cannot start"),
    }
}

/// The ports of the query, `ports=80,443` or repeated; fewer than 128, so that the numbers of both channels of each fit a byte.
fn ports(query: &Query) -> Result<Vec<u16>, &'static str> {
    let ports: Result<Vec<u16>, _> = query
        .all("ports")
        .chain(query.all("port"))
        .flat_map(|ports| ports.split(','))
        .filter(|port| !port.is_empty())
        .map(str::parse)
        .collect();
    match ports {
        Ok(ports) if ports.is_empty() => Err("query parameter \"port\" is required"),
        Ok(ports) if ports.len() < 128 => Ok(ports),
        Ok(_) => Err("too many ports"),
        Err(_) => Err("query parameter \"port\" must be a list of port numbers"),
    }
}
