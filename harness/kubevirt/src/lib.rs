//! KubeVirt's API: its kinds, what is defaulted and refused, the controllers that turn a VirtualMachine into a pod, and
//! the subresources that reach into a running machine. Knows nothing of QEMU: that is asked of [`Machines`].

pub mod admission;
pub mod controller;
mod crds;
mod machines;
mod merge_patch;
pub mod subresources;
pub mod types;

pub use crds::crds;
pub use machines::{Filesystem, GuestUser, MachineError, MachineRef, Machines};
pub use merge_patch::merge_patch;
