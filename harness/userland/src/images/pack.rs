//! Images of the catalogue as [`Bundle`]s: their directories become layers.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::built::Built;
use super::bundle::{Bundle, Layer};
use super::content::{Compression, Content, Digesting};
use super::store::Store;
use super::{ImageConfig, ImageError, Platform};
use crate::cache::Cache;
use crate::contain::{Contained, Identity, Stop};
use crate::programs;

/// Raised when the same directory is to give another layer.
const FORMAT: u32 = 1;

/// What `packed/<key>.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    digest: String,
    size: u64,
    diff_id: String,
}

/// An image of the catalogue, packed unless its layers are in the cache. Layers that images have in
/// common are packed once.
pub async fn bundle(
    cache: &Cache,
    reference: &str,
    built: &Built,
    config: &ImageConfig,
) -> Result<Bundle, ImageError> {
    let store = Store::open(cache)?;
    let mut layers = Vec::new();
    // Manifests begin with the lowest.
    for (key, directory) in built.directories().into_iter().rev() {
        layers.push(layer(cache, &store, reference, &key, directory).await?);
    }
    Ok(Bundle::new(configuration(config, &layers), layers))
}

async fn layer(
    cache: &Cache,
    store: &Store,
    reference: &str,
    key: &str,
    directory: PathBuf,
) -> Result<Layer, ImageError> {
    let note = store.packed(&format!("{key}-{FORMAT}"));
    let known = || -> Option<Packed> {
        let packed: Packed = serde_json::from_slice(&fs::read(&note).ok()?).ok()?;
        let found = fs::metadata(store.blob(&packed.digest)).ok()?;
        (found.len() == packed.size).then_some(packed)
    };
    let packed = if let Some(packed) = known() {
        packed
    } else {
        let _one_packer = store.lock().await?;
        // Whoever held the lock before us may have packed it.
        match known() {
            Some(packed) => packed,
            None => pack(cache, store, reference, directory, &note).await?,
        }
    };
    Ok(Layer {
        content: Content::File(store.blob(&packed.digest)),
        digest: packed.digest,
        size: packed.size,
        diff_id: packed.diff_id,
        media_type: Compression::Gzip.layer_type().to_owned(),
    })
}

async fn pack(
    cache: &Cache,
    store: &Store,
    reference: &str,
    directory: PathBuf,
    note: &Path,
) -> Result<Packed, ImageError> {
    let work = Work {
        helper: programs::install(cache)?.unpack,
        directory,
        reference: reference.to_owned(),
        blobs: store.blobs(),
        stop: Stop::default(),
    };
    let _cancel = work.stop.on_drop();
    let (done, result) = oneshot::channel();
    // A thread of its own, because the kernel ends what it starts together with it.
    thread::spawn(move || drop(done.send(work.run())));
    let packed = result.await.unwrap_or_else(|_| {
        Err(ImageError::Pack {
            reference: reference.to_owned(),
            detail: "the thread that did it is gone".to_owned(),
        })
    })?;
    let unfinished = note.with_extension(format!("{}.part", std::process::id()));
    serde_json::to_vec(&packed)
        .map_err(io::Error::from)
        .and_then(|text| fs::write(&unfinished, text))
        .and_then(|()| fs::rename(&unfinished, note))
        .map_err(ImageError::io("write", note))?;
    Ok(packed)
}

struct Work {
    helper: PathBuf,
    directory: PathBuf,
    reference: String,
    blobs: PathBuf,
    stop: Stop,
}

impl Work {
    fn run(&self) -> Result<Packed, ImageError> {
        let unfinished = self.blobs.join(format!("{}.packing", std::process::id()));
        let packed = self.fill(&unfinished);
        if packed.is_err() {
            // The error is what matters.
            let _left = fs::remove_file(&unfinished);
        }
        packed
    }

    fn fill(&self, unfinished: &Path) -> Result<Packed, ImageError> {
        let argv = [
            self.helper.clone().into(),
            "--pack".into(),
            self.directory.clone().into(),
        ];
        let mut helper = Contained::start(&Identity::current()?, &argv, &[], &self.stop)?;
        drop(helper.stdin.take());
        let mut digest = String::new();
        let mut size = 0;
        if let Some(stdout) = helper.stdout.take() {
            let mut content = Digesting::new(stdout);
            let mut file = File::create(unfinished).map_err(ImageError::io("write", unfinished))?;
            size =
                io::copy(&mut content, &mut file).map_err(ImageError::io("write", unfinished))?;
            digest = content.digest();
        }
        let mut said = String::new();
        if let Some(mut stderr) = helper.stderr.take() {
            stderr
                .read_to_string(&mut said)
                .map_err(ImageError::io("read the output of", &self.helper))?;
        }
        let status = helper
            .wait()
            .map_err(ImageError::io("wait for", &self.helper))?;
        let diff_id = said.lines().last().unwrap_or_default();
        if !status.success() || !diff_id.starts_with("sha256:") {
            return Err(ImageError::Pack {
                reference: self.reference.clone(),
                detail: said.trim().to_owned(),
            });
        }
        let path = self.blobs.join(digest.trim_start_matches("sha256:"));
        fs::rename(unfinished, &path).map_err(ImageError::io("rename", unfinished))?;
        Ok(Packed {
            digest,
            size,
            diff_id: diff_id.to_owned(),
        })
    }
}

/// The configuration blob, with the keys of the OCI image specification.
fn configuration(config: &ImageConfig, layers: &[Layer]) -> Vec<u8> {
    let here = Platform::here();
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let mut runtime = Map::new();
    let mut set = |key: &str, value: Value| {
        let empty = match &value {
            Value::Array(list) => list.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Object(map) => map.is_empty(),
            other => other.is_null(),
        };
        if !empty {
            runtime.insert(key.to_owned(), value);
        }
    };
    set("User", json!(config.user));
    set("Env", json!(config.env));
    set("Entrypoint", json!(config.entrypoint));
    set("Cmd", json!(config.cmd));
    set("WorkingDir", json!(config.working_dir));
    set("StopSignal", json!(config.stop_signal));
    let volumes = config.volumes.iter();
    let volumes: Map<_, _> = volumes.map(|path| (path.clone(), json!({}))).collect();
    set("Volumes", Value::Object(volumes));
    json!({
        "architecture": here.architecture,
        "os": here.os,
        "created": "1980-01-01T00:00:00Z",
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": diff_ids
            .iter()
            .map(|_| json!({"created": "1980-01-01T00:00:00Z", "created_by": "trunkline images build"}))
            .collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes()
}
