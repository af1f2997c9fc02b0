//! Images from a registry.

mod auth;
mod blobs;
mod manifest;
mod registry;
mod unpack;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use oci_client::Reference;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::registry::Registry;
use super::{Image, ImageConfig, ImageError};
use crate::cache::Cache;
use crate::progress::{Observer, Progress};

/// The image, from the cache where it is known there, else from its registry.
///
/// A tag that was pulled once is not asked for again, as with `imagePullPolicy: IfNotPresent`;
/// `latest` is asked for every time.
pub async fn image(
    cache: &Cache,
    reference: &str,
    source: &Reference,
    progress: Observer<'_>,
) -> Result<Image, ImageError> {
    let store = Store::open(cache)?;
    let moves = source.digest().is_none() && source.tag() == Some("latest");
    if !moves && let Some(found) = store.known(source).and_then(|digest| store.find(&digest)) {
        return Ok(found.named(reference, &store));
    }

    let say = |phase: String, fraction| {
        progress(Progress {
            what: format!("image {reference}"),
            phase,
            fraction,
        });
    };
    say(format!("asking {}", source.resolve_registry()), None);
    let registry = Registry::new(source, reference);
    let resolved = registry.manifest().await?;
    if let Some(found) = store.find(&resolved.digest) {
        store.remember(source, &resolved.digest)?;
        return Ok(found.named(reference, &store));
    }

    let _one_puller = store.lock().await?;
    if let Some(found) = store.find(&resolved.digest) {
        store.remember(source, &resolved.digest)?;
        return Ok(found.named(reference, &store));
    }
    let config = registry.config(&resolved).await?;
    let layers = blobs::fetch(&store.blobs(), &registry, &resolved.layers, &|fraction| {
        say("downloading".to_owned(), Some(fraction * 0.8));
    })
    .await?;
    say("unpacking".to_owned(), Some(0.8));
    let pulled = Pulled {
        digest: resolved.digest.clone(),
        config: config.runtime,
    };
    let layers: Vec<_> = layers.into_iter().zip(config.diff_ids).collect();
    unpack::image(
        cache,
        &store.place(&resolved.digest),
        reference,
        layers,
        &pulled,
    )
    .await?;
    store.remember(source, &resolved.digest)?;
    say("ready".to_owned(), Some(1.0));
    Ok(pulled.named(reference, &store))
}

/// What `image.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pulled {
    digest: String,
    config: ImageConfig,
}

impl Pulled {
    fn named(self, reference: &str, store: &Store) -> Image {
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
struct Store(PathBuf);

impl Store {
    fn open(cache: &Cache) -> Result<Self, ImageError> {
        let store = Self(cache.root().join("images"));
        for directory in [
            store.blobs(),
            store.0.join("pulled"),
            store.0.join("references"),
        ] {
            fs::create_dir_all(&directory).map_err(ImageError::io("create", directory))?;
        }
        Ok(store)
    }

    fn blobs(&self) -> PathBuf {
        self.0.join("blobs/sha256")
    }

    fn place(&self, digest: &str) -> PathBuf {
        self.0.join("pulled").join(digest.replace(':', "-"))
    }

    fn find(&self, digest: &str) -> Option<Pulled> {
        let text = fs::read(self.place(digest).join("image.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// A name that no reference can escape from.
    fn reference(&self, source: &Reference) -> PathBuf {
        let name = hex::encode(Sha256::digest(source.whole()));
        self.0.join("references").join(name)
    }

    fn known(&self, source: &Reference) -> Option<String> {
        if let Some(digest) = source.digest() {
            return Some(digest.to_owned());
        }
        let text = fs::read_to_string(self.reference(source)).ok()?;
        Some(text.lines().next()?.to_owned())
    }

    fn remember(&self, source: &Reference, digest: &str) -> Result<(), ImageError> {
        let path = self.reference(source);
        let unfinished = path.with_extension(format!("{}.part", std::process::id()));
        fs::write(&unfinished, format!("{digest}\n{}\n", source.whole()))
            .and_then(|()| fs::rename(&unfinished, &path))
            .map_err(ImageError::io("write", path))
    }

    async fn lock(&self) -> Result<File, ImageError> {
        let path = self.0.join("pull.lock");
        let file = File::create(&path).map_err(ImageError::io("create", &path))?;
        let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
        locked
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(ImageError::io("lock", path))
    }
}
