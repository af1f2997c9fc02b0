//! One repository of one registry.

use std::time::Duration;

use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use super::auth;
use crate::images::content::digest;
use crate::images::manifest::{Configuration, Descriptor, Manifest, Platform};
use crate::images::{ImageConfig, ImageError};

const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Without a byte for so long, a registry does not answer.
const SILENCE: Duration = Duration::from_secs(20);

/// A manifest is a page of JSON, and a configuration a few.
const MAX_CONFIG: u64 = 8 << 20;

pub struct Registry {
    pub client: Client,
    pub source: Reference,
    /// As it was asked for, for messages.
    reference: String,
    auth: RegistryAuth,
}

/// The manifest for this machine.
pub struct Resolved {
    pub digest: String,
    /// Whose digest that is.
    pub text: Vec<u8>,
    config: Descriptor,
    pub layers: Vec<Descriptor>,
}

pub struct Config {
    /// As it came.
    pub text: Vec<u8>,
    pub runtime: ImageConfig,
    /// Digests of the uncompressed layers.
    pub diff_ids: Vec<String>,
}

impl Registry {
    pub fn new(source: &Reference, reference: &str) -> Self {
        // Whoever was first decided; a second installation changes nothing.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let registry = source.resolve_registry();
        let config = ClientConfig {
            // As Docker does, this machine's own registries are spoken to in plain text.
            protocol: if is_local(registry) {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            connect_timeout: Some(SILENCE),
            read_timeout: Some(SILENCE),
            ..ClientConfig::default()
        };
        Self {
            client: Client::new(config),
            auth: auth::stored(source.registry()),
            source: source.clone(),
            reference: reference.to_owned(),
        }
    }

    pub async fn manifest(&self) -> Result<Resolved, ImageError> {
        self.client
            .auth(&self.source, &self.auth, RegistryOperation::Pull)
            .await
            .map_err(|error| self.error(&error))?;
        let (manifest, text) = self.one_manifest(&self.source).await?;
        let (manifest, text) = match manifest {
            Manifest::Image { .. } => (manifest, text),
            Manifest::Index { manifests } => {
                let here = Platform::here();
                let variant = manifests
                    .iter()
                    .find(|variant| variant.platform.as_ref() == Some(&here));
                let Some(variant) = variant else {
                    let offered: Vec<String> = manifests
                        .iter()
                        .filter_map(|variant| variant.platform.as_ref())
                        .map(ToString::to_string)
                        .collect();
                    return Err(self.wrong_platform(&offered));
                };
                let source = self.source.clone_with_digest(variant.digest.clone());
                self.one_manifest(&source).await?
            }
        };
        match manifest {
            Manifest::Image { config, layers } => Ok(Resolved {
                digest: digest(&text),
                text,
                config,
                layers,
            }),
            Manifest::Index { .. } => Err(self.damaged("a list of variants names another list")),
        }
    }

    async fn one_manifest(&self, source: &Reference) -> Result<(Manifest, Vec<u8>), ImageError> {
        let (text, _claimed) = self
            .client
            .pull_manifest_raw(source, &self.auth, &ACCEPTED)
            .await
            .map_err(|error| self.error(&error))?;
        let actual = digest(&text);
        if let Some(expected) = source.digest()
            && expected != actual
        {
            return Err(self.damaged(&format!("the manifest has digest {actual}, not {expected}")));
        }
        let manifest = serde_json::from_slice(&text)
            .map_err(|error| self.damaged(&format!("the manifest cannot be read: {error}")))?;
        Ok((manifest, text.to_vec()))
    }

    pub async fn config(&self, resolved: &Resolved) -> Result<Config, ImageError> {
        if resolved.config.size > MAX_CONFIG {
            return Err(self.damaged("its configuration is larger than 8 MiB"));
        }
        let mut text = Vec::new();
        self.client
            .pull_blob(&self.source, resolved.config.digest.as_str(), &mut text)
            .await
            .map_err(|error| self.error(&error))?;
        let configuration: Configuration = serde_json::from_slice(&text)
            .map_err(|error| self.damaged(&format!("the configuration cannot be read: {error}")))?;
        let platform = configuration.platform();
        if platform != Platform::here() {
            return Err(self.wrong_platform(&[platform.to_string()]));
        }
        let (runtime, diff_ids) = configuration.split();
        if diff_ids.len() != resolved.layers.len() {
            return Err(self.damaged(&format!(
                "its manifest has {} layers and its configuration {}",
                resolved.layers.len(),
                diff_ids.len()
            )));
        }
        Ok(Config {
            text,
            runtime,
            diff_ids,
        })
    }

    fn wrong_platform(&self, offered: &[String]) -> ImageError {
        ImageError::Platform {
            reference: self.reference.clone(),
            wanted: Platform::here().to_string(),
            offered: if offered.is_empty() {
                "none".to_owned()
            } else {
                offered.join(", ")
            },
        }
    }

    pub fn damaged(&self, detail: &str) -> ImageError {
        ImageError::Damaged {
            reference: self.reference.clone(),
            detail: detail.to_owned(),
        }
    }

    pub fn error(&self, error: &OciDistributionError) -> ImageError {
        let reference = self.reference.clone();
        let registry = self.source.resolve_registry().to_owned();
        match Answer::of(error) {
            Answer::NotFound => ImageError::NotFound {
                reference,
                registry,
            },
            Answer::Unauthorized => ImageError::Unauthorized {
                reference,
                registry,
            },
            Answer::Silent => ImageError::Silent {
                reference,
                registry,
                detail: innermost(error),
            },
            Answer::Damaged => self.damaged(&error.to_string()),
            Answer::Other => ImageError::Registry {
                reference,
                registry,
                detail: match error {
                    OciDistributionError::RequestError(error) => innermost(error),
                    other => other.to_string(),
                },
            },
        }
    }
}

/// What an error of the client comes down to.
enum Answer {
    NotFound,
    Unauthorized,
    Silent,
    Damaged,
    Other,
}

impl Answer {
    fn of(error: &OciDistributionError) -> Self {
        match error {
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => Self::NotFound,
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::ServerError {
                code: 401 | 403, ..
            } => Self::Unauthorized,
            OciDistributionError::RegistryError { envelope, .. } => envelope
                .errors
                .iter()
                .find_map(|error| match error.code {
                    OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown => {
                        Some(Self::NotFound)
                    }
                    OciErrorCode::Unauthorized | OciErrorCode::Denied => Some(Self::Unauthorized),
                    _ => None,
                })
                .unwrap_or(Self::Other),
            OciDistributionError::DigestError(_) => Self::Damaged,
            OciDistributionError::RequestError(error)
                if error.is_connect() || error.is_timeout() =>
            {
                Self::Silent
            }
            _ => Self::Other,
        }
    }
}

/// The last cause says most: `connection refused` rather than `error sending request`.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn is_local(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("localhost:5000", true)]
    #[case("127.0.0.1:5000", true)]
    #[case("[::1]:5000", true)]
    #[case("registry.k8s.io", false)]
    #[case("localhost.example.org", false)]
    #[case("10.0.0.1:5000", false)]
    fn only_this_machine_is_spoken_to_in_plain_text(#[case] registry: &str, #[case] plain: bool) {
        assert_eq!(super::is_local(registry), plain);
    }
}
