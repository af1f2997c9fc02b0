//! Changing the protocol of a connection: to a WebSocket or to SPDY/3.1, with one of the sub-protocols on top.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::body::Body;
use crate::server::respond;
use crate::status::Status;

/// The client's list of sub-protocols over SPDY, and the server's choice.
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// What the server would have taken.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
const SPDY: &str = "SPDY/3.1";

/// What a connection is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    WebSocket,
    Spdy,
}

/// A request that may become something else.
#[derive(Debug)]
pub struct Request<'a> {
    pub kind: Kind,
    headers: &'a HeaderMap,
    upgrade: OnUpgrade,
}

/// A connection that is about to switch.
#[derive(Debug)]
pub struct Switch {
    upgrade: OnUpgrade,
    response: Response<Body>,
}

/// The upgrade a request asks for.
pub fn request(headers: &HeaderMap, upgrade: Option<OnUpgrade>) -> Result<Request<'_>, Status> {
    let asked = text(headers, UPGRADE);
    let kind = if asked.eq_ignore_ascii_case("websocket") {
        Kind::WebSocket
    } else {
        Kind::Spdy
    };
    let wanted = text(headers, CONNECTION)
        .to_ascii_lowercase()
        .contains("upgrade");
    match upgrade {
        Some(upgrade) if wanted && !asked.is_empty() => Ok(Request {
            kind,
            headers,
            upgrade,
        }),
        _ => Err(Status::bad_request("Upgrade request required")),
    }
}

impl Request<'_> {
    /// The sub-protocols the client offers, its favourite first.
    pub fn offered(&self) -> Vec<&str> {
        let name = match self.kind {
            Kind::WebSocket => SEC_WEBSOCKET_PROTOCOL,
            Kind::Spdy => PROTOCOL_VERSION,
        };
        self.headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .map(str::trim)
            .filter(|v| !v.is_empty())
            .collect()
    }

    /// Agrees to one of the supported sub-protocols, the client's favourite among them. A WebSocket without any offer
    /// gets none, which the supported ones list as an empty name.
    pub fn agree(
        self,
        supported: &[&'static str],
    ) -> Result<(&'static str, Switch), Box<Response<Body>>> {
        let offered = self.offered();
        let chosen = offered
            .iter()
            .copied()
            .chain(offered.is_empty().then_some(""))
            .find_map(|offer| supported.iter().find(|s| **s == offer));
        let Some(chosen) = chosen else {
            return Err(Box::new(self.refusal(&offered, supported)));
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answer = response.headers_mut();
        answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let (upgrade, name) = match self.kind {
            Kind::WebSocket => {
                let key = derive_accept_key(text(self.headers, SEC_WEBSOCKET_KEY).as_bytes());
                if let Ok(key) = HeaderValue::from_str(&key) {
                    answer.insert(SEC_WEBSOCKET_ACCEPT, key);
                }
                ("websocket", SEC_WEBSOCKET_PROTOCOL)
            }
            Kind::Spdy => (SPDY, PROTOCOL_VERSION),
        };
        answer.insert(UPGRADE, HeaderValue::from_static(upgrade));
        if !chosen.is_empty() {
            answer.insert(name, HeaderValue::from_static(chosen));
        }
        let upgrade = self.upgrade;
        Ok((chosen, Switch { upgrade, response }))
    }

    fn refusal(&self, offered: &[&str], supported: &[&'static str]) -> Response<Body> {
        let list = |names: &[&str]| format!("[{}]", names.join(" "));
        match self.kind {
            Kind::WebSocket => respond::text(
                403,
                format!(
                    "requested protocol(s) are not supported: {}; supports {}\n",
                    list(offered),
                    list(supported)
                ),
            ),
            Kind::Spdy if !text(self.headers, UPGRADE).eq_ignore_ascii_case(SPDY) => respond::text(
                400,
                format!(
                    "unable to upgrade: missing upgrade headers in request: Upgrade is {:?}, not {SPDY:?}\n",
                    text(self.headers, UPGRADE)
                ),
            ),
            Kind::Spdy if offered.is_empty() => respond::text(
                400,
                "unable to upgrade: X-Stream-Protocol-Version is required\n",
            ),
            Kind::Spdy => {
                let mut response = respond::text(
                    403,
                    format!(
                        "unable to upgrade: unable to negotiate protocol: client supports {}, server accepts {}\n",
                        list(offered),
                        list(supported)
                    ),
                );
                for name in supported {
                    response
                        .headers_mut()
                        .append(ACCEPTED, HeaderValue::from_static(name));
                }
                response
            }
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
}

impl Switch {
    /// Answers 101 and runs a session on the connection once the client has switched, too.
    pub fn start<S, F>(self, session: S) -> Response<Body>
    where
        S: FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => session(TokioIo::new(upgraded)).await,
                Err(error) => tracing::debug!(%error, "connection was not upgraded"),
            }
        });
        self.response
    }
}
