//! From a reference to an image.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oci_client::Reference;
use serde::Serialize;

use super::bundle::Bundle;
use super::{Image, ImageError, ImageSource, archived, built, pack, pull};
use crate::archive::{self, ArchiveError, ArchivedImage, Archives};
use crate::cache::Cache;
use crate::catalogue::{Catalogue, Entry, Guest};
use crate::machine;
use crate::progress::Observer;
use crate::rootfs::RootKind;

/// Resolves references to images.
#[derive(Clone, Debug)]
pub struct Images {
    cache: Cache,
    catalogue: Catalogue,
    source: ImageSource,
    /// What the directory of archives held when it was last looked at.
    archives: Arc<Mutex<Option<Arc<Archives>>>>,
}

/// An image that the catalogue knows; see [`Images::list`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub name: String,
    /// What it is called when nobody asks for another name.
    pub reference: String,
    /// Everything it stands for, as the catalogue has it.
    pub references: Vec<String>,
    /// What it is built from; nothing when it can only be pulled.
    pub built_from: Option<String>,
    /// The repository that it is pulled from.
    pub pulled_from: String,
    /// Whether it is the disk of a virtual machine. What is built in its place is no image and stays in the lab.
    pub machine: bool,
    pub state: State,
}

/// How far an image of the catalogue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Built, in the cache.
    Built,
    /// Pulled, in the cache.
    Pulled,
    Both,
    Absent,
}

impl Images {
    pub fn new(cache: Cache, catalogue: Catalogue, source: ImageSource) -> Self {
        Self {
            cache,
            catalogue,
            source,
            archives: Arc::default(),
        }
    }

    pub fn source(&self) -> &ImageSource {
        &self.source
    }

