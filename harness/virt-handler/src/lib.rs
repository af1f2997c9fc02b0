//! The node's side of virtual machines: the network of their pods, QEMU, and what the guest says of itself.
//!
//! A [`VirtHandler`] watches VirtualMachineInstances and takes each over when virt-controller has scheduled it and its
//! virt-launcher pod runs. It is KubeVirt's virt-handler and the thinking half of its virt-launcher in one; all nodes of
//! a lab share it.

mod domain;
mod handler;
pub mod network;

pub use handler::{Config, Node, VirtHandler};
