//! Images in archives: what `docker save`, `podman save`, `skopeo copy` and `ctr images export` write.
//!
//! ```text
//! DIR/agnhost.tar         an OCI layout, a docker archive, or both at once
//! DIR/database.tar.zst    the same, compressed with gzip or zstd
//! ```
//!
//! Reading a directory looks at names and configurations only; [`ArchivedImage::verify`] reads the
//! layers. Both check every digest they meet.

mod docker;
mod error;
mod file;
mod oci;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use oci_client::Reference;

pub use self::error::ArchiveError;
use self::file::ArchiveFile;
pub use self::file::Blob;
use crate::images::content::{Compression, Content, Digesting};
use crate::images::{Bundle, Layer};

/// How the names of archives end. Other files of a directory are none of ours.
const ENDINGS: [&str; 6] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst"];

/// The images of a directory.
#[derive(Clone, Debug)]
pub struct Archives {
    directory: PathBuf,
    images: Vec<ArchivedImage>,
    foreign: Vec<Foreign>,
}

/// An image of an archive, for this machine's platform.
#[derive(Clone, Debug)]
pub struct ArchivedImage {
    /// With registry and tag: `docker.io/library/busybox:1.37`.
    names: Vec<String>,
    file: PathBuf,
    bundle: Bundle,
}

/// An image that this machine cannot run.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    names: Vec<String>,
    file: PathBuf,
    /// The platforms it is for.
    offered: Vec<String>,
}

impl Foreign {
    fn new(file: &ArchiveFile, names: &[String], offered: Vec<String>) -> Self {
        let names = names
            .iter()
            .filter_map(|name| name.parse::<Reference>().ok());
        Self {
            names: names.map(|name| name.whole()).collect(),
            file: file.path().to_path_buf(),
            offered,
        }
    }
}

/// What an archive holds.
#[derive(Debug, Default)]
struct Found {
    images: Vec<ArchivedImage>,
    foreign: Vec<Foreign>,
}

/// Reads every archive of a directory, but not of directories below it.
pub fn read_dir(directory: &Path) -> Result<Archives, ArchiveError> {
    let entries = fs::read_dir(directory).map_err(ArchiveError::io("read", directory))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(ArchiveError::io("read", directory))?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_ascii_lowercase());
        let archive = name.is_some_and(|name| ENDINGS.iter().any(|end| name.ends_with(end)));
        if archive && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut archives = Archives {
        directory: directory.to_path_buf(),
        images: Vec::new(),
        foreign: Vec::new(),
    };
    for file in files {
        let found = read_file(&file)?;
        archives.images.extend(found.images);
        archives.foreign.extend(found.foreign);
    }
    archives.refuse_two_of_a_name()?;
    Ok(archives)
}

fn read_file(path: &Path) -> Result<Found, ArchiveError> {
    let file = ArchiveFile::open(path)?;
    let oci = file.has("oci-layout") || file.has("index.json");
    let docker = file.has("manifest.json");
    match (oci, docker) {
        // The same images twice; a docker archive can have more names for them.
        (true, true) => {
            let mut found = oci::read(&file)?;
            for (config, names) in docker::names(&file)? {
                for image in &mut found.images {
                    if image.bundle.config_digest() == config {
                        image.add_names(&names);
                    }
                }
            }
            Ok(found)
        }
        (true, false) => oci::read(&file),
        (false, true) => docker::read(&file),
        (false, false) => Err(ArchiveError::NotAnImage(path.to_path_buf())),
    }
}

