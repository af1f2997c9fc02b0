//! Why a virtual machine's parts cannot be had.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use trunkline_qemu::QmpError;

use crate::contain::{ContainError, IdMapError};
use crate::images::ImageError;
use crate::rootfs::RootFsError;

#[derive(Debug, Error)]
pub enum MachineError {
    #[error(
        "image {reference} is not in the catalogue as the disk of a virtual machine: give it `machine: debian` in fixtures/images.yaml (or in the file given with --catalogue), let it be pulled with --images pull, or give a directory of archives that has it with --images DIR"
    )]
    Unknown { reference: String },
    #[error(
        "image {reference} is no container disk: it must have one file in /disk, and has {found}"
    )]
    NoDisk { reference: String, found: String },
    #[error("the guest's kernel is not one that is understood: {0}")]
    Kernel(String),
    #[error("the guest's root file system could not be packed: {0}")]
    Pack(String),
    #[error("QEMU ended while the template was made{}", said(.0))]
    Ended(String),
    #[error("the template's guest did not come up within {} s{}", .limit.as_secs(), said(.console))]
    NotReady { limit: Duration, console: String },
    #[error("the template's guest speaks version {0} of its protocol; build trunkline again")]
    Version(u32),
    #[error("the template could not be made: {0}")]
    Qmp(#[from] QmpError),
    #[error(transparent)]
    Image(#[from] ImageError),
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

impl MachineError {
    pub(super) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// The end of what was said, where anything was.
fn said(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!("; it said last: {text}"),
    }
}
