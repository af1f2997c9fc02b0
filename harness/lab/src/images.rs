//! Where the lab's images come from: the cache, and what only the host side can fetch.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::oneshot;
use trunkline_kubelet::ImageFailure;
use trunkline_userland::{Cache, Catalogue, Image, ImageSource, Images};

use crate::{
    boot::{CACHE_INSIDE, ControlSender},
    message::FromServer,
};

type Waiting = HashMap<u64, oneshot::Sender<Result<Image, String>>>;

/// Resolves images for the kubelet.
#[derive(Debug)]
pub struct LabImages {
    images: Images,
    host: ControlSender<FromServer>,
    waiting: Mutex<Waiting>,
    next: AtomicU64,
}

impl LabImages {
    pub fn new(catalogue: Catalogue, source: ImageSource, host: ControlSender<FromServer>) -> Self {
        Self {
            images: Images::new(Cache::at(PathBuf::from(CACHE_INSIDE)), catalogue, source),
            host,
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// From the cache alone, where the host side has prepared everything.
    async fn built(&self, reference: &str) -> Result<Image, ImageFailure> {
        self.images
            .resolve(reference, &|_| ())
            .await
            .map_err(|error| ImageFailure(error.to_string()))
    }

    /// Hands the host side's answer to whoever asked for it.
    pub fn answer(&self, id: u64, image: Result<Image, String>) {
        if let Some(sender) = self.waiting().remove(&id) {
            // The pod may be gone meanwhile.
            let _ = sender.send(image);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_host(&self, reference: &str) -> Result<Image, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id, sender);
        let gone = || "the lab's host side is gone".to_owned();
        self.host
            .send(&FromServer::WantImage {
                id,
                reference: reference.to_owned(),
            })
            .map_err(|_| gone())?;
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[async_trait]
impl trunkline_kubelet::ImageSource for LabImages {
    async fn present(&self, reference: &str) -> Option<Image> {
        match self.images.source() {
            ImageSource::Build => self.built(reference).await.ok(),
            // Every node has what was pulled before, by whichever lab.
            ImageSource::Pull => self.images.pulled(reference),
            // As if the archives had been loaded into every node.
            ImageSource::Directory(_) => self.ask_host(reference).await.ok(),
        }
    }

    async fn provide(&self, reference: &str) -> Result<Image, ImageFailure> {
        match self.images.source() {
            ImageSource::Build => self.built(reference).await,
            // Only the host side has the network, and the directory.
            ImageSource::Pull | ImageSource::Directory(_) => {
                self.ask_host(reference).await.map_err(ImageFailure)
            }
        }
    }
}
