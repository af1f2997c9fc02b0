//! Images from archives.

use super::manifest::Configuration;
use super::store::{Store, Unpacked};
use super::{Image, ImageError, unpack};
use crate::archive::{ArchiveError, ArchivedImage};
use crate::cache::Cache;
use crate::progress::{Observer, Progress};

/// The image, unpacked into the cache unless it is there.
pub async fn image(
    cache: &Cache,
    reference: &str,
    archived: &ArchivedImage,
    progress: Observer<'_>,
) -> Result<Image, ImageError> {
    let store = Store::open(cache)?;
    if let Some(found) = store.find(archived.digest()) {
        return Ok(found.named(reference, &store));
    }
    let _one_unpacker = store.lock().await?;
    if let Some(found) = store.find(archived.digest()) {
        return Ok(found.named(reference, &store));
    }
    progress(Progress {
        what: format!("image {reference}"),
        phase: format!("unpacking {}", archived.file().display()),
        fraction: None,
    });
    let checked = archived.clone();
    // Hashing takes seconds for an image of gigabytes.
    tokio::task::spawn_blocking(move || checked.verify())
        .await
        .map_err(|error| ArchiveError::Damaged {
            file: archived.file().to_path_buf(),
            detail: format!("the thread that read it is gone: {error}"),
        })??;
    let bundle = archived.bundle();
    let configuration: Configuration =
        serde_json::from_slice(bundle.config()).map_err(|error| ArchiveError::Damaged {
            file: archived.file().to_path_buf(),
            detail: format!("the configuration cannot be read: {error}"),
        })?;
    let (config, _) = configuration.split();
    let unpacked = Unpacked {
        digest: archived.digest().to_owned(),
        config,
    };
    let layers = bundle.layers().iter();
    let layers = layers.map(|layer| (layer.content.clone(), layer.diff_id.clone()));
    unpack::image(
        cache,
        &store.place(archived.digest()),
        reference,
        layers.collect(),
        &unpacked,
    )
    .await?;
    Ok(unpacked.named(reference, &store))
}
