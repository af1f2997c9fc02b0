//! An image in a form that travels: everything a registry or an archive holds of it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use oci_client::Reference;
use serde_json::{Value, json};

use super::content::{Content, Digesting, digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A layer of a [`Bundle`].
#[derive(Clone, Debug)]
pub struct Layer {
    /// Of the bytes as they are.
    pub digest: String,
    pub size: u64,
    /// Of the tar archive inside.
    pub diff_id: String,
    pub media_type: String,
    pub content: Content,
}

/// An image for one platform: names, manifest, configuration, layers.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// With registry and tag.
    names: Vec<String>,
    manifest: Vec<u8>,
    config: Vec<u8>,
    layers: Vec<Layer>,
    digest: String,
}

impl Bundle {
    /// An image that has no manifest yet.
    pub fn new(config: Vec<u8>, layers: Vec<Layer>) -> Self {
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor(&layer.media_type, &layer.digest, layer.size))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &digest(&config), config.len() as u64),
            "layers": descriptors,
        });
        Self::with_manifest(manifest.to_string().into_bytes(), config, layers)
    }

    /// An image as it came; its digest stays what it was.
    pub fn with_manifest(manifest: Vec<u8>, config: Vec<u8>, layers: Vec<Layer>) -> Self {
        Self {
            names: Vec::new(),
            digest: digest(&manifest),
            manifest,
            config,
            layers,
        }
    }

    /// Gives it other names: references with registry and tag. One without a tag is left out.
    pub fn set_names(&mut self, names: &[String]) {
        let tagged = |name: &&String| {
            name.parse::<Reference>()
                .is_ok_and(|name| name.digest().is_none())
        };
        self.names = names.iter().filter(tagged).cloned().collect();
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Of the manifest.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn config(&self) -> &[u8] {
        &self.config
    }

    pub fn config_digest(&self) -> String {
        digest(&self.config)
    }

    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Of all layers, in bytes, as they travel.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Writes a tar archive that is an OCI layout (`ctr images import`, `podman load`, `skopeo`) and
    /// a docker archive (`docker load`, `kind load image-archive`) at once. The same image gives the
    /// same bytes. A layer that is not what its digest says is an error at its end.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        add(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add(&mut tar, "index.json", self.index().to_string().as_bytes())?;
        add(
            &mut tar,
            "manifest.json",
            self.docker().to_string().as_bytes(),
        )?;
        add(&mut tar, &place(&self.digest), &self.manifest)?;
        add(&mut tar, &place(&self.config_digest()), &self.config)?;
        let mut written = BTreeSet::new();
        for layer in &self.layers {
            if written.insert(&layer.digest) {
                let mut content = Digesting::new(layer.content.open()?.take(layer.size));
                tar.append_data(&mut header(layer.size), place(&layer.digest), &mut content)?;
                let actual = content.digest();
                if actual != layer.digest {
                    return Err(io::Error::other(format!(
                        "layer {} has digest {actual}",
                        layer.digest
                    )));
                }
            }
        }
        tar.into_inner()?.flush()
    }

    /// As [`Bundle::write`], to a file that is there only when it is complete.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        let unfinished = file.with_extension(format!("{}.part", std::process::id()));
        let written = File::create(&unfinished)
            .and_then(|out| self.write(BufWriter::with_capacity(1 << 18, out)))
            .and_then(|()| fs::rename(&unfinished, file));
        if written.is_err() {
            // The error is what matters.
            let _left = fs::remove_file(&unfinished);
        }
        written
    }

    fn index(&self) -> Value {
        let named = |name: Option<&String>| {
            let media_type = serde_json::from_slice::<Value>(&self.manifest)
                .ok()
                .and_then(|manifest| Some(manifest.get("mediaType")?.as_str()?.to_owned()));
            let mut entry = descriptor(
                media_type.as_deref().unwrap_or(MANIFEST),
                &self.digest,
                self.manifest.len() as u64,
            );
            if let Some(name) = name {
                let tag = name.rsplit(':').next().unwrap_or_default();
                entry["annotations"] = json!({
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": tag,
                });
            }
            entry
        };
        let manifests: Vec<Value> = if self.names.is_empty() {
            vec![named(None)]
        } else {
            self.names.iter().map(|name| named(Some(name))).collect()
        };
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
    }

    fn docker(&self) -> Value {
        let names: Vec<&str> = self.names.iter().map(|name| familiar(name)).collect();
        let layers: Vec<String> = self
            .layers
            .iter()
            .map(|layer| place(&layer.digest))
            .collect();
        json!([{"Config": place(&self.config_digest()), "RepoTags": names, "Layers": layers}])
    }
}

/// As docker shows it: without the registry and the library that it adds itself.
fn familiar(name: &str) -> &str {
    match name.strip_prefix("docker.io/") {
        Some(name) => name.strip_prefix("library/").unwrap_or(name),
        None => name,
    }
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

/// Where OCI layouts keep blobs, and docker archives may.
fn place(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn add(tar: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(content.len() as u64), path, content)
}

/// Nothing of when and by whom.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header
}
