//! What a machine has, and findings about it in the shape that every site uses.
//!
//! Nothing here judges: a site's doctor gathers facts with this, and its rules make [`Check`]s of them.

mod check;
mod device;
mod kernel;
mod system;

pub use check::{Check, Status};
pub use device::Access;
pub use kernel::{KernelModule, Modules, kernel_release, kernel_version};
pub use system::{
    User, free_bytes, inotify_instances, inotify_watches, memory_available, names_in, number,
    program,
};
