//! The server as a [`tower::Service`].

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;

use super::{Inner, resource, route};
use crate::body::{Body, BoxError};
use crate::transport::in_process;
use crate::user::User;

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
            Identity::Request => parts
                .extensions
                .remove::<User>()
                .unwrap_or_else(User::anonymous),
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
