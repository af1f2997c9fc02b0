//! Where the lab's images come from: the cache, and what only the host side can fetch or make.

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
use trunkline_qemu::Accelerator;
use trunkline_userland::{
    Cache, Catalogue, Image, ImageSource, Images,
    machine::{MachineImage, MachineImages, Shape, Template},
};

use crate::{
    boot::{CACHE_INSIDE, ControlSender},
    message::{FromServer, Provided, Want},
};

type Answer = Result<Provided, String>;

/// Resolves images for the kubelet, and what virtual machines are started from for the virt-handler.
#[derive(Debug)]
pub struct LabImages {
    images: Images,
    host: ControlSender<FromServer>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
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

    /// Hands the host side's answer to whoever asked for it.
    pub fn answer(&self, id: u64, answer: Answer) {
        if let Some(sender) = self.waiting().remove(&id) {
            // The pod may be gone meanwhile.
            let _ = sender.send(answer);
        }
    }

    /// From the cache alone, where the host side has prepared what every lab needs.
    async fn built(&self, reference: &str) -> Option<Image> {
        self.images.resolve(reference, &|_| ()).await.ok()
    }

    async fn image(&self, reference: &str) -> Result<Image, String> {
        match self.ask(Want::Image(reference.to_owned())).await? {
            Provided::Image(image) => Ok(image),
            other => Err(mistaken(&other)),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, what: Want) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id, sender);
        let gone = || "the lab's host side is gone".to_owned();
        self.host
            .send(&FromServer::Want { id, what })
            .map_err(|_| gone())?;
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn mistaken(answer: &Provided) -> String {
    format!("the lab's host side answered another question: {answer:?}")
}

#[async_trait]
impl trunkline_kubelet::ImageSource for LabImages {
    async fn present(&self, reference: &str) -> Option<Image> {
        match self.images.source() {
            ImageSource::Build => self.built(reference).await,
            // Every node has what was pulled before, by whichever lab.
            ImageSource::Pull => self.images.pulled(reference),
            // As if the archives had been loaded into every node.
            ImageSource::Directory(_) => self.image(reference).await.ok(),
        }
    }

    async fn provide(&self, reference: &str) -> Result<Image, ImageFailure> {
        if self.images.is_offline()
            && let Some(built) = self.built(reference).await
        {
            return Ok(built);
        }
        self.image(reference).await.map_err(ImageFailure)
    }

    async fn volume(&self, reference: &str) -> Result<Vec<PathBuf>, ImageFailure> {
        if self.images.is_offline() {
            // A guest of ours is no image; what is shown is where its parts lie.
            let image = MachineImages::provide(self, reference).await;
            let directory = match image.map_err(ImageFailure)? {
                MachineImage::Guest(guest) => guest.root,
                MachineImage::Disk(disk) => disk.path,
            };
            return Ok(directory.parent().map(PathBuf::from).into_iter().collect());
        }
        let image = trunkline_kubelet::ImageSource::provide(self, reference).await?;
        Ok(image.layers)
    }
}

#[async_trait]
impl MachineImages for LabImages {
    async fn provide(&self, reference: &str) -> Result<MachineImage, String> {
        match self.ask(Want::Machine(reference.to_owned())).await? {
            Provided::Machine(image) => Ok(image),
            other => Err(mistaken(&other)),
        }
    }

    async fn template(
        &self,
        image: &MachineImage,
        shape: Shape,
    ) -> Result<Option<Template>, String> {
        let want = Want::Template {
            image: image.clone(),
            shape,
        };
        match self.ask(want).await? {
            Provided::Template(template) => Ok(template),
            other => Err(mistaken(&other)),
        }
    }

    async fn accelerator(&self) -> Accelerator {
        match self.ask(Want::Accelerator).await {
            Ok(Provided::Accelerator(accelerator)) => accelerator,
            // Works everywhere.
            _ => Accelerator::Tcg,
        }
    }
}
