//! What the entries of a layer mean (OCI image specification, «layer»).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use crate::write::{self, Metadata};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A layer being applied to the current root.
#[derive(Debug, Default)]
pub struct Layer {
    /// Paths of this layer. Whiteouts hide what lower layers have, not these.
    own: HashSet<PathBuf>,
    /// Directories get their times last: filling them changes them.
    directories: Vec<(PathBuf, Metadata)>,
}

impl Layer {
    pub fn apply(&mut self, archive: &mut impl Read) -> Result<(), String> {
        let broken = |error: io::Error| format!("the archive is broken: {error}");
        let mut archive = Archive::new(archive);
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let name = entry.path().map_err(broken)?.into_owned();
            let path = inside(&name)?;
            self.entry(&mut entry, &path)
                .map_err(|error| format!("cannot unpack {}: {error}", name.display()))?;
        }
        for (path, metadata) in self.directories.iter().rev() {
            write::times(path, metadata)
                .map_err(|error| format!("cannot set the time of {}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &Path) -> io::Result<()> {
        let name = path.file_name().map_or(&b""[..], OsStr::as_bytes);
        if name == OPAQUE {
            return self.hide_children(path.parent().unwrap_or(Path::new("/")));
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.hide(&path.with_file_name(OsStr::from_bytes(hidden)));
        }
        let kind = entry.header().entry_type();
        if kind.is_character_special() || kind.is_block_special() {
            // A container's devices come from its runtime.
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let metadata = Metadata::of(entry)?;
        make_room(path, kind)?;
        match kind {
            EntryType::Directory => {
                if path != Path::new("/") && !path.is_dir() {
                    fs::create_dir(path)?;
                }
                write::own(path, &metadata)?;
                self.directories.push((path.to_path_buf(), metadata));
            }
            EntryType::Symlink => {
                write::symlink(path, &target(entry)?)?;
                write::owner(path, &metadata)?;
                write::times(path, &metadata)?;
            }
            EntryType::Link => {
                let target = inside(&target(entry)?).map_err(io::Error::other)?;
                fs::hard_link(target, path)?;
            }
            EntryType::Fifo => {
                write::fifo(path)?;
                write::own(path, &metadata)?;
                write::times(path, &metadata)?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                write::file(path, entry)?;
                write::own(path, &metadata)?;
                write::times(path, &metadata)?;
            }
            // Extensions that the reader has already applied, or that say nothing about files.
            _ => return Ok(()),
        }
        self.own.insert(path.to_path_buf());
        Ok(())
    }

    fn hide(&self, path: &Path) -> io::Result<()> {
        if self.own.contains(path) {
            return Ok(());
        }
        write::remove(path)
    }

    fn hide_children(&self, directory: &Path) -> io::Result<()> {
        let children = match fs::read_dir(directory) {
            Ok(children) => children,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for child in children {
            let child = child?.path();
            let kept = self.own.iter().any(|own| own.starts_with(&child));
            if !kept {
                write::remove(&child)?;
            } else if child.is_dir() && !child.is_symlink() {
                // The directory is this layer's, but may hold more from below.
                self.hide_children(&child)?;
            }
        }
        Ok(())
    }
}

fn target<R: Read>(entry: &Entry<'_, R>) -> io::Result<PathBuf> {
    entry
        .link_name()?
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| io::Error::other("the link has no target"))
}

/// What is in the way goes, unless a directory meets a directory.
fn make_room(path: &Path, kind: EntryType) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(existing) if existing.is_dir() && kind.is_dir() => Ok(()),
        Ok(_) => write::remove(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The path below the root. `..` has no business in an archive.
fn inside(name: &Path) -> Result<PathBuf, String> {
    let mut path = PathBuf::from("/");
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                return Err(format!(
                    "the archive names {}, outside its root",
                    name.display()
                ));
            }
        }
    }
    Ok(path)
}
