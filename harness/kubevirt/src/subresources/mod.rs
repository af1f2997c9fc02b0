//! The aggregated API `subresources.kubevirt.io`: reaching into machines, and switching them on and off.
//!
//! It answers as virt-api does, codes, bodies and messages alike. What virt-api asks of virt-handler is asked of
//! [`Machines`].

mod answer;
mod changes;
mod console;
mod discovery;
mod expand;
mod find;
mod frames;
mod guest;
mod lifecycle;
mod machine;
mod options;
mod roles;
mod route;
mod server;
mod stream;
mod upgrade;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use kubeapi::{AggregatedApi, AggregatedHandler, AggregatedRequest, Body};

use crate::Machines;
pub use roles::cluster_roles;

/// The group of the API.
pub const GROUP: &str = "subresources.kubevirt.io";

/// What answers ask and change.
#[derive(Clone)]
struct Backend {
    client: kube::Client,
    machines: Arc<dyn Machines>,
}

/// The API before there is anything behind it: a server is built with it, and its client is what it then needs.
#[derive(Clone, Default)]
pub struct Late(Arc<OnceLock<Backend>>);

impl std::fmt::Debug for Late {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Late")
    }
}

impl Late {
    /// The API. Until it is connected, it answers that it is not available.
    pub fn api(&self) -> AggregatedApi {
        discovery::api(GROUP, Arc::new(self.clone()))
    }

    /// Gives the API its objects and machines; only the first time counts.
    pub fn connect(&self, client: kube::Client, machines: Arc<dyn Machines>) {
        if self.0.set(Backend { client, machines }).is_err() {
            tracing::warn!("the subresource API is connected already");
        }
    }
}

/// The API of these machines.
pub fn api(client: kube::Client, machines: Arc<dyn Machines>) -> AggregatedApi {
    let late = Late::default();
    late.connect(client, machines);
    late.api()
}

#[async_trait]
impl AggregatedHandler for Late {
    async fn handle(&self, request: AggregatedRequest) -> http::Response<Body> {
        match self.0.get() {
            Some(backend) => backend.answer(request).await,
            None => answer::unavailable(),
        }
    }
}
