//! Docker archives: `manifest.json`, a configuration and a tar per layer.

use serde::Deserialize;

use super::file::{ArchiveFile, is_sha256};
use super::{ArchiveError, ArchivedImage, Foreign, Found, compression, layer};
use crate::images::content::{Compression, Digesting};
use crate::images::manifest::Configuration;
use crate::images::{Bundle, Layer, Platform};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

pub(super) fn read(file: &ArchiveFile) -> Result<Found, ArchiveError> {
    let mut found = Found::default();
    for entry in entries(file)? {
        let names = entry.repo_tags.clone().unwrap_or_default();
        let text = config(file, &entry)?;
        let configuration: Configuration = file.parse(text, "the configuration")?;
        let platform = configuration.platform();
        if platform != Platform::here() {
            found
                .foreign
                .push(Foreign::new(file, &names, vec![platform.to_string()]));
            continue;
        }
        let (_, diff_ids) = configuration.split();
        if diff_ids.len() != entry.layers.len() {
            return Err(file.damaged(format!(
                "manifest.json names {} layers and the configuration {}",
                entry.layers.len(),
                diff_ids.len()
            )));
        }
        let layers = entry
            .layers
            .iter()
            .zip(&diff_ids)
            .map(|(name, diff_id)| one_layer(file, name, diff_id))
            .collect::<Result<Vec<_>, _>>()?;
        let bundle = Bundle::new(text.to_vec(), layers);
        found.images.push(ArchivedImage::new(file, &names, bundle));
    }
    Ok(found)
}

/// Digests of configurations, and what the images are called.
pub(super) fn names(file: &ArchiveFile) -> Result<Vec<(String, Vec<String>)>, ArchiveError> {
    entries(file)?
        .into_iter()
        .map(|entry| {
            let digest = crate::images::content::digest(config(file, &entry)?);
            Ok((digest, entry.repo_tags.unwrap_or_default()))
        })
        .collect()
}

fn entries(file: &ArchiveFile) -> Result<Vec<Entry>, ArchiveError> {
    file.parse(
        file.text("manifest.json", "its list of images")?,
        "manifest.json",
    )
}

/// Its name is its digest, whether the archive is of the old kind or the new.
fn config<'a>(file: &'a ArchiveFile, entry: &Entry) -> Result<&'a [u8], ArchiveError> {
    let text = file.text(&entry.config, "the configuration")?;
    let name = entry.config.rsplit('/').next().unwrap_or_default();
    let hex = name.strip_suffix(".json").unwrap_or(name);
    let hex = hex.strip_prefix("sha256:").unwrap_or(hex);
    if is_sha256(hex) {
        file.check(text, &format!("sha256:{hex}"), "the configuration")?;
    }
    Ok(text)
}

fn one_layer(file: &ArchiveFile, name: &str, diff_id: &str) -> Result<Layer, ArchiveError> {
    let blob = file.blob(name, "a layer")?.clone();
    let compression = compression(&blob);
    let digest = match compression {
        Compression::None => diff_id.to_owned(),
        // Only the digest of what is inside is known.
        _ => blob
            .open()
            .and_then(|content| {
                let mut content = Digesting::new(content);
                std::io::copy(&mut content, &mut std::io::sink())?;
                Ok(content.digest())
            })
            .map_err(ArchiveError::io("read", file.path()))?,
    };
    Ok(layer(blob, compression.layer_type(), &digest, diff_id))
}
