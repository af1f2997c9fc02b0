//! The image of the DNS pod: a program that waits, from what the lab has anyway, whatever the catalogue says.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use trunkline_kubelet::{ImageFailure, ImageSource};
use trunkline_userland::{Image, ImageConfig, programs::Programs};

/// Pods of this image answer DNS.
pub const REFERENCE: &str = concat!("lab.trunkline.dev/cluster-dns:", env!("CARGO_PKG_VERSION"));

/// Whether the lab answers for this pod.
pub fn is_of(pod: &Pod) -> bool {
    pod.spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .any(|container| container.image.as_deref() == Some(REFERENCE))
}

/// Other images, and ours.
pub struct WithDns<S> {
    others: Arc<S>,
    dns: Image,
}

impl<S> WithDns<S> {
    pub fn new(others: Arc<S>, programs: &Programs) -> Self {
        Self {
            others,
            dns: image(&programs.http_server),
        }
    }
}

/// The directory of the program is the image.
fn image(program: &Path) -> Image {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let directory = program.parent().unwrap_or(Path::new("/"));
    let version = directory.file_name().unwrap_or_default().to_string_lossy();
    Image {
        reference: REFERENCE.to_owned(),
        digest: format!("sha256:{version:0<64}"),
        layers: vec![directory.to_owned()],
        config: ImageConfig {
            entrypoint: vec![format!("/{name}"), "pause".to_owned()],
            user: "65535:65535".to_owned(),
            ..ImageConfig::default()
        },
    }
}

#[async_trait]
impl<S: ImageSource> ImageSource for WithDns<S> {
    async fn present(&self, reference: &str) -> Option<Image> {
        if reference == REFERENCE {
            return Some(self.dns.clone());
        }
        self.others.present(reference).await
    }

    async fn provide(&self, reference: &str) -> Result<Image, ImageFailure> {
        if reference == REFERENCE {
            return Ok(self.dns.clone());
        }
        self.others.provide(reference).await
    }

    async fn volume(&self, reference: &str) -> Result<Vec<PathBuf>, ImageFailure> {
        self.others.volume(reference).await
    }
}
