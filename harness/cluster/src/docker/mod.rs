//! Docker or Podman: the containers that nodes and outside hosts are.

mod error;
mod exec;
mod host;
mod nodes;
mod preconditions;

use bollard::query_parameters::InspectContainerOptions;

pub use error::DockerError;
pub(crate) use exec::last_lines;
pub use exec::{Ran, Stdin};
pub(crate) use host::chain;
pub use host::{DockerFacts, HostFacts, Limits};
pub use nodes::{CLUSTER_LABEL, NodeContainer, NodeRole};
pub use preconditions::{CheckId, Demands, Finding, check};

/// The daemon (or Podman's service), as far as a cluster in containers needs it.
#[derive(Clone, Debug)]
pub struct Docker {
    client: bollard::Docker,
    provider: Provider,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    Docker,
    Podman,
}

impl Provider {
    /// As kind and people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl Docker {
    /// Connects to the provider that kind would take: the one `KIND_EXPERIMENTAL_PROVIDER` names, else Docker, else Podman.
    pub async fn connect() -> Result<Self, DockerError> {
        match std::env::var("KIND_EXPERIMENTAL_PROVIDER").as_deref() {
            Ok("podman") => Self::podman().await,
            Ok("docker") => Self::docker().await,
            // Who names an address means no other; the defaults of Podman would go on to the usual sockets.
            _ if std::env::var_os("DOCKER_HOST").is_some() => Self::docker().await,
            _ => match Self::docker().await {
                // Docker is the usual one, so its absence is what is told.
                Err(absent @ DockerError::Absent { .. }) => Self::podman().await.or(Err(absent)),
                other => other,
            },
        }
    }

    async fn docker() -> Result<Self, DockerError> {
        let client = bollard::Docker::connect_with_defaults()
            .map_err(|source| DockerError::reaching(Provider::Docker, source))?;
        Self::answering(client, Provider::Docker).await
    }

    async fn podman() -> Result<Self, DockerError> {
        let client = bollard::Docker::connect_with_podman_defaults()
            .map_err(|source| DockerError::reaching(Provider::Podman, source))?;
        Self::answering(client, Provider::Podman).await
    }

    /// The API's version is agreed on, which is also the proof that somebody answers.
    async fn answering(client: bollard::Docker, provider: Provider) -> Result<Self, DockerError> {
        let client = client
            .negotiate_version()
            .await
            .map_err(|source| DockerError::reaching(provider, source))?;
        Ok(Self { client, provider })
    }

    pub fn provider(&self) -> Provider {
        self.provider
    }

    pub fn client(&self) -> &bollard::Docker {
        &self.client
    }

    /// The address of a container on a network.
    pub async fn address(&self, container: &str, network: &str) -> Result<String, DockerError> {
        let details = self
            .client
            .inspect_container(container, None::<InspectContainerOptions>)
            .await
            .map_err(DockerError::doing(|| {
                format!("look at container {container}")
            }))?;
        details
            .network_settings
            .and_then(|settings| settings.networks)
            .and_then(|networks| networks.get(network)?.ip_address.clone())
            .filter(|address| !address.is_empty())
            .ok_or_else(|| DockerError::NoAddress {
                container: container.to_owned(),
                network: network.to_owned(),
            })
    }
}
