//! Images from a registry.

mod auth;
mod blobs;
mod registry;

use std::path::PathBuf;

use oci_client::Reference;

use self::registry::{Config, Registry, Resolved};
use super::content::Content;
use super::store::{Store, Unpacked};
use super::{Bundle, Image, ImageError, unpack};
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

    let say = Say::new(reference, progress);
    say.phase(format!("asking {}", source.resolve_registry()));
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
    let (config, layers) = download(&store, &registry, &resolved, &say).await?;
    say.part("unpacking", 0.8);
    let unpacked = Unpacked {
        digest: resolved.digest.clone(),
        config: config.runtime,
    };
    let layers = layers.into_iter().map(Content::File).zip(config.diff_ids);
    unpack::image(
        cache,
        &store.place(&resolved.digest),
        reference,
        layers.collect(),
        &unpacked,
    )
    .await?;
    store.remember(source, &resolved.digest)?;
    say.part("ready", 1.0);
    Ok(unpacked.named(reference, &store))
}

/// The image in the form that travels; it is not unpacked for that.
pub async fn bundle(
    cache: &Cache,
    reference: &str,
    source: &Reference,
    progress: Observer<'_>,
) -> Result<Bundle, ImageError> {
    let store = Store::open(cache)?;
    let say = Say::new(reference, progress);
    say.phase(format!("asking {}", source.resolve_registry()));
    let registry = Registry::new(source, reference);
    let resolved = registry.manifest().await?;
    if let Some(found) = store.bundle(&resolved.digest) {
        return Ok(found);
    }
    let _one_puller = store.lock().await?;
    download(&store, &registry, &resolved, &say).await?;
    store
        .bundle(&resolved.digest)
        .ok_or_else(|| registry.damaged("its manifest leaves out what kind of layers it has"))
}

/// Everything a registry has of an image, into the cache.
async fn download(
    store: &Store,
    registry: &Registry,
    resolved: &Resolved,
    say: &Say<'_>,
) -> Result<(Config, Vec<PathBuf>), ImageError> {
    let config = registry.config(resolved).await?;
    let layers = blobs::fetch(&store.blobs(), registry, &resolved.layers, &|fraction| {
        say.part("downloading", fraction * 0.8);
    })
    .await?;
    // Not needed to run the image, but to hand it on.
    store.keep(&resolved.text)?;
    store.keep(&config.text)?;
    Ok((config, layers))
}

/// Reports about one image.
struct Say<'a> {
    what: String,
    progress: Observer<'a>,
}

impl<'a> Say<'a> {
    fn new(reference: &str, progress: Observer<'a>) -> Self {
        Self {
            what: format!("image {reference}"),
            progress,
        }
    }

    fn phase(&self, phase: String) {
        self.report(phase, None);
    }

    fn part(&self, phase: &str, fraction: f32) {
        self.report(phase.to_owned(), Some(fraction));
    }

    fn report(&self, phase: String, fraction: Option<f32>) {
        (self.progress)(Progress {
            what: self.what.clone(),
            phase,
            fraction,
        });
    }
}

/// The image if it was pulled before; asks nobody.
pub fn present(cache: &Cache, reference: &str, source: &Reference) -> Option<Image> {
    let store = Store::at(cache);
    let digest = store.known(source)?;
    Some(store.find(&digest)?.named(reference, &store))
}
