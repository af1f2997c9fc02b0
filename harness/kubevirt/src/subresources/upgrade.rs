//! The handshake of a WebSocket, with the checks and words of the library that virt-api does it with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode};
use kubeapi::{AggregatedRequest, AsyncReadWrite, Body};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::answer;
use super::stream::{self, KeepAlive};

/// The one sub-protocol there is. Who offers none, or others, gets none and is served all the same.
const PLAIN: &str = "plain.kubevirt.io";

/// Whether a comma-separated header has this word.
fn has(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    words(headers, name).any(|found| found.eq_ignore_ascii_case(word))
}

fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The client's key, or what is wrong with the request.
fn key(headers: &HeaderMap) -> Result<&str, &'static str> {
    if !has(headers, CONNECTION, "upgrade") {
        return Err(
            "websocket: the client is not using the websocket protocol: 'upgrade' token not found in 'Connection' header",
        );
    }
    if !has(headers, UPGRADE, "websocket") {
        return Err(
            "websocket: the client is not using the websocket protocol: 'websocket' token not found in 'Upgrade' header",
        );
    }
    if !has(headers, SEC_WEBSOCKET_VERSION, "13") {
        return Err(
            "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header",
        );
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        _ => Err(
            "websocket: not a websocket handshake: 'Sec-WebSocket-Key' header must be Base64 encoded value of 16-byte \
             in length",
        ),
    }
}

/// Answers 101 and connects client and machine; a request that is no handshake is refused, and the machine let go.
pub fn connect(
    mut request: AggregatedRequest,
    machine: Box<dyn AsyncReadWrite>,
    keep_alive: KeepAlive,
) -> Response<Body> {
    let accepted = match key(&request.headers) {
        Ok(key) => derive_accept_key(key.as_bytes()),
        Err(why) => return answer::no_websocket(400, why),
    };
    let (Some(upgrade), Ok(accepted)) = (request.upgrade(), HeaderValue::from_str(&accepted))
    else {
        return answer::no_websocket(500, "websocket: response does not implement http.Hijacker");
    };
    tokio::spawn(async move {
        match upgrade.switched().await {
            Ok(client) => stream::run(client, machine, keep_alive).await,
            Err(error) => tracing::debug!(%error, "connection was not upgraded"),
        }
    });
    let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    if words(&request.headers, SEC_WEBSOCKET_PROTOCOL).any(|offer| offer == PLAIN) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PLAIN));
    }
    response
}
