//! Node objects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
    Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::config::{NodeConfig, Role};
use crate::error::{Error, Result};
use crate::quantity::Milli;

/// What this machine has; every node of the lab reports all of it, as nodes of a kind cluster do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    pub cpu: Milli,
    pub memory: Milli,
}

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const MAX_PODS: u32 = 110;

pub(crate) fn machine_resources() -> Result<Resources> {
    let cpus = std::thread::available_parallelism().map_err(Error::io("count the processors"))?;
    let meminfo =
        std::fs::read_to_string("/proc/meminfo").map_err(Error::file("read", "/proc/meminfo"))?;
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| Milli::parse(&format!("{}Ki", kib.trim())));
    Ok(Resources {
        cpu: Milli(cpus.get() as i128 * 1_000),
        memory: total.unwrap_or_default(),
    })
}

/// Creates the node object, or takes over the one that is there.
pub(crate) async fn register(
    client: &Client,
    node: &NodeConfig,
    version: &str,
    resources: Resources,
) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let name = node.name.as_str();
    let action = || format!("register node {name}");
    let object = Node {
        metadata: metadata(node),
        spec: Some(spec(node)),
        status: None,
    };
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {}
        Err(kube::Error::Api(error)) if error.code == 409 => {
            let patch = json!({"metadata": {"labels": object.metadata.labels}});
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map_err(Error::api(action()))?;
        }
        Err(error) => return Err(Error::api(action())(error)),
    }
    let patch = json!({"status": status(node, version, resources)});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(Error::api(action()))?;
    Ok(())
}

fn metadata(node: &NodeConfig) -> ObjectMeta {
    let mut labels: BTreeMap<String, String> = [
        ("beta.kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("kubernetes.io/hostname", node.name.as_str()),
        ("kubernetes.io/os", "linux"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    let role = match node.role {
        Role::ControlPlane => CONTROL_PLANE,
        Role::Worker => "node-role.kubernetes.io/worker",
    };
    labels.insert(role.to_owned(), String::new());
    ObjectMeta {
        name: Some(node.name.to_string()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

fn spec(node: &NodeConfig) -> NodeSpec {
    let cidr = node.pod_cidr.map(|c| c.to_string());
    NodeSpec {
        pod_cidr: cidr.clone(),
        pod_cidrs: cidr.map(|c| vec![c]),
        taints: (node.role == Role::ControlPlane).then(|| {
            vec![Taint {
                key: CONTROL_PLANE.to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            }]
        }),
        ..NodeSpec::default()
    }
}

fn status(node: &NodeConfig, version: &str, resources: Resources) -> NodeStatus {
    let now = Time(Timestamp::now());
    let amounts: BTreeMap<String, Quantity> = [
        ("cpu", resources.cpu.units().to_string()),
        ("memory", format!("{}Ki", resources.memory.units() / 1024)),
        ("pods", MAX_PODS.to_string()),
    ]
    .map(|(k, v)| (k.to_owned(), Quantity(v)))
    .into();
    let condition = |type_: &str, holds: bool, reason: &str, message: &str| NodeCondition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    };
    NodeStatus {
        addresses: Some(vec![
            NodeAddress {
                type_: "InternalIP".to_owned(),
                address: node.ip.to_string(),
            },
            NodeAddress {
                type_: "Hostname".to_owned(),
                address: node.name.to_string(),
            },
        ]),
        capacity: Some(amounts.clone()),
        allocatable: Some(amounts),
        conditions: Some(vec![
            condition(
                "MemoryPressure",
                false,
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition(
                "DiskPressure",
                false,
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
            ),
            condition(
                "PIDPressure",
                false,
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            condition(
                "Ready",
                true,
                "KubeletReady",
                "kubelet is posting ready status",
            ),
        ]),
        daemon_endpoints: Some(NodeDaemonEndpoints::default()),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().to_owned(),
            operating_system: "linux".to_owned(),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            os_image: os_image(),
            container_runtime_version: "containerd://trunkline".to_owned(),
            kubelet_version: version.to_owned(),
            kube_proxy_version: String::new(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            machine_id: uuid::Uuid::new_v4().simple().to_string(),
            system_uuid: uuid::Uuid::new_v4().to_string(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn os_image() -> String {
    read("/etc/os-release")
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(
            || "Linux".to_owned(),
            |name| name.trim_matches('"').to_owned(),
        )
}