impl Archives {
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn images(&self) -> &[ArchivedImage] {
        &self.images
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.images.iter().flat_map(ArchivedImage::names).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The image of that reference, short (`busybox`), whole, or with a digest.
    pub fn find(&self, reference: &str) -> Option<&ArchivedImage> {
        let asked: Reference = reference.parse().ok()?;
        self.images.iter().find(|image| image.answers_to(&asked))
    }

    /// As [`Archives::find`], or why there is none.
    pub fn require(&self, reference: &str) -> Result<&ArchivedImage, ArchiveError> {
        if let Some(found) = self.find(reference) {
            return Ok(found);
        }
        let whole = reference.parse::<Reference>().map(|asked| asked.whole());
        let foreign = self.foreign.iter().find(|foreign| {
            whole
                .as_ref()
                .is_ok_and(|whole| foreign.names.contains(whole))
        });
        if let Some(foreign) = foreign {
            return Err(ArchiveError::Platform {
                file: foreign.file.clone(),
                reference: reference.to_owned(),
                wanted: crate::images::Platform::here().to_string(),
                offered: foreign.offered.join(", "),
            });
        }
        Err(ArchiveError::Missing {
            reference: reference.to_owned(),
            directory: self.directory.clone(),
            names: self.names().into_iter().map(str::to_owned).collect(),
        })
    }

    /// Which of the two was meant nobody could say.
    fn refuse_two_of_a_name(&self) -> Result<(), ArchiveError> {
        for (index, image) in self.images.iter().enumerate() {
            for other in &self.images[..index] {
                let shared = image.names.iter().find(|name| other.names.contains(name));
                if let Some(name) = shared.filter(|_| image.digest() != other.digest()) {
                    return Err(ArchiveError::Ambiguous {
                        reference: name.clone(),
                        first: other.file.clone(),
                        second: image.file.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

impl ArchivedImage {
    fn new(file: &ArchiveFile, names: &[String], bundle: Bundle) -> Self {
        let mut image = Self {
            names: Vec::new(),
            file: file.path().to_path_buf(),
            bundle,
        };
        image.add_names(names);
        image
    }

    fn add_names(&mut self, names: &[String]) {
        for name in names {
            // A name that is none helps nobody to find the image.
            let Ok(reference) = name.parse::<Reference>() else {
                continue;
            };
            let whole = reference.whole();
            if !self.names.contains(&whole) {
                self.names.push(whole);
            }
        }
        self.bundle.set_names(&self.names);
    }

    /// With registry and tag. An image without a name has none.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The archive it is in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Of its manifest; of the one that [`ArchivedImage::write`] makes where the archive has none.
    pub fn digest(&self) -> &str {
        self.bundle.digest()
    }

    /// The image apart from its archive.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Reads all layers and compares their digests.
    pub fn verify(&self) -> Result<(), ArchiveError> {
        for layer in self.bundle.layers() {
            self.verify_layer(layer)?;
        }
        Ok(())
    }

    fn verify_layer(&self, layer: &Layer) -> Result<(), ArchiveError> {
        let unreadable = || ArchiveError::io("read", &self.file);
        let mut content = Digesting::new(layer.content.open().map_err(unreadable())?);
        std::io::copy(&mut content, &mut std::io::sink()).map_err(unreadable())?;
        let actual = content.digest();
        if actual == layer.digest {
            return Ok(());
        }
        Err(ArchiveError::Digest {
            file: self.file.clone(),
            what: format!("a layer of {}", self.called()),
            expected: layer.digest.clone(),
            actual,
        })
    }

    /// Verifies the image and writes it, alone and under all its names, as [`Bundle::write`] does.
    pub fn write(&self, out: impl Write) -> Result<(), ArchiveError> {
        self.verify()?;
        self.bundle
            .write(out)
            .map_err(ArchiveError::io("copy", &self.file))
    }

    fn called(&self) -> &str {
        self.names.first().map_or(self.digest(), String::as_str)
    }

    fn answers_to(&self, asked: &Reference) -> bool {
        let Some(digest) = asked.digest() else {
            return self.names.contains(&asked.whole());
        };
        let same_place = |name: &String| {
            name.parse::<Reference>().is_ok_and(|name| {
                name.registry() == asked.registry() && name.repository() == asked.repository()
            })
        };
        digest == self.digest() && self.names.iter().any(same_place)
    }
}

/// A layer that lies in an archive.
fn layer(blob: Blob, media_type: &str, digest: &str, diff_id: &str) -> Layer {
    Layer {
        digest: digest.to_owned(),
        size: blob.size(),
        diff_id: diff_id.to_owned(),
        media_type: media_type.to_owned(),
        content: Content::Archived(blob),
    }
}

/// What a layer's own first bytes say about it.
fn compression(blob: &Blob) -> Compression {
    Compression::of(blob.magic())
}
