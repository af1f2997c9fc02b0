//! The claims behind a machine's disks.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubeQuantity;

use super::super::launcher::Claims;
use crate::types::{
    PersistentVolumeClaimInfo, Quantity, VirtualMachineInstance, VirtualMachineInstanceSpec,
    Volume, VolumeStatus,
};

/// What a file system is thought to take of a claim for itself.
const FILE_SYSTEM_OVERHEAD: &str = "0.055";

/// Claims by their names.
pub(in crate::controller) type Found = BTreeMap<String, PersistentVolumeClaim>;

/// The claim that a volume is made of.
pub(in crate::controller) fn claim_name(volume: &Volume) -> Option<&str> {
    let claim = volume.persistent_volume_claim.as_ref();
    let ephemeral = volume.ephemeral.as_ref();
    claim
        .or_else(|| ephemeral?.persistent_volume_claim.as_ref())
        .map(|claim| claim.claim_name.as_str())
        .or_else(|| Some(volume.data_volume.as_ref()?.name.as_str()))
}

pub(in crate::controller) fn claim_names(spec: &VirtualMachineInstanceSpec) -> BTreeSet<&str> {
    spec.volumes.iter().filter_map(claim_name).collect()
}

/// The first claim that is not there.
pub(super) fn missing<'a>(vmi: &'a VirtualMachineInstance, found: &Found) -> Option<&'a str> {
    let names = vmi.spec.volumes.iter().filter_map(claim_name);
    names.into_iter().find(|name| !found.contains_key(*name))
}

pub(super) fn block(found: &Found) -> Claims {
    let is_block = |claim: &PersistentVolumeClaim| {
        let mode = claim.spec.as_ref().and_then(|s| s.volume_mode.as_deref());
        mode == Some("Block")
    };
    Claims::new(
        found
            .iter()
            .filter(|(_, claim)| is_block(claim))
            .map(|(name, _)| name.clone())
            .collect(),
    )
}

/// The status of all volumes, sorted by name; what virt-handler knows of them stays.
pub(super) fn status(vmi: &VirtualMachineInstance, found: &Found) -> Vec<VolumeStatus> {
    let known = |name: &str| {
        let mut all = vmi.status.iter().flat_map(|status| &status.volume_status);
        all.find(|status| status.name == name).cloned()
    };
    let mut statuses: Vec<_> = vmi
        .spec
        .volumes
        .iter()
        .map(|volume| {
            let mut status = known(&volume.name).unwrap_or_else(|| VolumeStatus {
                name: volume.name.clone(),
                ..VolumeStatus::default()
            });
            let persistent = volume.ephemeral.is_none();
            if let Some(claim) = claim_name(volume)
                .filter(|_| persistent)
                .and_then(|name| found.get(name))
            {
                status.persistent_volume_claim_info = Some(info(claim));
            }
            status
        })
        .collect();
    statuses.sort_by(|a, b| a.name.cmp(&b.name));
    statuses
}

fn info(claim: &PersistentVolumeClaim) -> PersistentVolumeClaimInfo {
    let spec = claim.spec.clone().unwrap_or_default();
    let capacity = claim.status.as_ref().and_then(|s| s.capacity.clone());
    PersistentVolumeClaimInfo {
        claim_name: claim.metadata.name.clone(),
        access_modes: spec.access_modes.unwrap_or_default(),
        volume_mode: spec.volume_mode,
        capacity: quantities(capacity),
        requests: quantities(spec.resources.and_then(|r| r.requests)),
        preallocated: false,
        filesystem_overhead: Some(FILE_SYSTEM_OVERHEAD.to_owned()),
    }
}

fn quantities(map: Option<BTreeMap<String, KubeQuantity>>) -> BTreeMap<String, Quantity> {
    map.into_iter()
        .flatten()
        .map(|(name, quantity)| (name, quantity.into()))
        .collect()
}
