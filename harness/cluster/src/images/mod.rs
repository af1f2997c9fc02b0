//! Images from a directory of archives into the nodes that need them.
//!
//! With such a directory there is no registry: what is neither in a node nor in the directory is an error before
//! anything is loaded.

mod load;
mod names;
mod plan;

use std::path::PathBuf;

use trunkline_userland::archive::ArchiveError;

pub use load::{Loaded, Names, load, present};
pub use names::whole;
pub(crate) use plan::on;
pub use plan::{Load, Wanted, loads, wanted};

use crate::docker::DockerError;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The directory itself, a damaged archive, a wrong digest, or a reference that is not there.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("cannot bring image {reference} into {node}")]
    Load {
        reference: String,
        node: String,
        #[source]
        source: DockerError,
    },
    #[error("cannot see which images {node} has")]
    List {
        node: String,
        #[source]
        source: DockerError,
    },
    #[error(
        "image {reference} was loaded into {node} and is not there under that name; {} holds it under {held}", .file.display()
    )]
    OtherName {
        reference: String,
        node: String,
        file: PathBuf,
        held: String,
    },
}
