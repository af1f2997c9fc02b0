//! Images: built from the catalogue, pulled, or taken from archives.
//!
//! ```text
//! images/built/agnhost-<key>/layer/    what the recipe adds to its root file system
//! images/blobs/sha256/<digest>         compressed layers, as they came
//! images/blobs/sha256/<digest>.part    the same, while they come
//! images/pulled/<digest>/root/         all layers of an image from elsewhere, applied
//! images/pulled/<digest>/image.json    written last
//! images/references/<hash>             which digest a reference had
//! images/packed/<key>.json             which blob a directory was packed into
//! ```
//!
//! The layers of a pulled image are applied to one directory: nothing is left that overlayfs would
//! have to be told (whiteouts, opaque directories), which an ordinary user could not write.

mod archived;
mod built;
mod bundle;
pub(crate) mod content;
mod error;
pub(crate) mod manifest;
mod pack;
mod pull;
mod resolve;
mod source;
mod store;
mod unpack;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::bundle::{Bundle, Layer};
pub use self::content::Content;
pub use self::error::ImageError;
pub use self::manifest::Platform;
pub use self::resolve::{Images, Listed, State};
pub use self::source::{ImageSource, ImageSourceError};
use crate::cache::Cache;

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
