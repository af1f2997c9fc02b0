//! The way to a guest's serial console: a WebSocket of KubeVirt's, through the Kubernetes client.
//!
//! kube's own WebSockets speak the protocol of `exec` and refuse every other, so the upgrade is done here. Authentication
//! and TLS stay the client's.

use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::{Client, client::Body};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

use super::Guest;
use crate::error::api_message;

/// Raw bytes in binary frames, without channels.
const PROTOCOL: &str = "plain.kubevirt.io";

/// An open console.
pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Why there is no console.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotOpen {
    /// The API understood and said no.
    #[error("{message}")]
    Refused { code: u16, message: String },
    /// No answer, or none that makes sense.
    #[error("{0}")]
    Broken(String),
}

pub(super) async fn open(client: &Client, guest: &Guest) -> Result<Socket, NotOpen> {
    let broken = |what: &dyn std::fmt::Display| NotOpen::Broken(what.to_string());
    let key = generate_key();
    let request = Request::get(format!(
        "/apis/subresources.kubevirt.io/v1/namespaces/{}/virtualmachineinstances/{}/console",
        guest.namespace, guest.name
    ))
    .header(header::CONNECTION, "Upgrade")
    .header(header::UPGRADE, "websocket")
    .header(header::SEC_WEBSOCKET_VERSION, "13")
    .header(header::SEC_WEBSOCKET_KEY, &key)
    .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
    .body(Body::empty())
    .map_err(|error| broken(&error))?;
    let response = client
        .send(request)
        .await
        .map_err(|error| NotOpen::Broken(api_message(&error)))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err(NotOpen::Broken(
            "the API answers with the key of another connection".into(),
        ));
    }
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| broken(&error))?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await)
}

/// What the API says instead of opening: a status in most cases, plain text in some.
async fn refusal(response: http::Response<Body>) -> NotOpen {
    let code = response.status();
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return NotOpen::Broken(error.to_string()),
    };
    let status: Option<Status> = serde_json::from_slice(&body).ok();
    let message = status.and_then(|status| status.message).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body);
        match text.trim() {
            "" => code.to_string(),
            text => text.to_owned(),
        }
    });
    NotOpen::Refused {
        code: code.as_u16(),
        message,
    }
}
