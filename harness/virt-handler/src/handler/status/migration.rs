//! Whether a machine can be moved to another node, and why not.

use std::collections::BTreeMap;

use trunkline_kubevirt::types::{
    Condition, Conditions, InterfaceBindingPlugin, VirtualMachineInstance,
    VirtualMachineInstanceStatus, Volume,
};

const NOT_MASQUERADE: &str = "cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network";

/// On the instance: its bridge on the pod network may be moved, whatever that breaks.
const ALLOW_BRIDGE: &str = "kubevirt.io/allow-pod-bridge-network-live-migration";

/// `LiveMigratable`, `StorageLiveMigratable` and the method.
pub fn migratable(
    vmi: &VirtualMachineInstance,
    plugins: &BTreeMap<String, InterfaceBindingPlugin>,
    status: &mut VirtualMachineInstanceStatus,
) {
    let network = network(vmi, plugins);
    let (block, disks) = disks(vmi, status);
    let live = match (&network, disks) {
        (Err(message), _) => not(
            "LiveMigratable",
            "InterfaceNotLiveMigratable",
            message.clone(),
        ),
        (Ok(()), Err(message)) => not("LiveMigratable", "DisksNotLiveMigratable", message),
        (Ok(()), Ok(())) => yes("LiveMigratable"),
    };
    let storage = match network {
        Ok(()) => yes("StorageLiveMigratable"),
        Err(message) => not(
            "StorageLiveMigratable",
            "NotMigratable",
            format!("InterfaceNotLiveMigratable: {message}"),
        ),
    };
    status.conditions.set(live);
    status.conditions.set(storage);
    let method = if block {
        "BlockMigration"
    } else {
        "LiveMigration"
    };
    status.migration_method = Some(method.to_owned());
}

fn yes(type_: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        ..Condition::default()
    }
}

fn not(type_: &str, reason: &str, message: String) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "False".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..Condition::default()
    }
}

/// Only the pod network matters.
fn network(
    vmi: &VirtualMachineInstance,
    plugins: &BTreeMap<String, InterfaceBindingPlugin>,
) -> Result<(), String> {
    let interfaces = &vmi.spec.domain.devices.interfaces;
    let pod = vmi
        .spec
        .networks
        .iter()
        .find(|network| network.pod.is_some());
    let (Some(pod), false) = (pod, interfaces.is_empty()) else {
        return Ok(());
    };
    let interface = interfaces
        .iter()
        .find(|interface| interface.name == pod.name)
        .ok_or_else(|| format!("no primary interface found for network {}", pod.name))?;
    let annotations = vmi.metadata.annotations.as_ref();
    let allowed = annotations.is_some_and(|annotations| annotations.contains_key(ALLOW_BRIDGE));
    let plugin = interface
        .binding
        .as_ref()
        .and_then(|binding| plugins.get(&binding.name));
    let movable = interface.masquerade.is_some()
        || interface.passt_binding.is_some()
        || (interface.bridge.is_some() && allowed)
        || plugin.is_some_and(|plugin| plugin.migration.is_some());
    if movable {
        Ok(())
    } else {
        Err(NOT_MASQUERADE.to_owned())
    }
}

/// Whether disks must be copied, and whether they cannot be.
fn disks(
    vmi: &VirtualMachineInstance,
    status: &VirtualMachineInstanceStatus,
) -> (bool, Result<(), String>) {
    let mut block = false;
    for volume in &vmi.spec.volumes {
        if let Some(claim) = claim(volume) {
            match shared(&volume.name, claim, status) {
                Ok(()) => {}
                Err(message) => return (true, Err(message)),
            }
        } else if volume.other.contains_key("hostDisk") {
            return (
                true,
                Err("cannot migrate VMI with non-shared HostDisk".to_owned()),
            );
        } else if !is_read_only_cdrom(vmi, &volume.name) {
            block = true;
        }
    }
    (block, Ok(()))
}

fn claim(volume: &Volume) -> Option<&str> {
    let claim = volume
        .persistent_volume_claim
        .as_ref()
        .map(|claim| claim.claim_name.as_str());
    claim.or_else(|| volume.data_volume.as_ref().map(|data| data.name.as_str()))
}

