//! What is known of a machine's disks before it starts.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::Api;

use super::super::context::{Context, Failure};
use super::super::data_volume::{Progress, kind::DataVolume, progress};
use super::super::vmi::volumes::{Found, claim_name, claim_names};
use crate::types::{VirtualMachine, VolumeSnapshotStatus};

/// How far the disks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disks {
    Fine,
    /// A claim has no volume yet.
    Unbound,
    /// A DataVolume is being filled.
    Filling,
    /// A DataVolume cannot be filled.
    Failed,
}

pub(super) async fn claims(context: &Context, vm: &VirtualMachine) -> Result<Found, Failure> {
    let api: Api<PersistentVolumeClaim> = context.api(vm.namespace().as_deref());
    let mut found = Found::new();
    for name in claim_names(&vm.spec.template.spec) {
        if let Some(claim) = api.get_opt(name).await? {
            found.insert(name.to_owned(), claim);
        }
    }
    Ok(found)
}

/// The DataVolumes that the machine's disks are made of.
pub(super) async fn data_volumes(
    context: &Context,
    vm: &VirtualMachine,
) -> Result<Vec<DataVolume>, Failure> {
    let api: Api<DataVolume> = context.api(vm.namespace().as_deref());
    let disks = vm.spec.template.spec.volumes.iter();
    let used = disks.filter_map(|volume| Some(volume.data_volume.as_ref()?.name.as_str()));
    let templates = vm.spec.data_volume_templates.iter();
    let brought = templates.filter_map(|template| template.metadata.name.as_deref());
    let names: BTreeSet<&str> = used.chain(brought).collect();
    let mut found = Vec::new();
    for name in names {
        found.extend(api.get_opt(name).await?);
    }
    Ok(found)
}

pub(super) fn state(claims: &Found, volumes: &[DataVolume]) -> Disks {
    let any = |wanted| volumes.iter().map(progress).any(|is| is == wanted);
    if any(Progress::Failed) {
        return Disks::Failed;
    }
    if any(Progress::Filling) {
        return Disks::Filling;
    }
    let unbound = |claim: &PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound")
    };
    if claims.values().any(unbound) {
        Disks::Unbound
    } else {
        Disks::Fine
    }
}

/// Which volumes could be snapshotted: none here, each for its own reason.
pub(super) fn snapshots(vm: &VirtualMachine, claims: &Found) -> Vec<VolumeSnapshotStatus> {
    let volumes = &vm.spec.template.spec.volumes;
    volumes
        .iter()
        .map(|volume| {
            let name = &volume.name;
            let claim = claim_name(volume).filter(|_| volume.ephemeral.is_none());
            let reason = match claim.map(|claim| claims.get(claim)) {
                None => format!("Snapshot is not supported for this volumeSource type [{name}]"),
                Some(None) => "PVC not found".to_owned(),
                Some(Some(claim)) => {
                    let spec = claim.spec.as_ref();
                    let class = spec.and_then(|s| s.storage_class_name.as_deref());
                    format!(
                        "No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [{}] [{name}]",
                        class.unwrap_or_default()
                    )
                }
            };
            VolumeSnapshotStatus {
                name: name.clone(),
                enabled: false,
                reason: Some(reason),
            }
        })
        .collect()
}

/// The machines that a claim matters to.
pub(super) fn uses(vm: &VirtualMachine, claim: &PersistentVolumeClaim) -> bool {
    vm.namespace() == claim.namespace()
        && claim_names(&vm.spec.template.spec).contains(claim.name_any().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Disks, Found, snapshots, state};

    #[test]
    fn every_volume_has_its_reason() {
        let vm = serde_json::from_value(
            json!({"metadata": {"name": "vm"}, "spec": {"template": {"spec": {
                "domain": {},
                "volumes": [
                    {"name": "root", "containerDisk": {"image": "i"}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "c"}},
                    {"name": "lost", "persistentVolumeClaim": {"claimName": "none"}},
                ],
            }}}}),
        )
        .unwrap();
        let claim = serde_json::from_value(json!({
            "metadata": {"name": "c"}, "spec": {"storageClassName": "standard"}, "status": {"phase": "Pending"},
        }))
        .unwrap();
        let found = Found::from([("c".to_owned(), claim)]);
        let reasons: Vec<_> = snapshots(&vm, &found)
            .into_iter()
            .map(|s| s.reason.unwrap())
            .collect();
        assert_eq!(
            reasons,
            [
                "Snapshot is not supported for this volumeSource type [root]",
                "No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [standard] [data]",
                "PVC not found",
            ]
        );
        assert_eq!(state(&found, &[]), Disks::Unbound);
        assert_eq!(state(&Found::new(), &[]), Disks::Fine);
        let volume = |status| {
            serde_json::from_value(json!({"metadata": {}, "spec": {}, "status": status})).unwrap()
        };
        let filling = volume(json!({"phase": "ImportInProgress"}));
        assert_eq!(state(&found, &[filling]), Disks::Filling);
        let error = json!({"type": "Running", "status": "False", "reason": "Error"});
        let failed = volume(json!({"phase": "ImportInProgress", "conditions": [error]}));
        assert_eq!(state(&found, &[failed]), Disks::Failed);
        let done = volume(json!({"phase": "Succeeded"}));
        assert_eq!(state(&Found::new(), &[done]), Disks::Fine);
    }
}
