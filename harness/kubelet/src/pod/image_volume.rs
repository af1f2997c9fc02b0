//! Images that a container mounts instead of running them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::text::go_duration;
use super::worker::{Interrupted, Worker};
use crate::events::Severity;

impl Worker {
    /// Shows the container's image volumes; false if one cannot be had now, and then the container waits for it as it
    /// would for its own image.
    pub(super) async fn image_volumes(&mut self, index: usize) -> Result<bool, Interrupted> {
        let Some(volumes) = &self.volumes else {
            return Ok(false);
        };
        for (volume, source) in volumes.missing_images(&self.pod, &self.slots[index].spec) {
            let reference = source.reference.unwrap_or_default();
            if self.must_not_pull(index, &reference) {
                return Ok(false);
            }
            let images = Arc::clone(&self.node.shared.images);
            let begun = Instant::now();
            let pulled = self.unless_ending(images.volume(&reference)).await?;
            let shown = match (pulled, &mut self.volumes) {
                (Ok(directories), Some(volumes)) => volumes
                    .show_image(&volume, &directories)
                    .map_err(|error| error.to_string()),
                (Ok(_), None) => return Ok(false),
                (Err(error), _) => Err(error.to_string()),
            };
            if let Err(text) = shown {
                self.refuse_image(
                    index,
                    "ErrImagePull",
                    "Failed",
                    &format!("Failed to pull image {reference:?}: {text}"),
                    text.clone(),
                );
                let now = Instant::now();
                let slot = &mut self.slots[index];
                slot.pull.attempt(now);
                slot.pull_failure = Some((now, text));
                self.wake_at(now + Duration::from_secs(1));
                return Ok(false);
            }
            let took = go_duration(begun.elapsed());
            self.event(
                Severity::Normal,
                "Pulled",
                format!(
                    "Successfully pulled image {reference:?} in {took} ({took} including waiting)"
                ),
            );
        }
        Ok(true)
    }
}
