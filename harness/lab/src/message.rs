//! What the host side and the server tell each other.

use serde::{Deserialize, Serialize};
use trunkline_qemu::Accelerator;
use trunkline_userland::{
    Cache, Image,
    machine::{MachineImage, Shape, Template},
};

/// From the server to the host side.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromServer {
    /// The API answers. Nodes may still be on their way.
    Serving { kubeconfig: String },
    /// Every node is Ready.
    Ready,
    /// Only the host side has a real network, and may write to the cache.
    Want { id: u64, what: Want },
}

/// What only the host side can provide.
#[derive(Debug, Serialize, Deserialize)]
pub enum Want {
    Image(String),
    /// What the image of a container disk holds.
    Machine(String),
    /// A guest that has booted.
    Template {
        image: MachineImage,
        shape: Shape,
    },
    /// What machines can be run with.
    Accelerator,
}

/// What was wanted, with paths as the lab sees them.
#[derive(Debug, Serialize, Deserialize)]
pub enum Provided {
    Image(Image),
    Machine(MachineImage),
    Template(Option<Template>),
    Accelerator(Accelerator),
}

/// From the host side to the server.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// The answer to [`FromServer::Want`].
    Answer {
        id: u64,
        answer: Result<Provided, String>,
    },
}

impl Provided {
    /// The same seen through another mount of the cache.
    pub fn rebase(self, from: &Cache, onto: &Cache) -> Self {
        match self {
            Self::Image(image) => Self::Image(image.rebase(from, onto)),
            Self::Machine(image) => Self::Machine(image.rebase(from, onto)),
            Self::Template(template) => {
                Self::Template(template.map(|template| template.rebase(from, onto)))
            }
            Self::Accelerator(accelerator) => Self::Accelerator(accelerator),
        }
    }
}

/// What the server starts with.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerConfig {
    pub lab: crate::LabSpec,
    /// Where clients on the host reach the API.
    pub url: String,
}
