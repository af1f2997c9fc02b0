//! KubeVirt's kinds as it writes them: camelCase, absent when empty, and `null` or `{}` where Go leaves them.
//!
//! What trunkline does not read itself is kept as JSON in a field `other`, so that nothing is lost when an object is read
//! and written again.

mod condition;
mod device;
mod domain;
mod kubevirt;
mod machine;
mod migration;
mod network;
mod quantity;
mod vm;
mod vmi;
mod vmi_status;
mod volume;

pub use condition::{Condition, Conditions};
pub use device::{
    Bus, CdRomTarget, Devices, Disk, DiskTarget, Interface, InterfaceState, LunTarget,
    PluginBinding, Port,
};
pub use domain::{
    Acpi, Cpu, CpuFeature, CpuTopology, DomainSpec, FeatureState, Features, Firmware, Machine,
    Memory, MemoryStatus, ResourceRequirements,
};
pub use kubevirt::{
    DeveloperConfiguration, InterfaceBindingPlugin, KubeVirt, KubeVirtConfiguration, KubeVirtPhase,
    KubeVirtSpec, KubeVirtStatus, NetworkConfiguration,
};
pub use machine::{EvictionStrategy, RunStrategy, VmiPhase};
pub use migration::{
    AbortStatus, MigrationConfiguration, MigrationMode, MigrationPhase, MigrationPhaseTransition,
    MigrationState, VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationSpec,
    VirtualMachineInstanceMigrationStatus,
};
pub use network::{DhcpOptions, DhcpPrivateOption, MultusNetwork, Network, PodNetwork};
pub use quantity::Quantity;
pub use vm::{
    DataVolumeTemplate, PrintableStatus, StartFailure, StateChangeAction, StateChangeRequest,
    VirtualMachine, VirtualMachineInstanceTemplateSpec, VirtualMachineSpec, VirtualMachineStatus,
    VolumeSnapshotStatus,
};
pub use vmi::{Probe, VirtualMachineInstance, VirtualMachineInstanceSpec};
pub use vmi_status::{
    ContainerDiskInfo, GuestOsInfo, InterfaceStatus, PersistentVolumeClaimInfo, PhaseTransition,
    VirtualMachineInstanceStatus, VolumeStatus,
};
pub use volume::{
    CloudInitSource, ContainerDiskSource, DataVolumeSource, EmptyDiskSource, EphemeralSource,
    PersistentVolumeClaimSource, Volume,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The fields that trunkline carries without reading them.
pub type Other = Map<String, Value>;

/// A choice that says everything by being there, such as `masquerade: {}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
