//! What the cache knows of images from elsewhere.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use oci_client::Reference;
use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, Layer};
use super::content::{Content, digest};
use super::manifest::{Configuration, Manifest};
use super::{Image, ImageConfig, ImageError};
use crate::cache::Cache;

/// What `image.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unpacked {
    pub digest: String,
    pub config: ImageConfig,
}

impl Unpacked {
    pub fn named(self, reference: &str, store: &Store) -> Image {
        Image {
            reference: reference.to_owned(),
            layers: vec![store.place(&self.digest).join("root")],
            digest: self.digest,
            config: self.config,
        }
    }

    /// Written last: it is the mark of completion.
    pub fn write(&self, place: &Path) -> Result<(), ImageError> {
        let path = place.join("image.json");
        let write = || fs::write(&path, serde_json::to_vec_pretty(self)?);
        write().map_err(ImageError::io("write", &path))
    }
}

/// The images of a cache.
pub struct Store(PathBuf);

impl Store {
    /// To be read only; there may be nothing.
    pub fn at(cache: &Cache) -> Self {
        Self(cache.root().join("images"))
    }

    pub fn open(cache: &Cache) -> Result<Self, ImageError> {
        let store = Self::at(cache);
        for directory in [
            store.blobs(),
            store.0.join("pulled"),
            store.0.join("references"),
            store.0.join("packed"),
        ] {
            fs::create_dir_all(&directory).map_err(ImageError::io("create", directory))?;
        }
        Ok(store)
    }

    pub fn blobs(&self) -> PathBuf {
        self.0.join("blobs/sha256")
    }

    pub fn blob(&self, digest: &str) -> PathBuf {
        self.blobs().join(digest.trim_start_matches("sha256:"))
    }

    /// Keeps a manifest or a configuration; its digest.
    pub fn keep(&self, text: &[u8]) -> Result<String, ImageError> {
        let digest = digest(text);
        let path = self.blob(&digest);
        if !path.exists() {
            let unfinished = path.with_extension(format!("{}.part", std::process::id()));
            fs::write(&unfinished, text)
                .and_then(|()| fs::rename(&unfinished, &path))
                .map_err(ImageError::io("write", &path))?;
        }
        Ok(digest)
    }

    pub fn place(&self, digest: &str) -> PathBuf {
        self.0.join("pulled").join(digest.replace(':', "-"))
    }

    pub fn find(&self, digest: &str) -> Option<Unpacked> {
        let text = fs::read(self.place(digest).join("image.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The form that travels, of an image whose blobs are all there.
    pub fn bundle(&self, digest: &str) -> Option<Bundle> {
        let manifest = fs::read(self.blob(digest)).ok()?;
        let Ok(Manifest::Image { config, layers }) = serde_json::from_slice(&manifest) else {
            return None;
        };
        let config = fs::read(self.blob(&config.digest)).ok()?;
        let (_, diff_ids) = serde_json::from_slice::<Configuration>(&config)
            .ok()?
            .split();
        let layers = layers.into_iter().zip(diff_ids).map(|(layer, diff_id)| {
            let path = self.blob(&layer.digest);
            let there = fs::metadata(&path).is_ok_and(|found| found.len() == layer.size);
            there.then_some(Layer {
                digest: layer.digest,
                size: layer.size,
                diff_id,
                media_type: layer.media_type?,
                content: Content::File(path),
            })
        });
        let layers = layers.collect::<Option<Vec<_>>>()?;
        Some(Bundle::with_manifest(manifest, config, layers))
    }

    /// What is known of a directory that was packed.
    pub fn packed(&self, key: &str) -> PathBuf {
        self.0.join("packed").join(format!("{key}.json"))
    }

    /// A name that no reference can escape from.
    fn reference(&self, source: &Reference) -> PathBuf {
        let name = digest(source.whole().as_bytes());
        let name = name.trim_start_matches("sha256:");
        self.0.join("references").join(name)
    }

    /// The digest that a reference had.
    pub fn known(&self, source: &Reference) -> Option<String> {
        if let Some(digest) = source.digest() {
            return Some(digest.to_owned());
        }
        let text = fs::read_to_string(self.reference(source)).ok()?;
        Some(text.lines().next()?.to_owned())
    }

    pub fn remember(&self, source: &Reference, digest: &str) -> Result<(), ImageError> {
        let path = self.reference(source);
        let unfinished = path.with_extension(format!("{}.part", std::process::id()));
        fs::write(&unfinished, format!("{digest}\n{}\n", source.whole()))
            .and_then(|()| fs::rename(&unfinished, &path))
            .map_err(ImageError::io("write", path))
    }

    /// Only one process at a time fills the store.
    pub async fn lock(&self) -> Result<File, ImageError> {
        let path = self.0.join("pull.lock");
        let file = File::create(&path).map_err(ImageError::io("create", &path))?;
        let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
        locked
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(ImageError::io("lock", path))
    }
}
