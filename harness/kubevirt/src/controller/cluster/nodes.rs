//! What KubeVirt's labeller and device plugins say of a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::super::context::{Context, Failure, drive, now};

const HEARTBEAT: &str = "kubevirt.io/heartbeat";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// What the device plugins offer: as many as anybody could want, or none.
const PLENTY: &str = "1k";
const NOTHING: &str = "0";

/// The machines that QEMU 10 can be, but for the versioned ones.
const MACHINES: [&str; 5] = ["isapc", "microvm", "pc", "q35", "x-remote"];
/// The versions of `pc` and `q35`.
const VERSIONS: [&str; 31] = [
    "2.4", "2.5", "2.6", "2.7", "2.8", "2.9", "2.10", "2.11", "2.12", "3.0", "3.1", "4.0", "4.0.1",
    "4.1", "4.2", "5.0", "5.1", "5.2", "6.0", "6.1", "6.2", "7.0", "7.1", "7.2", "8.0", "8.1",
    "8.2", "9.0", "9.1", "9.2", "10.0",
];

pub(in crate::controller) async fn run(context: Arc<Context>) {
    let api = Api::<Node>::all(context.client.clone());
    let controller = Controller::new(api, watcher::Config::default());
    drive(controller, context, reconcile).await;
}

async fn reconcile(node: Arc<Node>, context: Arc<Context>) -> Result<Action, Failure> {
    // virt-handler does not run where ordinary pods do not
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    if taints.into_iter().any(|t| t.key == CONTROL_PLANE) {
        return Ok(Action::await_change());
    }
    let api: Api<Node> = Api::all(context.client.clone());
    let name = node.name_any();
    let params = PatchParams::default();
    let labels = labels(context.vendor);
    let labelled = labels
        .iter()
        .all(|(key, value)| node.labels().get(key) == Some(value));
    if !labelled || !node.annotations().contains_key(HEARTBEAT) {
        let patch = json!({"metadata": {"labels": labels, "annotations": {
            HEARTBEAT: now(), "kubevirt.io/ksm-handler-managed": "false",
        }}});
        api.patch(&name, &params, &Patch::Merge(patch)).await?;
    }
    let devices = devices();
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    // a node whose own resources are not known yet gets these with them
    let offered = allocatable.is_some_and(|a| {
        devices
            .iter()
            .all(|(device, count)| a.get(*device).map(|q| q.0.as_str()) == Some(count))
    });
    if !offered && node.meta().deletion_timestamp.is_none() {
        let patch: Value = json!({"status": {"capacity": devices, "allocatable": devices}});
        api.patch_status(&name, &params, &Patch::Merge(patch))
            .await?;
    }
    Ok(Action::await_change())
}

fn labels(vendor: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from(
        [
            ("kubevirt.io/schedulable", "true"),
            ("kubevirt.io/ksm-enabled", "false"),
            ("kubevirt.io/cpumanager", "false"),
            ("cpumanager", "false"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let mut can = |label: String| labels.insert(label, "true".to_owned());
    if let Some(vendor) = vendor {
        can(format!("cpu-vendor.node.kubevirt.io/{vendor}"));
    }
    for machine in MACHINES {
        can(format!("machine-type.node.kubevirt.io/{machine}"));
    }
    for version in VERSIONS {
        can(format!("machine-type.node.kubevirt.io/pc-q35-{version}"));
        if version != "4.0.1" {
            can(format!("machine-type.node.kubevirt.io/pc-i440fx-{version}"));
        }
    }
    labels
}

/// All machines of the lab may be emulated, so none asks for acceleration.
fn devices() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("devices.kubevirt.io/kvm", NOTHING),
        ("devices.kubevirt.io/tun", PLENTY),
        ("devices.kubevirt.io/vhost-net", NOTHING),
    ])
}

/// Of the processor that all nodes share.
pub(in crate::controller) fn vendor() -> Option<&'static str> {
    // without it a label is missing that nothing asks for
    named(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn named(cpuinfo: &str) -> Option<&'static str> {
    let line = cpuinfo.lines().find(|l| l.starts_with("vendor_id"))?;
    match line.split_once(':')?.1.trim() {
        "AuthenticAMD" => Some("AMD"),
        "GenuineIntel" => Some("Intel"),
        "HygonGenuine" => Some("Hygon"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{labels, named};

    #[test]
    fn makers_of_processors() {
        assert_eq!(
            named("processor : 0\nvendor_id : GenuineIntel\n"),
            Some("Intel")
        );
        assert_eq!(named("processor : 0\n"), None);
    }

    /// As recorded on a node with QEMU 10.
    #[test]
    fn sixty_six_machine_types() {
        let labels = labels(Some("AMD"));
        let machines = labels
            .keys()
            .filter(|l| l.starts_with("machine-type.node.kubevirt.io/"));
        assert_eq!(machines.count(), 66);
        assert!(labels.contains_key("machine-type.node.kubevirt.io/pc-q35-10.0"));
        assert!(labels.contains_key("cpu-vendor.node.kubevirt.io/AMD"));
    }
}
