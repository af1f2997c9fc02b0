//! Hosts outside the cluster: containers on the network that the nodes are on, also with an address on a VLAN.
//!
//! A host's image need not know anything of this. What touches its network runs in containers of their own that share
//! its network namespace: one that ends once the addresses are there, and, where the kernel has no VLAN devices, one with
//! Open vSwitch that stays.

mod container;
mod wire;

use ipnet::IpNet;

use crate::docker::{Docker, DockerError, Ran, Stdin};

/// kind's network.
pub const NETWORK: &str = "kind";

/// On every container of a host: the cluster it belongs to.
pub const CLUSTER: &str = "trunkline.dev/cluster";
/// The host's name.
pub const HOST: &str = "trunkline.dev/outside";

/// A host outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideHost {
    pub name: String,
    pub image: String,
    /// In place of the image's own entry point and arguments; empty to keep those.
    pub command: Vec<String>,
    /// Beside the one that the network gives it.
    pub address: Option<IpNet>,
    /// The VLAN that the address is on.
    pub vlan: Option<Vlan>,
}

/// An IEEE 802.1Q tag, 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan(u16);

impl Vlan {
    pub fn new(tag: u16) -> Option<Self> {
        (1..=4094).contains(&tag).then_some(Self(tag))
    }
}

/// Images of the containers that wire hosts up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireImages {
    /// With bash and iproute2, as every node image.
    pub tools: String,
    /// With Open vSwitch; without it a VLAN needs a kernel that has VLAN devices.
    pub open_vswitch: Option<String>,
}

/// How a host got its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// On the network's own device.
    Untagged,
    /// A VLAN device of the kernel.
    Kernel,
    /// A port of an Open vSwitch in user space.
    OpenVSwitch,
}

/// A host that runs.
#[derive(Clone, Debug)]
pub struct Outside {
    docker: Docker,
    container: String,
    pub name: String,
    pub wire: Wire,
}

#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(
        "the host {host} cannot have VLAN {vlan}: this kernel has no VLAN devices (modprobe 8021q), and no image with Open vSwitch was given"
    )]
    NoVlan { host: String, vlan: u16 },
    #[error("the network of the host {host} could not be set up: {why}")]
    Wire { host: String, why: String },
}

impl Outside {
    /// Starts the host and gives it its address. Nothing of it is left when that fails.
    pub async fn start(
        docker: &Docker,
        cluster: &str,
        host: &OutsideHost,
        images: &WireImages,
    ) -> Result<Self, OutsideError> {
        let container = container::start_host(docker, cluster, host).await?;
        match wire::wire(docker, cluster, host, &container, images).await {
            Ok(wire) => Ok(Self {
                docker: docker.clone(),
                container,
                name: host.name.clone(),
                wire,
            }),
            Err(error) => {
                container::remove(docker, cluster, Some(&host.name)).await?;
                Err(error)
            }
        }
    }

    /// Runs a command on the host, whatever its exit code.
    pub async fn exec(&self, command: &[&str], stdin: Stdin) -> Result<Ran, OutsideError> {
        Ok(self
            .docker
            .run(&self.container, command, &[], stdin)
            .await?)
    }

    /// The address that the network gave it.
    pub async fn network_address(&self) -> Result<String, OutsideError> {
        Ok(self.docker.address(&self.container, NETWORK).await?)
    }

    pub fn container(&self) -> &str {
        &self.container
    }
}

/// Removes one host of a cluster. `false` when there is none of the name.
pub async fn remove(docker: &Docker, cluster: &str, host: &str) -> Result<bool, DockerError> {
    Ok(container::remove(docker, cluster, Some(host)).await? > 0)
}

/// Removes every host of a cluster; says how many containers went.
pub async fn remove_all(docker: &Docker, cluster: &str) -> Result<usize, DockerError> {
    container::remove(docker, cluster, None).await
}
