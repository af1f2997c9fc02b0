//! The server as a [`tower::Service`].

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderMap};
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;

use super::core::Core;
use super::{Inner, resource, respond, route};
use crate::auth::tokens;
use crate::body::{Body, BoxError};
use crate::status::Status;
use crate::transport::in_process;
use crate::user::{UNAUTHENTICATED, User};

/// Bodies of requests are at most this large.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Answers requests. Clones are handles of the same server.
#[derive(Debug, Clone)]
pub struct ApiService {
    pub(super) inner: Arc<Inner>,
    pub(super) identity: Identity,
}

/// Where the user of a request comes from.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// The request's extensions; without one the request is anonymous.
    Request,
    /// This user, whoever asks.
    Fixed(User),
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl ApiService {
    async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return resource::too_large(),
            Err(error) => return resource::broken_body(&error.to_string()),
        };
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        if upgrade.is_none() && in_process::wants_upgrade(&parts) {
            return in_process::upgraded(self, parts, body).await;
        }
        let user = match self.identity {
            Identity::Fixed(user) => user,
            Identity::Request => {
                let user = parts
                    .extensions
                    .remove::<User>()
                    .unwrap_or_else(User::anonymous);
                match bearer(&self.inner.core, user, &mut parts.headers) {
                    Ok(user) => user,
                    Err(status) => return respond::refusal(&status),
                }
            }
        };
        route::answer(
            &self.inner.core,
            &self.inner.documents,
            parts,
            body,
            user,
            upgrade,
        )
        .await
    }
}

/// The user of a request: whoever the connection says, or else the one whose token it brings. The token goes no further.
fn bearer(core: &Core, user: User, headers: &mut HeaderMap) -> Result<User, Status> {
    let header = headers.remove(AUTHORIZATION);
    if !user.in_group(UNAUTHENTICATED) {
        return Ok(user);
    }
    let token = header
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match token {
        Some(token) if !token.is_empty() => match tokens::authenticate(core, token, &[]) {
            Ok((user, _)) => Ok(user),
            Err(rejected) => {
                tracing::debug!(%rejected, "bearer token");
                Err(Status::unauthorized())
            }
        },
        _ => Ok(user),
    }
}
