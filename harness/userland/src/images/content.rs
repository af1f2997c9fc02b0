//! The bytes of layers: where they lie, how they are compressed, what their digests are.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::archive::Blob;

/// Where the bytes of a layer lie.
#[derive(Clone, Debug)]
pub enum Content {
    File(PathBuf),
    Archived(Blob),
}

impl Content {
    /// The bytes as they lie there.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::File(path) => {
                let file = BufReader::with_capacity(1 << 18, File::open(path)?);
                Ok(Box::new(file))
            }
            Self::Archived(blob) => blob.open(),
        }
    }

    /// The tar archive that they are, whatever it is compressed with: media types are not always true.
    pub fn decompressed(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut magic = Vec::with_capacity(4);
        self.open()?.take(4).read_to_end(&mut magic)?;
        Compression::of(&magic).reader(self.open()?)
    }

    /// What messages call it.
    pub fn place(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Archived(blob) => blob.archive().to_path_buf(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// From the first bytes of a file.
    pub fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    pub fn reader(self, raw: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(raw),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, raw))),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(raw)?),
        })
    }

    /// The media type of a layer of this kind.
    pub fn layer_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// The digest of some bytes, in the form that manifests use.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Passes bytes on and takes their digest.
pub struct Digesting<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Digesting<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    /// Of everything that was read.
    pub fn digest(self) -> String {
        format!("sha256:{}", hex::encode(self.hash.finalize()))
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
