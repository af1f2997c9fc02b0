//! A directory as a layer: the same tree gives the same bytes, wherever and whenever.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// 1980-01-01: what files say about when they were made differs from build to build, and some
/// formats know no time before this.
const MTIME: u64 = 315_532_800;

/// Writes the tree below a directory as a compressed archive; the digest of the archive inside.
pub fn directory(root: &Path, out: impl Write) -> Result<String, String> {
    let gzip = GzEncoder::new(out, Compression::default());
    let mut layer = Layer {
        tar: Builder::new(Digesting {
            inner: gzip,
            hash: Sha256::new(),
        }),
        seen: HashMap::new(),
    };
    layer.children(root, Path::new(""))?;
    let written = layer
        .tar
        .into_inner()
        .and_then(|digesting| Ok((digesting.hash, digesting.inner.finish()?)))
        .and_then(|(hash, mut out)| out.flush().map(|()| hash));
    match written {
        Ok(hash) => Ok(format!("sha256:{}", hex::encode(hash.finalize()))),
        Err(error) => Err(format!("cannot write the archive: {error}")),
    }
}

struct Layer<W: Write> {
    tar: Builder<W>,
    /// First names of files that have several.
    seen: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Layer<W> {
    fn children(&mut self, root: &Path, directory: &Path) -> Result<(), String> {
        let place = root.join(directory);
        let names = fs::read_dir(&place).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<OsString>>>()
        });
        let mut names =
            names.map_err(|error| format!("cannot read {}: {error}", place.display()))?;
        names.sort();
        for name in names {
            let path = directory.join(name);
            let metadata = root.join(&path).symlink_metadata();
            let is_directory = metadata
                .and_then(|metadata| {
                    self.entry(&root.join(&path), &path, &metadata)?;
                    Ok(metadata.is_dir())
                })
                .map_err(|error| format!("cannot pack {}: {error}", root.join(&path).display()))?;
            if is_directory {
                self.children(root, &path)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, place: &Path, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
            // A container's devices come from its runtime.
            return Ok(());
        }
        let mut header = header(metadata);
        if !kind.is_dir() && metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            if let Some(first) = self.seen.get(&file) {
                header.set_entry_type(EntryType::Link);
                return self.tar.append_link(&mut header, path, first);
            }
            self.seen.insert(file, path.to_path_buf());
        }
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            return self
                .tar
                .append_link(&mut header, path, fs::read_link(place)?);
        }
        self.attributes(place)?;
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            self.tar.append_data(&mut header, path, io::empty())
        } else if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
            self.tar.append_data(&mut header, path, io::empty())
        } else {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            self.tar.append_data(&mut header, path, File::open(place)?)
        }
    }

    /// Those that a container can use, for the entry that follows.
    fn attributes(&mut self, place: &Path) -> io::Result<()> {
        let names = match xattr::list(place) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut attributes = Vec::new();
        for name in names {
            let useful = name.as_bytes().starts_with(b"user.") || name == "security.capability";
            if let (true, Some(value)) = (useful, xattr::get(place, &name)?) {
                let key = format!("SCHILY.xattr.{}", name.to_string_lossy());
                attributes.push((key, value));
            }
        }
        attributes.sort();
        let attributes = attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(attributes)
    }
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(MTIME);
    header.set_size(0);
    header
}

struct Digesting<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
