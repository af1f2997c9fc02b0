//! Group versions that are answered by code, as kube-apiserver has them answered by another server.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};

use crate::body::Body;
use crate::pods::AsyncReadWrite;
use crate::request::Query;
use crate::user::User;

/// A group that is answered by a handler. It is in discovery, has an APIService for each version that names the service
/// behind it, and is guarded by RBAC like every other group.
#[derive(Clone)]
pub struct AggregatedApi {
    pub group: String,
    /// The preferred one first.
    pub versions: Vec<AggregatedVersion>,
    /// The service that the APIServices name.
    pub service: ServiceReference,
    /// Labels and annotations of the APIServices.
    pub labels: Map<String, Value>,
    pub annotations: Map<String, Value>,
    pub handler: Arc<dyn AggregatedHandler>,
}

impl fmt::Debug for AggregatedApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AggregatedApi({})", self.group)
    }
}

/// A version of an aggregated group.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregatedVersion {
    pub name: String,
    /// What discovery lists (`APIResource` objects), word for word.
    pub resources: Vec<Value>,
    pub group_priority_minimum: u32,
    pub version_priority: u32,
}

/// Where an APIService leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceReference {
    pub namespace: String,
    pub name: String,
    pub port: u16,
}

/// Answers the requests of an aggregated group.
#[async_trait]
pub trait AggregatedHandler: Send + Sync {
    /// A request that its user may make.
    async fn handle(&self, request: AggregatedRequest) -> Response<Body>;
}

/// A request for something in an aggregated group.
#[derive(Debug)]
pub struct AggregatedRequest {
    /// As RBAC names it: `get`, `list`, `update`, ….
    pub verb: &'static str,
    pub version: String,
    pub namespace: Option<String>,
    /// The plural, or what else follows the version or namespace.
    pub resource: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
    /// What follows the subresource.
    pub rest: Vec<String>,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub user: User,
    pub(crate) query: Query,
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl AggregatedRequest {
    /// A parameter of the query; one that is not there is empty.
    pub fn query(&self, key: &str) -> &str {
        self.query.text(key)
    }

    /// The connection below the request, to be had once. None when it does not ask for another protocol.
    pub fn upgrade(&mut self) -> Option<Upgrade> {
        self.upgrade.take().map(Upgrade)
    }
}

/// A connection that will speak another protocol when its request has been answered with 101.
#[derive(Debug)]
pub struct Upgrade(OnUpgrade);

impl Upgrade {
    /// The connection, once both sides have switched.
    pub async fn switched(self) -> std::io::Result<Box<dyn AsyncReadWrite>> {
        let upgraded = self.0.await.map_err(std::io::Error::other)?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}