    /// Makes every image that the catalogue can build and whose root file system is there, so that
    /// [`Images::resolve`] from [`ImageSource::Build`] only reads.
    /// Call it on the host, before the cache is mounted read-only. From other sources images come
    /// when they are asked for; a directory of archives is looked at, so that a broken one is told
    /// before anything is started.
    pub fn prepare(&self) -> Result<(), ImageError> {
        match &self.source {
            ImageSource::Build => {
                for entry in self.catalogue.entries() {
                    let Some(recipe) = entry.recipe() else {
                        continue;
                    };
                    match built::ensure(&self.cache, entry.name(), recipe) {
                        // Made when somebody asks for it.
                        Ok(_) | Err(ImageError::NoRoot { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            ImageSource::Pull => {}
            ImageSource::Directory(directory) => drop(self.read_archives(directory)?),
        }
        Ok(())
    }

    /// Finds, builds or pulls an image.
    pub async fn resolve(
        &self,
        reference: &str,
        progress: Observer<'_>,
    ) -> Result<Image, ImageError> {
        let asked = parse(reference)?;
        let entry = self.catalogue.find(&asked);
        match self.source_of(entry) {
            ImageSource::Build => {
                let (name, recipe) = buildable(reference, entry)?;
                built::image(&self.cache, reference, name, recipe)
            }
            ImageSource::Pull => {
                let source = origin(entry, asked);
                pull::image(&self.cache, reference, &source, progress).await
            }
            ImageSource::Directory(directory) => {
                let found = self.archived(directory, reference, entry, asked).await?;
                archived::image(&self.cache, reference, &found, progress).await
            }
        }
    }

    /// The image if it was pulled before, without asking anybody; reads the cache only.
    pub fn pulled(&self, reference: &str) -> Option<Image> {
        let asked = parse(reference).ok()?;
        let source = origin(self.catalogue.find(&asked), asked);
        pull::present(&self.cache, reference, &source)
    }

    /// The image in the form that travels, under the name that was asked for.
    pub async fn bundle(
        &self,
        reference: &str,
        progress: Observer<'_>,
    ) -> Result<Bundle, ImageError> {
        let asked = parse(reference)?;
        let name = asked.whole();
        let entry = self.catalogue.find(&asked);
        let mut bundle = match self.source_of(entry) {
            ImageSource::Build => {
                if entry.is_some_and(|entry| entry.guest().is_some()) {
                    return Err(ImageError::Machine {
                        reference: reference.to_owned(),
                    });
                }
                let (name, recipe) = buildable(reference, entry)?;
                let built = built::ensure(&self.cache, name, recipe)?;
                pack::bundle(&self.cache, reference, &built, &recipe.config).await?
            }
            ImageSource::Pull => {
                let source = origin(entry, asked);
                pull::bundle(&self.cache, reference, &source, progress).await?
            }
            ImageSource::Directory(directory) => {
                let found = self.archived(directory, reference, entry, asked).await?;
                let checked = found.clone();
                tokio::task::spawn_blocking(move || checked.verify())
                    .await
                    .map_err(|error| thread_gone(found.file(), &error))??;
                found.bundle().clone()
            }
        };
        bundle.set_names(&[name]);
        Ok(bundle)
    }

    /// The root file system that must be there before this image can be built.
    pub fn root_of(&self, reference: &str) -> Option<RootKind> {
        let asked = parse(reference).ok()?;
        let entry = self.catalogue.find(&asked)?;
        if self.source_of(Some(entry)) != &ImageSource::Build {
            return None;
        }
        entry.recipe()?.root
    }

    /// The guest of ours that stands in for the disk of a virtual machine, where nothing is pulled.
    pub fn guest_of(&self, reference: &str) -> Result<Option<Guest>, ImageError> {
        let asked = parse(reference)?;
        let entry = self.catalogue.find(&asked);
        Ok(entry.filter(|_| self.is_offline()).and_then(Entry::guest))
    }

    /// Whether nothing is had but what is built here.
    pub fn is_offline(&self) -> bool {
        self.source == ImageSource::Build
    }

    /// Where an image comes from: some are ours wherever all others come from.
    fn source_of(&self, entry: Option<&Entry>) -> &ImageSource {
        match entry {
            Some(entry) if entry.is_always_built() => &ImageSource::Build,
            _ => &self.source,
        }
    }

    /// Everything the catalogue knows.
    pub fn list(&self) -> Vec<Listed> {
        let entries = self.catalogue.entries().iter();
        entries.map(|entry| self.listed(entry)).collect()
    }

    fn listed(&self, entry: &Entry) -> Listed {
        let reference = entry.default_reference();
        let built = match (entry.recipe(), entry.guest()) {
            (Some(recipe), _) => built::is_there(&self.cache, entry.name(), recipe),
            (None, Some(Guest::Debian)) => machine::is_there(&self.cache),
            (None, None) => false,
        };
        let pulled = self.pulled(&reference).is_some();
        Listed {
            name: entry.name().to_owned(),
            references: entry.references().map(str::to_owned).collect(),
            built_from: match (entry.recipe(), entry.guest()) {
                (Some(recipe), _) => Some(recipe.to_string()),
                (None, Some(Guest::Debian)) => Some(format!(
                    "a virtual machine on the root file system {}",
                    RootKind::Guest.name()
                )),
                (None, None) => None,
            },
            machine: entry.guest().is_some(),
            pulled_from: parse(&reference)
                .map(|asked| origin(Some(entry), asked))
                .map(|source| format!("{}/{}", source.registry(), source.repository()))
                .unwrap_or_default(),
            reference,
            state: match (built, pulled) {
                (true, true) => State::Both,
                (true, false) => State::Built,
                (false, true) => State::Pulled,
                (false, false) => State::Absent,
            },
        }
    }

    /// Under the name that was asked for, or the one that the catalogue would pull. The directory
    /// is read again for an image that was not there: somebody may have put it there meanwhile.
    async fn archived(
        &self,
        directory: &Path,
        reference: &str,
        entry: Option<&Entry>,
        asked: Reference,
    ) -> Result<ArchivedImage, ImageError> {
        let source = origin(entry, asked).whole();
        let found = |archives: &Archives| {
            archives
                .find(reference)
                .or_else(|| archives.find(&source))
                .cloned()
        };
        let before = self.known_archives();
        if let Some(found) = before.as_deref().and_then(found) {
            return Ok(found);
        }
        let (this, directory) = (self.clone(), directory.to_path_buf());
        let archives = {
            let place = directory.clone();
            tokio::task::spawn_blocking(move || this.read_archives(&place))
                .await
                .map_err(|error| thread_gone(&directory, &error))??
        };
        match found(&archives) {
            Some(found) => Ok(found),
            None => Ok(archives.require(reference)?.clone()),
        }
    }

    fn known_archives(&self) -> Option<Arc<Archives>> {
        self.archives
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn read_archives(&self, directory: &Path) -> Result<Arc<Archives>, ArchiveError> {
        let archives = Arc::new(archive::read_dir(directory)?);
        *self.archives.lock().unwrap_or_else(PoisonError::into_inner) = Some(archives.clone());
        Ok(archives)
    }
}

fn thread_gone(path: &Path, error: &tokio::task::JoinError) -> ArchiveError {
    ArchiveError::Damaged {
        file: PathBuf::from(path),
        detail: format!("the thread that read it is gone: {error}"),
    }
}

fn parse(reference: &str) -> Result<Reference, ImageError> {
    reference.parse().map_err(|error| ImageError::BadReference {
        reference: reference.to_owned(),
        detail: format!("{error}"),
    })
}

fn buildable<'a>(
    reference: &str,
    entry: Option<&'a Entry>,
) -> Result<(&'a str, &'a crate::catalogue::Recipe), ImageError> {
    entry
        .and_then(|entry| Some((entry.name(), entry.recipe()?)))
        .ok_or_else(|| ImageError::Unknown {
            reference: reference.to_owned(),
        })
}

/// Where a reference is pulled from.
fn origin(entry: Option<&Entry>, asked: Reference) -> Reference {
    entry
        .and_then(|entry| entry.source(&asked))
        .unwrap_or(asked)
}
