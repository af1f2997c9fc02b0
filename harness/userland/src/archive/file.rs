//! The entries of one archive, without unpacking it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::{Entry, EntryType};

use super::ArchiveError;
use crate::images::content::Compression;

/// Manifests and configurations are smaller.
const MAX_JSON: u64 = 8 << 20;

/// A part of an archive: the bytes of one of its files.
#[derive(Clone, Debug)]
pub struct Blob {
    archive: PathBuf,
    /// Of the archive as a whole; the offset counts behind it.
    compression: Compression,
    offset: u64,
    size: u64,
    magic: [u8; 4],
}

impl Blob {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file that it is a part of.
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// The first bytes, zero where there are none.
    pub(super) fn magic(&self) -> &[u8; 4] {
        &self.magic
    }

    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.archive)?;
        if self.compression == Compression::None {
            file.seek(SeekFrom::Start(self.offset))?;
            let file = BufReader::with_capacity(1 << 18, file);
            return Ok(Box::new(file.take(self.size)));
        }
        // Nothing can be skipped in a compressed file without reading it.
        let mut archive = self.compression.reader(file)?;
        let skipped = io::copy(&mut archive.by_ref().take(self.offset), &mut io::sink())?;
        if skipped < self.offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Box::new(archive.take(self.size)))
    }
}

/// An archive whose entries are known.
#[derive(Debug)]
pub(super) struct ArchiveFile {
    path: PathBuf,
    blobs: HashMap<String, Blob>,
    /// Files that stand for others: docker writes a layer that two images share once.
    links: HashMap<String, String>,
    /// What looks like JSON, read on the way.
    texts: HashMap<String, Vec<u8>>,
}

impl ArchiveFile {
    pub(super) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let unreadable = || ArchiveError::io("read", path);
        let mut file = File::open(path).map_err(unreadable())?;
        let mut magic = [0; 4];
        let read = read_up_to(&mut file, &mut magic).map_err(unreadable())?;
        file.rewind().map_err(unreadable())?;
        let length = file.metadata().map_err(unreadable())?.len();
        let compression = Compression::of(&magic[..read]);
        let mut archive = Self {
            path: path.to_path_buf(),
            blobs: HashMap::new(),
            links: HashMap::new(),
            texts: HashMap::new(),
        };
        let read = if compression == Compression::None {
            let mut tar = tar::Archive::new(file);
            tar.entries_with_seek().and_then(|mut entries| {
                entries.try_for_each(|entry| archive.add(&mut entry?, compression))
            })
        } else {
            let reader = compression.reader(file).map_err(unreadable())?;
            let mut tar = tar::Archive::new(reader);
            tar.entries().and_then(|mut entries| {
                entries.try_for_each(|entry| archive.add(&mut entry?, compression))
            })
        };
        // Skipping does not notice where a file ends.
        let cut = archive
            .blobs
            .values()
            .any(|blob| compression == Compression::None && blob.offset + blob.size > length);
        match read {
            Ok(()) if !cut => Ok(archive),
            Ok(()) => {
                Err(archive.damaged("it cannot be read to its end: it is cut off".to_owned()))
            }
            Err(error) => Err(archive.damaged(format!("it cannot be read to its end: {error}"))),
        }
    }

    fn add<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        compression: Compression,
    ) -> io::Result<()> {
        let Some(name) = normal(&entry.path()?) else {
            return Ok(());
        };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                let mut magic = [0; 4];
                let read = read_up_to(entry, &mut magic)?;
                if size <= MAX_JSON && matches!(magic[0], b'{' | b'[') {
                    let mut text = magic[..read].to_vec();
                    entry.read_to_end(&mut text)?;
                    self.texts.insert(name.clone(), text);
                }
                let blob = Blob {
                    archive: self.path.clone(),
                    compression,
                    offset,
                    size,
                    magic,
                };
                self.blobs.insert(name, blob);
            }
            EntryType::Symlink => {
                let parent = Path::new(&name).parent().unwrap_or(Path::new(""));
                if let Some(target) = entry
                    .link_name()?
                    .and_then(|target| normal(&parent.join(target)))
                {
                    self.links.insert(name, target);
                }
            }
            EntryType::Link => {
                if let Some(target) = entry.link_name()?.and_then(|target| normal(&target)) {
                    self.links.insert(name, target);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.blobs.contains_key(name)
    }

    /// A file of the archive; `what` it is stands in the message when it is missing.
    pub(super) fn blob(&self, name: &str, what: &str) -> Result<&Blob, ArchiveError> {
        let name = self.behind_links(name);
        self.blobs
            .get(&name)
            .ok_or_else(|| self.damaged(format!("{what} ({name}) is missing")))
    }

    /// A manifest or the like; `what` it is stands in the message when it is not there.
    pub(super) fn text(&self, name: &str, what: &str) -> Result<&[u8], ArchiveError> {
        let found = self.behind_links(name);
        if let Some(text) = self.texts.get(&found) {
            return Ok(text);
        }
        self.blob(name, what)?;
        Err(self.damaged(format!("{what} ({name}) is no JSON")))
    }

    /// As [`ArchiveFile::text`], of a blob that is named by its digest.
    pub(super) fn digested(&self, digest: &str, what: &str) -> Result<&[u8], ArchiveError> {
        let text = self.text(&self.place(digest)?, what)?;
        self.check(text, digest, what)?;
        Ok(text)
    }

    pub(super) fn check(
        &self,
        text: &[u8],
        expected: &str,
        what: &str,
    ) -> Result<(), ArchiveError> {
        let actual = format!("sha256:{}", hex::encode(Sha256::digest(text)));
        if actual == expected {
            return Ok(());
        }
        Err(ArchiveError::Digest {
            file: self.path.clone(),
            what: what.to_owned(),
            expected: expected.to_owned(),
            actual,
        })
    }

    /// Where an OCI layout keeps a blob.
    pub(super) fn place(&self, digest: &str) -> Result<String, ArchiveError> {
        match digest.strip_prefix("sha256:").filter(|hex| is_sha256(hex)) {
            Some(hex) => Ok(format!("blobs/sha256/{hex}")),
            None => Err(self.damaged(format!("`{digest}` is not a sha256 digest"))),
        }
    }

    pub(super) fn damaged(&self, detail: String) -> ArchiveError {
        ArchiveError::Damaged {
            file: self.path.clone(),
            detail,
        }
    }

    pub(super) fn parse<T: serde::de::DeserializeOwned>(
        &self,
        text: &[u8],
        what: &str,
    ) -> Result<T, ArchiveError> {
        serde_json::from_slice(text)
            .map_err(|error| self.damaged(format!("{what} cannot be read: {error}")))
    }

    fn behind_links(&self, name: &str) -> String {
        let mut name = name.to_owned();
        // A circle of links is a missing file.
        for _ in 0..8 {
            match self.links.get(&name) {
                Some(target) => name.clone_from(target),
                None => break,
            }
        }
        name
    }
}

pub(super) fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `./blobs//x` is `blobs/x`, `a/../b` is `b`; what leads outside is nothing.
fn normal(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
