//! What the lab and its workloads are made of: root file systems, programs and images.
//!
//! Everything lies in one [`Cache`] on the host, is keyed by what it was made from, appears under
//! its name only when it is complete, and is never changed afterwards. So several processes can
//! use it at once, and the lab mounts it read-only.

pub mod archive;
pub mod cache;
pub mod catalogue;
pub mod contain;
pub mod images;
pub mod machine;
pub mod programs;
pub mod progress;
pub mod rootfs;
mod yaml;

pub use cache::{Cache, CacheError};
pub use catalogue::{Catalogue, CatalogueError};
pub use images::{Bundle, Image, ImageConfig, ImageError, ImageSource, Images};
pub use programs::{Programs, ProgramsError};
pub use progress::Progress;
pub use rootfs::{RootFs, RootFsError, RootKind};
