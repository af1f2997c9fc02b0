//! Layers, downloaded side by side and each from where it broke off.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};
use oci_client::client::BlobResponse;
use oci_client::errors::OciDistributionError;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::registry::{Registry, innermost};
use crate::images::ImageError;
use crate::images::manifest::Descriptor;

const AT_ONCE: usize = 4;

/// How often a transfer that broke off is resumed.
const ATTEMPTS: u32 = 3;

/// Makes all layers present; their files, in order. `progress` gets the fraction.
pub async fn fetch(
    store: &Path,
    registry: &Registry,
    layers: &[Descriptor],
    progress: &(dyn Fn(f32) + Send + Sync),
) -> Result<Vec<PathBuf>, ImageError> {
    let total: u64 = layers.iter().map(|layer| layer.size).sum();
    let done = AtomicU64::new(0);
    let advance = |bytes: u64| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Precise enough for a bar.
        #[allow(clippy::cast_precision_loss)]
        progress((done as f32 / total.max(1) as f32).min(1.0));
    };
    // Collected first: a lazy map over references is not general enough for a future that is spawned.
    let downloads: Vec<_> = layers
        .iter()
        .map(|layer| one(store, registry, layer, &advance))
        .collect();
    futures::stream::iter(downloads)
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn one(
    store: &Path,
    registry: &Registry,
    layer: &Descriptor,
    advance: &(dyn Fn(u64) + Send + Sync),
) -> Result<PathBuf, ImageError> {
    let Some(name) = layer
        .digest
        .strip_prefix("sha256:")
        .filter(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    else {
        return Err(registry.damaged(&format!("`{}` is not a sha256 digest", layer.digest)));
    };
    let path = store.join(name);
    if fs::metadata(&path)
        .await
        .is_ok_and(|metadata| metadata.len() == layer.size)
    {
        advance(layer.size);
        return Ok(path);
    }
    let part = path.with_extension("part");
    for attempt in 1..=ATTEMPTS {
        match transfer(registry, layer, &part, advance).await {
            Ok(()) => break,
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Off(detail)) if attempt == ATTEMPTS => {
                return Err(registry.damaged(&format!(
                    "layer {} broke off {ATTEMPTS} times: {detail}",
                    layer.digest
                )));
            }
            Err(Broken::Off(_)) => {}
        }
    }
    let actual = hash(&part).await.map_err(ImageError::io("read", &part))?;
    if actual != name {
        fs::remove_file(&part)
            .await
            .map_err(ImageError::io("remove", &part))?;
        return Err(registry.damaged(&format!(
            "layer {} has digest sha256:{actual}",
            layer.digest
        )));
    }
    fs::rename(&part, &path)
        .await
        .map_err(ImageError::io("rename", &part))?;
    Ok(path)
}

enum Broken {
    /// Try again from there.
    Off(String),
    Final(ImageError),
}

async fn transfer(
    registry: &Registry,
    layer: &Descriptor,
    part: &Path,
    advance: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Broken> {
    let have = fs::metadata(part)
        .await
        .map_or(0, |metadata| metadata.len());
    // More than there should be can only be wrong.
    let have = if have > layer.size { 0 } else { have };
    if have == layer.size && have > 0 {
        return Ok(());
    }
    let response = if have == 0 {
        let stream = registry
            .client
            .pull_blob_stream(&registry.source, layer.digest.as_str())
            .await;
        stream.map(BlobResponse::Full)
    } else {
        registry
            .client
            .pull_blob_stream_partial(&registry.source, layer.digest.as_str(), have, None)
            .await
    };
    let (mut stream, resumed) = match response {
        Ok(BlobResponse::Full(stream)) => (stream, false),
        Ok(BlobResponse::Partial(stream)) => (stream, true),
        // It was there and hung up before it answered.
        Err(OciDistributionError::RequestError(error)) if !error.is_connect() => {
            return Err(Broken::Off(innermost(&error)));
        }
        Err(error) => return Err(Broken::Final(registry.error(&error))),
    };
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    let options = if resumed {
        options.append(true)
    } else {
        options.truncate(true)
    };
    let mut file = open(options, part).await?;
    let mut length = if resumed { have } else { 0 };
    while let Some(chunk) = stream.next().await {
        // Also a wrong digest at the end ends up here; the check of the whole file names it.
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) if length < layer.size => {
                flush(&mut file, part).await?;
                return Err(Broken::Off(error.to_string()));
            }
            Err(_) => break,
        };
        file.write_all(&chunk)
            .await
            .map_err(|error| Broken::Final(ImageError::io("write", part)(error)))?;
        length += chunk.len() as u64;
        advance(chunk.len() as u64);
    }
    flush(&mut file, part).await?;
    if length < layer.size {
        return Err(Broken::Off(format!(
            "{length} of {} bytes came",
            layer.size
        )));
    }
    Ok(())
}

async fn open(options: &OpenOptions, part: &Path) -> Result<File, Broken> {
    options
        .open(part)
        .await
        .map_err(|error| Broken::Final(ImageError::io("open", part)(error)))
}

async fn flush(file: &mut File, part: &Path) -> Result<(), Broken> {
    file.flush()
        .await
        .map_err(|error| Broken::Final(ImageError::io("write", part)(error)))
}

async fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path).await?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}
