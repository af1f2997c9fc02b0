//! Images: resolved from the catalogue, built offline or pulled.
//!
//! ```text
//! images/built/agnhost-<key>/layer/    what the recipe adds to its root file system
//! images/blobs/sha256/<digest>         compressed layers, as they came
//! images/blobs/sha256/<digest>.part    the same, while they come
//! images/pulled/<digest>/root/         all layers of an image, applied
//! images/pulled/<digest>/image.json    written last
//! images/references/<hash>.json        which digest a reference had
//! ```
//!
//! The layers of a pulled image are applied to one directory: nothing is left that overlayfs would
//! have to be told (whiteouts, opaque directories), which an ordinary user could not write.

mod built;
mod error;
mod pull;

use std::path::PathBuf;

use oci_client::Reference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::error::ImageError;
use crate::cache::Cache;
use crate::catalogue::Catalogue;
use crate::progress::Observer;

/// Where images may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImagePolicy {
    /// From the catalogue's own recipes, without any network.
    #[default]
    Build,
    /// From their registries.
    Pull,
}

/// An image ready to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As it was asked for.
    pub reference: String,
    /// `sha256:…` of the manifest, or of the recipe's inputs for an image that was built.
    pub digest: String,
    /// Directories for overlayfs, top first. They contain neither whiteouts nor opaque marks.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfig,
}

/// The part of an image's configuration that a container starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ImageConfig {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers; empty for root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Empty for `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
}

impl Image {
    /// The same image seen through another mount of the cache.
    #[must_use]
    pub fn rebase(mut self, from: &Cache, onto: &Cache) -> Self {
        for layer in &mut self.layers {
            *layer = from.rebase(layer, onto);
        }
        self
    }
}

/// Resolves references to images.
#[derive(Clone, Debug)]
pub struct Images {
    cache: Cache,
    catalogue: Catalogue,
}

impl Images {
    pub fn new(cache: Cache, catalogue: Catalogue) -> Self {
        Self { cache, catalogue }
    }

    /// Makes every image that the catalogue can build, so that [`Images::resolve`] with
    /// [`ImagePolicy::Build`] only reads. The workload root file system must be there.
    /// Call it on the host, before the cache is mounted read-only.
    pub fn prepare(&self) -> Result<(), ImageError> {
        for entry in self.catalogue.entries() {
            if let Some(recipe) = entry.recipe() {
                built::ensure(&self.cache, entry.name(), recipe)?;
            }
        }
        Ok(())
    }

    /// Finds, builds or pulls an image.
    pub async fn resolve(
        &self,
        reference: &str,
        policy: ImagePolicy,
        progress: Observer<'_>,
    ) -> Result<Image, ImageError> {
        let asked: Reference = reference
            .parse()
            .map_err(|error| ImageError::BadReference {
                reference: reference.to_owned(),
                detail: format!("{error}"),
            })?;
        let entry = self.catalogue.find(&asked);
        match policy {
            ImagePolicy::Build => {
                let recipe = entry.and_then(|entry| Some((entry.name(), entry.recipe()?)));
                let Some((name, recipe)) = recipe else {
                    return Err(ImageError::Unknown {
                        reference: reference.to_owned(),
                    });
                };
                built::image(&self.cache, reference, name, recipe)
            }
            ImagePolicy::Pull => {
                let source = entry
                    .and_then(|entry| entry.source(&asked))
                    .unwrap_or(asked);
                pull::image(&self.cache, reference, &source, progress).await
            }
        }
    }
}
