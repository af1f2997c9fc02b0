//! Why an image cannot be had.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::archive::ArchiveError;
use crate::contain::{ContainError, IdMapError};
use crate::programs::ProgramsError;
use crate::rootfs::RootFsError;

#[derive(Debug, Error)]
pub enum ImageError {
    #[error("`{reference}` is not an image reference: {detail}")]
    BadReference { reference: String, detail: String },
    #[error(
        "image {reference} is not in the catalogue, and without a network nothing else can be had: add a recipe for it to fixtures/images.yaml (or to the file given with --catalogue), let it be pulled with --images pull, or give a directory of archives that has it with --images DIR"
    )]
    Unknown { reference: String },
    #[error(
        "image {reference} is the disk of a virtual machine; what is built in its place is no image, so it can only be pulled"
    )]
    Machine { reference: String },
    #[error(
        "image {name} was not prepared in {}, which cannot be written to", .path.display()
    )]
    NotPrepared { name: String, path: PathBuf },
    #[error(
        "image {name} is built on the root file system {kind}, which is not there; run `trunkline rootfs build`"
    )]
    NoRoot { name: String, kind: &'static str },
    #[error("image {reference} does not exist: {registry} has no such repository or tag")]
    NotFound { reference: String, registry: String },
    #[error(
        "image {reference} may not be pulled: {registry} wants credentials; `docker login {registry}` stores them where they are found"
    )]
    Unauthorized { reference: String, registry: String },
    #[error("image {reference} cannot be pulled: {registry} does not answer ({detail})")]
    Silent {
        reference: String,
        registry: String,
        detail: String,
    },
    #[error("image {reference} cannot be pulled: {registry} answers {detail}")]
    Registry {
        reference: String,
        registry: String,
        detail: String,
    },
    #[error("image {reference} has no variant for {wanted}; it has {offered}")]
    Platform {
        reference: String,
        wanted: String,
        offered: String,
    },
    #[error("image {reference} is damaged: {detail}")]
    Damaged { reference: String, detail: String },
    #[error("image {reference} cannot be unpacked: {detail}")]
    Unpack { reference: String, detail: String },
    #[error("the disk at {} is full; make room there or set TRUNKLINE_CACHE", .0.display())]
    DiskFull(PathBuf),
    #[error("image {reference} cannot be packed: {detail}")]
    Pack { reference: String, detail: String },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    RootFs(#[from] RootFsError),
    #[error(transparent)]
    IdMap(#[from] IdMapError),
    #[error(transparent)]
    Contain(#[from] ContainError),
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl ImageError {
    pub(super) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::DiskFull(path),
            _ => Self::Io { what, path, source },
        }
    }
}
