//! Where images come from.

use std::path::PathBuf;

use async_trait::async_trait;
use trunkline_userland::Image;

/// Why there is no such image, in words that name the reference and the ways to provide it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImageFailure(pub String);

/// Resolves image references to root file systems that lie on this machine.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// The image if it can be used at once (`imagePullPolicy: IfNotPresent` asks this first, `Never` only this).
    async fn present(&self, reference: &str) -> Option<Image>;

    /// Pulls or builds the image.
    async fn provide(&self, reference: &str) -> Result<Image, ImageFailure>;

    /// What a volume of the type `image` shows: directories of which the first hides what it has in common with the
    /// next.
    async fn volume(&self, reference: &str) -> Result<Vec<PathBuf>, ImageFailure> {
        Ok(self.provide(reference).await?.layers)
    }
}
