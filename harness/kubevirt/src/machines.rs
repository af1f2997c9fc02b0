//! What the API asks of the node that runs a machine.

use async_trait::async_trait;
use kubeapi::AsyncReadWrite;
use serde_json::Value;

/// A running VirtualMachineInstance. The server has read it and checked its phase.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MachineRef {
    pub namespace: String,
    pub name: String,
    /// Of the VirtualMachineInstance.
    pub uid: String,
}

/// The machine could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// It is not, or no longer, running here.
    #[error("the machine is not running")]
    NotRunning,
    /// Nothing in the guest answers on the guest agent's channel.
    #[error("the guest agent is not connected")]
    NoAgent,
    #[error("{0}")]
    Failed(String),
}

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestUser {
    pub name: String,
    pub domain: Option<String>,
    /// Seconds since 1970.
    pub login_time: f64,
}

/// A mounted file system of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    pub disk_name: String,
    pub mount_point: String,
    pub kind: String,
    pub used_bytes: u64,
    pub total_bytes: u64,
    /// As the guest agent gives them.
    pub disks: Vec<Value>,
}

/// Reaches into running machines.
#[async_trait]
pub trait Machines: Send + Sync {
    /// A connection to the serial console. It takes one at a time: a new one ends the one before.
    async fn console(&self, machine: &MachineRef) -> Result<Box<dyn AsyncReadWrite>, MachineError>;

    /// A connection to a TCP port of the machine's first address.
    async fn port_forward(
        &self,
        machine: &MachineRef,
        port: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, MachineError>;

    async fn pause(&self, machine: &MachineRef) -> Result<(), MachineError>;
    async fn unpause(&self, machine: &MachineRef) -> Result<(), MachineError>;
    /// Asks the guest to reboot, through its agent or by the power button.
    async fn soft_reboot(&self, machine: &MachineRef) -> Result<(), MachineError>;
    /// As the reset button does.
    async fn reset(&self, machine: &MachineRef) -> Result<(), MachineError>;
    async fn freeze(&self, machine: &MachineRef) -> Result<(), MachineError>;
    async fn unfreeze(&self, machine: &MachineRef) -> Result<(), MachineError>;

    /// KubeVirt's VirtualMachineInstanceGuestAgentInfo, without `kind` and `apiVersion`.
    async fn guest_os_info(&self, machine: &MachineRef) -> Result<Value, MachineError>;
    async fn users(&self, machine: &MachineRef) -> Result<Vec<GuestUser>, MachineError>;
    async fn filesystems(&self, machine: &MachineRef) -> Result<Vec<Filesystem>, MachineError>;
}
