//! The image that nodes are made of, and what is special about it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Feature;

/// A node image. Another than the pinned one is described in a file of this form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeImage {
    pub image: String,
    /// What kind's own images bring and this one does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Feature>,
    /// Documents that kind merges into kubeadm's configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kubeadm_patches: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum NodeImageError {
    #[error("cannot read the node image's description {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: {message}; it has the keys `image`, `lacks` and `kubeadm-patches`", .path.display())]
    Wrong { path: PathBuf, message: String },
}

impl NodeImage {
    /// Reads a description.
    pub fn read(path: &Path) -> Result<Self, NodeImageError> {
        let text = std::fs::read_to_string(path).map_err(|source| NodeImageError::Read {
            path: path.to_owned(),
            source,
        })?;
        let options = serde_yaml::options! { legacy_octal_numbers: true };
        serde_yaml::from_str_with_options(&text, options).map_err(|error| NodeImageError::Wrong {
            path: path.to_owned(),
            message: error.without_snippet().to_string(),
        })
    }

    /// kind's own network and proxy are part of its images.
    pub fn brings_network(&self) -> bool {
        !self.lacks.contains(&Feature::DefaultNetwork)
    }
}
