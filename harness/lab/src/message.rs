//! What the host side and the server tell each other.

use serde::{Deserialize, Serialize};
use trunkline_userland::Image;

/// From the server to the host side.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromServer {
    /// The API answers. Nodes may still be on their way.
    Serving { kubeconfig: String },
    /// Every node is Ready.
    Ready,
    /// Only the host side has a real network.
    WantImage { id: u64, reference: String },
}

/// From the host side to the server.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// The answer to [`FromServer::WantImage`], with paths as the lab sees them.
    Image {
        id: u64,
        image: Result<Image, String>,
    },
}

/// What the server starts with.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerConfig {
    pub lab: crate::LabSpec,
    /// Where clients on the host reach the API.
    pub url: String,
}
