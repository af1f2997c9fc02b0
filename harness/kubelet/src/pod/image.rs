//! Getting a container's image, or saying why not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_userland::Image;

use super::policy::{Pull, is_reference};
use super::text::go_duration;
use super::worker::{Interrupted, Worker};
use crate::events::Severity;

/// An image that must not be pulled is looked for again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Worker {
    /// The container's image, or None if it cannot be had now.
    pub(super) async fn image(&mut self, index: usize) -> Result<Option<Image>, Interrupted> {
        let reference = self.slots[index].spec.image.clone().unwrap_or_default();
        if !is_reference(&reference) {
            let message = format!(
                "Failed to apply default image tag {reference:?}: couldn't parse image name {reference:?}: invalid reference format"
            );
            self.refuse_image(
                index,
                "InvalidImageName",
                "InspectFailed",
                &message,
                message.clone(),
            );
            return Ok(None);
        }
        let policy = Pull::of(&self.slots[index].spec);
        let images = Arc::clone(&self.node.shared.images);
        if policy != Pull::Always
            && let Some(image) = self.unless_ending(images.present(&reference)).await?
        {
            self.container_event(
                index,
                Severity::Normal,
                "Pulled",
                format!("Container image {reference:?} already present on machine"),
            );
            self.have_image(index);
            return Ok(Some(image));
        }
        if policy == Pull::Never {
            let message =
                format!("Container image {reference:?} is not present with pull policy of Never");
            self.refuse_image(
                index,
                "ErrImageNeverPull",
                "ErrImageNeverPull",
                &message,
                message.clone(),
            );
            let retry = Instant::now() + LOOK_AGAIN;
            self.slots[index].retry_at = Some(retry);
            self.wake_at(retry);
            return Ok(None);
        }
        if self.must_not_pull(index, &reference) {
            return Ok(None);
        }
        self.container_event(
            index,
            Severity::Normal,
            "Pulling",
            format!("Pulling image {reference:?}"),
        );
        self.publish().await;
        let begun = Instant::now();
        match self.unless_ending(images.provide(&reference)).await? {
            Ok(image) => {
                let took = go_duration(begun.elapsed());
                self.container_event(
                    index,
                    Severity::Normal,
                    "Pulled",
                    format!("Successfully pulled image {reference:?} in {took} ({took} including waiting)"),
                );
                self.have_image(index);
                Ok(Some(image))
            }
            Err(error) => {
                let text = error.to_string();
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
                Ok(None)
            }
        }
    }

    fn have_image(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.pull.reset();
        slot.pull_failure = None;
    }

    pub(super) fn refuse_image(
        &mut self,
        index: usize,
        reason: &'static str,
        event: &'static str,
        text: &str,
        message: String,
    ) {
        let new = !matches!(&self.slots[index].waiting, Some(w) if w.reason == reason && w.message.as_ref() == Some(&message));
        self.slots[index].wait(reason, Some(message));
        if new || reason == "ErrImagePull" {
            self.container_event(index, Severity::Warning, event, text);
            self.container_event(
                index,
                Severity::Warning,
                "Failed",
                format!("Error: {reason}"),
            );
        }
    }

    pub(super) fn must_not_pull(&mut self, index: usize, reference: &str) -> bool {
        let now = Instant::now();
        let slot = &mut self.slots[index];
        let Some((failed, text)) = slot.pull_failure.clone() else {
            return false;
        };
        let Some((until, _)) = slot.pull.wait_until(failed, now) else {
            return false;
        };
        let new = !matches!(&slot.waiting, Some(w) if w.reason == "ImagePullBackOff");
        let message = format!("Back-off pulling image {reference:?}");
        slot.wait(
            "ImagePullBackOff",
            Some(format!("{message}: ErrImagePull: {text}")),
        );
        if new {
            self.container_event(index, Severity::Normal, "BackOff", message);
            self.container_event(
                index,
                Severity::Warning,
                "Failed",
                "Error: ImagePullBackOff",
            );
        }
        self.wake_at(until);
        true
    }
}
