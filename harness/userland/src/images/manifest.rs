//! What registries and archives say about an image.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::images::ImageConfig;

/// A layer or a configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: Option<String>,
    pub digest: String,
    pub size: u64,
}

/// An image, or a list of its variants; both from Docker and from OCI.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Manifest {
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    Index {
        manifests: Vec<Variant>,
    },
}

#[derive(Debug, Deserialize)]
pub struct Variant {
    pub digest: String,
    pub platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
}

impl Platform {
    /// What containers here run on, in Go's words.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// The configuration blob.
#[derive(Debug, Deserialize)]
pub struct Configuration {
    os: Option<String>,
    architecture: Option<String>,
    config: Option<Runtime>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Runtime {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
}

impl Configuration {
    /// What it is for; this machine's where it does not say.
    pub fn platform(&self) -> Platform {
        let here = Platform::here();
        Platform {
            os: self.os.clone().unwrap_or(here.os),
            architecture: self.architecture.clone().unwrap_or(here.architecture),
        }
    }

    pub fn split(self) -> (ImageConfig, Vec<String>) {
        let runtime = self.config.unwrap_or_default();
        let config = ImageConfig {
            entrypoint: runtime.entrypoint.unwrap_or_default(),
            cmd: runtime.cmd.unwrap_or_default(),
            env: runtime.env.unwrap_or_default(),
            user: runtime.user.unwrap_or_default(),
            working_dir: runtime.working_dir.unwrap_or_default(),
            stop_signal: runtime.stop_signal,
            volumes: runtime.volumes.unwrap_or_default().into_keys().collect(),
        };
        (config, self.rootfs.diff_ids)
    }
}
