//! Images made from a recipe: a small layer of our own over a root file system.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Image, ImageError};
use crate::cache::Cache;
use crate::catalogue::{Program, Recipe};
use crate::programs;
use crate::rootfs::{self, RootFs};

/// Raised when the same recipe is to give a different layer.
const FORMAT: u32 = 1;

/// An image whose layer is there.
pub struct Built {
    key: String,
    layer: PathBuf,
    root: Option<RootFs>,
}

impl Built {
    /// Its directories, top first, each with a name for everything it was made from.
    pub fn directories(&self) -> Vec<(String, PathBuf)> {
        let own = (self.key.clone(), self.layer.clone());
        let root = self.root.as_ref();
        let root = root.map(|root| (format!("root-{}", root.key), root.path.clone()));
        // An image that adds nothing is its root file system.
        let adds = fs::read_dir(&self.layer).is_ok_and(|mut entries| entries.next().is_some());
        let own = Some(own).filter(|_| adds || root.is_none());
        own.into_iter().chain(root).collect()
    }
}

pub fn image(
    cache: &Cache,
    reference: &str,
    name: &str,
    recipe: &Recipe,
) -> Result<Image, ImageError> {
    let built = ensure(cache, name, recipe)?;
    let root = built.root.map(|root| root.path);
    Ok(Image {
        reference: reference.to_owned(),
        digest: format!("sha256:{}", built.key),
        layers: std::iter::once(built.layer).chain(root).collect(),
        config: recipe.config.clone(),
    })
}

/// Builds the layer unless it is there.
pub fn ensure(cache: &Cache, name: &str, recipe: &Recipe) -> Result<Built, ImageError> {
    let root = match recipe.root {
        None => None,
        Some(kind) => Some(
            rootfs::find(cache, kind)?.ok_or_else(|| ImageError::NoRoot {
                name: name.to_owned(),
                kind: kind.name(),
            })?,
        ),
    };
    let key = key(recipe, root.as_ref())?;
    let finished = place(cache, name, &key);
    if !finished.exists() {
        build(cache, name, recipe, &finished)?;
    }
    Ok(Built {
        key,
        layer: finished.join("layer"),
        root,
    })
}

/// Whether it can be used without building anything.
pub fn is_there(cache: &Cache, name: &str, recipe: &Recipe) -> bool {
    let root = match recipe.root {
        None => None,
        Some(kind) => match rootfs::find(cache, kind) {
            Ok(Some(root)) => Some(root),
            _ => return false,
        },
    };
    key(recipe, root.as_ref()).is_ok_and(|key| place(cache, name, &key).exists())
}

fn place(cache: &Cache, name: &str, key: &str) -> PathBuf {
    let name = format!("{name}-{}", &key[..16]);
    cache.root().join("images/built").join(name)
}

fn build(cache: &Cache, name: &str, recipe: &Recipe, finished: &Path) -> Result<(), ImageError> {
    let unfinished = finished.with_extension(format!("{}.building", std::process::id()));
    let layer = unfinished.join("layer");
    match fs::create_dir_all(&layer) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            return Err(ImageError::NotPrepared {
                name: name.to_owned(),
                path: cache.root().to_path_buf(),
            });
        }
        other => other.map_err(ImageError::io("create", &layer))?,
    }
    fill(cache, recipe, &layer)?;
    match fs::rename(&unfinished, finished) {
        // Another process was faster and made the same.
        Err(_) if finished.exists() => {
            fs::remove_dir_all(&unfinished).map_err(ImageError::io("remove", &unfinished))
        }
        other => other.map_err(ImageError::io("rename", &unfinished)),
    }
}

fn fill(cache: &Cache, recipe: &Recipe, layer: &Path) -> Result<(), ImageError> {
    let programs = programs::install(cache)?;
    let place = |path: &str| -> Result<PathBuf, ImageError> {
        let path = layer.join(path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(ImageError::io("create", parent))?;
        }
        Ok(path)
    };
    for directory in &recipe.directories {
        let path = place(directory)?;
        fs::create_dir_all(&path).map_err(ImageError::io("create", &path))?;
    }
    for (path, program) in &recipe.programs {
        let path = place(path)?;
        let source = match program {
            Program::HttpServer => &programs.http_server,
            Program::VirtLauncher => &programs.launcher,
        };
        // The cache is one file system, and nothing in it is ever written to.
        fs::hard_link(source, &path)
            .or_else(|_| fs::copy(source, &path).map(drop))
            .map_err(ImageError::io("create", &path))?;
    }
    for (path, text) in &recipe.files {
        let path = place(path)?;
        fs::write(&path, text).map_err(ImageError::io("write", &path))?;
    }
    for (path, target) in &recipe.links {
        let path = place(path)?;
        symlink(target, &path).map_err(ImageError::io("create", &path))?;
    }
    Ok(())
}

/// Everything the image depends on.
fn key(recipe: &Recipe, root: Option<&RootFs>) -> Result<String, ImageError> {
    let mut hash = Sha256::new();
    hash.update(FORMAT.to_be_bytes());
    let text = serde_json::to_vec(recipe)
        .map_err(io::Error::from)
        .map_err(ImageError::io("hash", "the recipe"))?;
    hash.update(text);
    hash.update(root.map_or("", |root| root.key.as_str()));
    for program in recipe.programs.values() {
        hash.update(programs::sha256(*program));
    }
    Ok(hex::encode(hash.finalize()))
}