fn shared(volume: &str, claim: &str, status: &VirtualMachineInstanceStatus) -> Result<(), String> {
    let known = status
        .volume_status
        .iter()
        .find(|known| known.name == volume)
        .and_then(|known| known.persistent_volume_claim_info.as_ref());
    match known {
        None => Err(format!(
            "cannot migrate VMI: Unable to determine if PVC {claim} is shared, live migration requires that all PVCs must be shared (using ReadWriteMany access mode)"
        )),
        Some(known)
            if known
                .access_modes
                .iter()
                .any(|mode| mode == "ReadWriteMany") =>
        {
            Ok(())
        }
        Some(_) => Err(format!(
            "cannot migrate VMI: PVC {claim} is not shared, live migration requires that all PVCs must be shared (using ReadWriteMany access mode)"
        )),
    }
}

fn is_read_only_cdrom(vmi: &VirtualMachineInstance, volume: &str) -> bool {
    vmi.spec.domain.devices.disks.iter().any(|disk| {
        disk.name == volume
            && disk
                .cdrom
                .as_ref()
                .is_some_and(|cdrom| cdrom.read_only.unwrap_or(true))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use trunkline_kubevirt::types::{Conditions, InterfaceBindingPlugin, VirtualMachineInstance};

    use super::migratable;

    fn judged(spec: &Value, status: &Value) -> (String, String, String) {
        let vmi: VirtualMachineInstance =
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status}))
                .unwrap();
        let plugin: InterfaceBindingPlugin =
            serde_json::from_value(json!({"domainAttachmentType": "managedTap", "migration": {}}))
                .unwrap();
        let plugins = BTreeMap::from([("l2bridge".to_owned(), plugin)]);
        let mut status = vmi.status.clone().unwrap();
        migratable(&vmi, &plugins, &mut status);
        let told = |type_| {
            let condition = status.conditions.find(type_).unwrap();
            condition
                .reason
                .clone()
                .unwrap_or_else(|| condition.status.clone())
        };
        (
            told("LiveMigratable"),
            told("StorageLiveMigratable"),
            status.migration_method.unwrap(),
        )
    }

    fn spec(interface: &Value, volume: &Value) -> Value {
        json!({
            "domain": {"devices": {"interfaces": [interface], "disks": [{"name": "d", "disk": {}}]}},
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [volume],
        })
    }

    #[test]
    fn the_pod_network_decides() {
        let disk = json!({"name": "d", "containerDisk": {"image": "x"}});
        let judge = |interface: Value| judged(&spec(&interface, &disk), &json!({}));
        let fine = (
            "True".to_owned(),
            "True".to_owned(),
            "BlockMigration".to_owned(),
        );
        assert_eq!(judge(json!({"name": "default", "masquerade": {}})), fine);
        assert_eq!(
            judge(json!({"name": "default", "binding": {"name": "l2bridge"}})),
            fine
        );
        let bridge = judge(json!({"name": "default", "bridge": {}}));
        assert_eq!(bridge.0, "InterfaceNotLiveMigratable");
        assert_eq!(bridge.1, "NotMigratable");
        assert_eq!(
            judge(json!({"name": "default", "binding": {"name": "other"}})).1,
            "NotMigratable"
        );
    }

    #[test]
    fn claims_must_be_shared() {
        let volume = json!({"name": "d", "persistentVolumeClaim": {"claimName": "c"}});
        let judge = |modes: Value| {
            let status = json!({"volumeStatus": [{"name": "d", "persistentVolumeClaimInfo": {"accessModes": modes}}]});
            judged(
                &spec(&json!({"name": "default", "masquerade": {}}), &volume),
                &status,
            )
        };
        assert_eq!(judge(json!(["ReadWriteOnce"])).0, "DisksNotLiveMigratable");
        let shared = judge(json!(["ReadWriteMany"]));
        assert_eq!(
            (shared.0.as_str(), shared.2.as_str()),
            ("True", "LiveMigration")
        );
    }
}
