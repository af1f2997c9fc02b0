//! Upgrading a request to a WebSocket with one of the channel protocols.

use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::body::Body;
use crate::status::Status;

/// A WebSocket on an upgraded connection.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How streams share a WebSocket: the first byte of a message is its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    V4,
    /// Also says when a channel's input ends.
    V5,
}

const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";

/// A request that may become a WebSocket.
#[derive(Debug)]
pub struct Handshake {
    pub protocol: Protocol,
    upgrade: OnUpgrade,
    response: Response<Body>,
}

/// Accepts the newest protocol the client offers.
pub fn accept(headers: &HeaderMap, upgrade: Option<OnUpgrade>) -> Result<Handshake, Status> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
            .unwrap_or_default()
    };
    let (Some(upgrade), true) = (upgrade, text(UPGRADE).eq_ignore_ascii_case("websocket")) else {
        return Err(Status::bad_request("Upgrade request required"));
    };
    let offered: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    let (protocol, name) = if offered.contains(&V5) {
        (Protocol::V5, V5)
    } else if offered.contains(&V4) {
        (Protocol::V4, V4)
    } else {
        return Err(Status::bad_request(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts [{V5} {V4}]"
        )));
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    let key = derive_accept_key(text(SEC_WEBSOCKET_KEY).as_bytes());
    if let Ok(key) = HeaderValue::from_str(&key) {
        answer.insert(SEC_WEBSOCKET_ACCEPT, key);
    }
    Ok(Handshake {
        protocol,
        upgrade,
        response,
    })
}

impl Handshake {
    /// Answers 101 and runs a session on the WebSocket once the client has switched.
    pub fn start<S, F>(self, session: S) -> Response<Body>
    where
        S: FnOnce(Socket, Protocol) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (upgrade, protocol) = (self.upgrade, self.protocol);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => {
                    let socket = WebSocketStream::from_raw_socket(
                        TokioIo::new(upgraded),
                        Role::Server,
                        None,
                    )
                    .await;
                    session(socket, protocol).await;
                }
                Err(error) => tracing::debug!(%error, "connection was not upgraded"),
            }
        });
        self.response
    }
}
