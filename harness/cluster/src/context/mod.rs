//! Getting at a cluster that exists: its kubeconfig, whether it answers, and what we may do there.

mod error;
mod kubeconfig;
mod review;

use std::path::PathBuf;

use kube::Client;
use trunkline_engine::{HelperImage, api_message};

pub use self::{
    error::ContextError,
    review::{Review, review, whoami},
};

/// Which cluster, and what to call it.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// `$KUBECONFIG`, else `~/.kube/config`, when absent.
    pub kubeconfig: Option<PathBuf>,
    /// The current context when absent.
    pub context: Option<String>,
    /// What reports call the site; the context's name when empty.
    pub name: String,
    /// For containers into which the agent cannot be written; without, such a container cannot be probed.
    pub helper: Option<HelperImage>,
}

/// A way to a cluster that answers and knows us.
#[derive(Clone)]
pub struct Connection {
    pub client: Client,
    /// The context's name.
    pub context: String,
    /// Its address.
    pub server: String,
    /// As the API tells it: `v1.34.4`.
    pub version: k8s_openapi::apimachinery::pkg::version::Info,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("context", &self.context)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Reads the kubeconfig and asks the cluster for its version, which every API server tells everybody it knows.
pub async fn connect(options: &ConnectOptions) -> Result<Connection, ContextError> {
    let chosen =
        kubeconfig::choose(options.kubeconfig.as_deref(), options.context.as_deref()).await?;
    let unusable = |error: kube::Error| ContextError::Unusable {
        context: chosen.context.clone(),
        why: api_message(&error),
    };
    let client = Client::try_from(chosen.config.clone()).map_err(unusable)?;
    let version = client
        .apiserver_version()
        .await
        .map_err(|error| ContextError::answer(&chosen.context, &chosen.server, &error))?;
    Ok(Connection {
        client,
        context: chosen.context,
        server: chosen.server,
        version,
    })
}
