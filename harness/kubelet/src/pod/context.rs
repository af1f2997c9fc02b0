//! What all workers share.

use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use tokio::sync::broadcast;

use crate::events::{Recorder, Reporter};
use crate::oci::Capabilities;
use crate::quantity::Milli;
use crate::runtime::Runc;
use crate::volumes::Interest;
use crate::{ClusterDns, Cni, Connector, ImageSource, NodeConfig};

/// The same for every node.
pub(crate) struct Shared {
    pub client: Client,
    pub recorder: Recorder,
    pub images: Arc<dyn ImageSource>,
    pub cni: Arc<dyn Cni>,
    pub connector: Connector,
    pub runc: Runc,
    pub state: PathBuf,
    pub agent: Option<PathBuf>,
    pub dns: ClusterDns,
    pub capabilities: Capabilities,
    pub tty_group: bool,
    /// ConfigMaps and Secrets that changed, with their namespace.
    pub changes: broadcast::Sender<(String, Interest)>,
}

/// One node.
pub(crate) struct NodeContext {
    pub shared: Arc<Shared>,
    pub config: NodeConfig,
    pub reporter: Reporter,
    pub cpu: Milli,
    pub memory: Milli,
}
