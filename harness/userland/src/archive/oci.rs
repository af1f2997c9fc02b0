//! OCI layouts: `index.json` and blobs named by their digests.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::file::ArchiveFile;
use super::{ArchiveError, ArchivedImage, Foreign, Found, compression, layer};
use crate::images::manifest::{Configuration, Manifest, Platform, Variant};
use crate::images::{Bundle, Layer};

/// What containerd and buildx call an image.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// What OCI calls it, which is a tag alone for some and a whole name for others.
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(flatten)]
    variant: Variant,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Named {
    fn names(&self) -> Vec<String> {
        let whole = self.annotations.get(CONTAINERD_NAME);
        let other = self
            .annotations
            .get(REFERENCE_NAME)
            .filter(|name| name.contains(['/', ':']));
        whole.into_iter().chain(other).cloned().collect()
    }

    /// What stands beside an image and is none: attestations, signatures.
    fn is_no_image(&self) -> bool {
        self.variant
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown")
            || self.annotations.contains_key("vnd.docker.reference.type")
    }
}

pub(super) fn read(file: &ArchiveFile) -> Result<Found, ArchiveError> {
    let index: Index = file.parse(file.text("index.json", "its list of images")?, "index.json")?;
    let mut found = Found::default();
    for entry in index.manifests.iter().filter(|entry| !entry.is_no_image()) {
        match image(file, &entry.variant)? {
            Chosen::Image(bundle) => {
                found
                    .images
                    .push(ArchivedImage::new(file, &entry.names(), *bundle));
            }
            Chosen::Foreign(offered) => {
                found
                    .foreign
                    .push(Foreign::new(file, &entry.names(), offered));
            }
        }
    }
    Ok(found)
}

enum Chosen {
    Image(Box<Bundle>),
    Foreign(Vec<String>),
}

fn image(file: &ArchiveFile, entry: &Variant) -> Result<Chosen, ArchiveError> {
    let text = file.digested(&entry.digest, "a manifest")?;
    match file.parse(text, "a manifest")? {
        Manifest::Image { .. } => one(file, text),
        Manifest::Index { manifests } => {
            let here = Platform::here();
            let variant = manifests
                .iter()
                .find(|variant| variant.platform.as_ref() == Some(&here));
            match variant {
                Some(variant) => one(file, file.digested(&variant.digest, "a manifest")?),
                None => Ok(Chosen::Foreign(
                    manifests
                        .iter()
                        .filter_map(|variant| variant.platform.as_ref())
                        .filter(|platform| platform.os != "unknown")
                        .map(ToString::to_string)
                        .collect(),
                )),
            }
        }
    }
}

fn one(file: &ArchiveFile, text: &[u8]) -> Result<Chosen, ArchiveError> {
    let Manifest::Image { config, layers } = file.parse(text, "a manifest")? else {
        return Err(file.damaged("a list of variants names another list".to_owned()));
    };
    let config = file.digested(&config.digest, "the configuration")?;
    let configuration: Configuration = file.parse(config, "the configuration")?;
    let platform = configuration.platform();
    if platform != Platform::here() {
        return Ok(Chosen::Foreign(vec![platform.to_string()]));
    }
    let (_, diff_ids) = configuration.split();
    if diff_ids.len() != layers.len() {
        return Err(file.damaged(format!(
            "a manifest has {} layers and its configuration {}",
            layers.len(),
            diff_ids.len()
        )));
    }
    let layers = layers
        .iter()
        .zip(&diff_ids)
        .map(|(descriptor, diff_id)| {
            let blob = file
                .blob(&file.place(&descriptor.digest)?, "a layer")?
                .clone();
            if blob.size() != descriptor.size {
                return Err(file.damaged(format!(
                    "layer {} has {} bytes, and its manifest says {}",
                    descriptor.digest,
                    blob.size(),
                    descriptor.size
                )));
            }
            let media_type = descriptor
                .media_type
                .clone()
                .unwrap_or_else(|| compression(&blob).layer_type().to_owned());
            Ok(layer(blob, &media_type, &descriptor.digest, diff_id))
        })
        .collect::<Result<Vec<Layer>, ArchiveError>>()?;
    let bundle = Bundle::with_manifest(text.to_vec(), config.to_vec(), layers);
    Ok(Chosen::Image(Box::new(bundle)))
}
