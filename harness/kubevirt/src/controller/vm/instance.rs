//! The instance that a machine starts as.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use uuid::{Builder, Uuid};

use super::super::owner::owner_reference;
use super::super::vmi::CONTROLLER_FINALIZER;
use super::{GENERATION, strategy};
use crate::types::{
    Disk, VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceSpec,
    VirtualMachineInstanceStatus,
};

/// The name space of the identities that KubeVirt derives from names.
const FIRMWARE: Uuid = Uuid::from_u128(0x6a1a_24a1_4061_4607_8bf4_a396_3d0c_5895);

pub(super) fn of(vm: &VirtualMachine, revision: String) -> VirtualMachineInstance {
    let template = &vm.spec.template;
    let mut annotations = template.metadata.annotations.clone().unwrap_or_default();
    let generation = vm.metadata.generation.unwrap_or_default();
    annotations.insert(GENERATION.to_owned(), generation.to_string());
    let mut spec = template.spec.clone();
    if strategy::has_start_paused_request(vm) {
        spec.start_strategy = Some("Paused".to_owned());
    }
    let name = vm.name_any();
    let firmware = spec.domain.firmware.get_or_insert_default();
    if firmware.uuid.as_ref().is_none_or(String::is_empty) {
        firmware.uuid = Some(stable_uuid(&name).to_string());
    }
    give_volumes_disks(&mut spec);
    VirtualMachineInstance {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: vm.namespace(),
            labels: template.metadata.labels.clone(),
            annotations: Some(annotations),
            // so that nothing of the instance is lost before the machine's status has it
            finalizers: Some(vec![CONTROLLER_FINALIZER.to_owned()]),
            owner_references: Some(vec![owner_reference(vm)]),
            ..ObjectMeta::default()
        },
        spec,
        status: Some(VirtualMachineInstanceStatus {
            virtual_machine_revision_name: Some(revision),
            ..VirtualMachineInstanceStatus::default()
        }),
    }
}

/// The same for every start of a machine of this name.
fn stable_uuid(name: &str) -> Uuid {
    use sha1::Digest;
    let hash = sha1::Sha1::new()
        .chain_update(FIRMWARE.as_bytes())
        .chain_update(name.as_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

/// A volume that no disk names is shown all the same.
fn give_volumes_disks(spec: &mut VirtualMachineInstanceSpec) {
    let shared = spec.domain.devices.other.get("filesystems").cloned();
    let shared = shared.as_ref().and_then(|list| list.as_array());
    let is_shared = |name: &str| {
        let mut all = shared.into_iter().flatten();
        all.any(|f| f.get("name").and_then(|n| n.as_str()) == Some(name))
    };
    let disks = &mut spec.domain.devices.disks;
    for volume in &spec.volumes {
        if !is_shared(&volume.name) && !disks.iter().any(|d| d.name == volume.name) {
            disks.push(Disk {
                name: volume.name.clone(),
                ..Disk::default()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{of, stable_uuid};

    #[test]
    fn identities_follow_from_names() {
        assert_eq!(
            stable_uuid("testvmi").to_string(),
            "f8918e71-270a-598e-a2a4-1afac39e1394"
        );
    }

    #[test]
    fn an_instance_is_its_machines() {
        let vm = serde_json::from_value(json!({
            "metadata": {"name": "vm", "namespace": "ns", "uid": "u", "generation": 3, "labels": {"own": "x"}},
            "spec": {"runStrategy": "Manual", "template": {
                "metadata": {"labels": {"app": "a"}, "annotations": {"x": "y"}},
                "spec": {"domain": {}, "volumes": [{"name": "root", "containerDisk": {"image": "i"}}]},
            }},
            "status": {"stateChangeRequests": [{"action": "Start", "data": {"paused": "true"}}]},
        }))
        .unwrap();
        let vmi = serde_json::to_value(of(&vm, "revision".to_owned())).unwrap();
        assert_eq!(vmi["metadata"]["labels"], json!({"app": "a"}));
        assert_eq!(
            vmi["metadata"]["annotations"],
            json!({"x": "y", "kubevirt.io/vm-generation": "3"})
        );
        assert_eq!(vmi["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(vmi["spec"]["startStrategy"], "Paused");
        assert_eq!(
            vmi["spec"]["domain"]["devices"]["disks"],
            json!([{"name": "root"}])
        );
        assert_eq!(vmi["status"]["virtualMachineRevisionName"], "revision");
    }
}
