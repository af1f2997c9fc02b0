//! HTTPS on a listening socket: TLS with optional client certificates, HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::{identity, pki::Pki};
use crate::body::Body;
use crate::server::{ApiService, Error};
use crate::user::User;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The service as hyper calls it, for one connection of one user.
#[derive(Debug, Clone)]
pub struct Hyper {
    pub service: ApiService,
    pub user: Option<User>,
}

impl hyper::service::Service<Request<Incoming>> for Hyper {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(user) = &self.user {
            request.extensions_mut().insert(user.clone());
        }
        self.service.clone().call(request)
    }
}

fn tls(pki: &Pki) -> Result<TlsAcceptor, Error> {
    let fail = |e: &dyn std::fmt::Display| Error::Tls(e.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca_der()).map_err(|e| fail(&e))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| fail(&e))?;
    let (certificate, key) = pki.server_identity();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .map_err(|e| fail(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts connections until `shutdown`; then the open ones are cut.
pub async fn serve(
    service: ApiService,
    listener: std::net::TcpListener,
    pki: &Pki,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let acceptor = tls(pki)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            // Finished connections are taken out as they end.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(acceptor.clone(), service.clone(), stream));
                }
                // Too many open files and the like pass; the listener itself is fine.
                Err(error) => {
                    tracing::warn!(%error, "connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
        }
    }
}

async fn connection(acceptor: TlsAcceptor, service: ApiService, stream: TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay could not be set");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "tls handshake failed");
            return;
        }
        Err(_) => return,
    };
    let user = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|certificate| identity::user(certificate))
        .unwrap_or_else(User::anonymous);
    let hyper = Hyper {
        service,
        user: Some(user),
    };
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), hyper)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}
