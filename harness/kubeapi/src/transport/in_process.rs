//! Upgrades without a socket: the request makes a short trip through an in-memory connection, because only a real
//! HTTP/1.1 connection can be upgraded.

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

use crate::body::{Body, BoxError};
use crate::server::ApiService;
use crate::server::respond;
use crate::status::Status;
use crate::transport::serve::Hyper;

/// Bytes under way in each direction.
const PIPE: usize = 256 * 1024;

/// Whether a request asks for another protocol.
pub fn wants_upgrade(parts: &Parts) -> bool {
    parts.headers.contains_key(UPGRADE) && parts.headers.contains_key(CONNECTION)
}

/// Sends the request through a connection of its own.
pub async fn upgraded(service: ApiService, parts: Parts, body: Bytes) -> Response<Body> {
    match through_pipe(service, parts, body).await {
        Ok(response) => response,
        Err(error) => respond::refusal(&Status::internal(&error.to_string())),
    }
}

async fn through_pipe(
    service: ApiService,
    mut parts: Parts,
    body: Bytes,
) -> Result<Response<Body>, BoxError> {
    let (client, server) = tokio::io::duplex(PIPE);
    let user = parts.extensions.remove::<crate::user::User>();
    tokio::spawn(async move {
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), Hyper { service, user })
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(%error, "in-process connection ended");
        }
    });
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(client)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "in-process connection ended");
        }
    });
    parts.version = Version::HTTP_11;
    let request = Request::from_parts(parts, Full::new(body));
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Body::stream(body.into_data_stream())))
}
