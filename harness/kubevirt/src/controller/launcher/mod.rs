//! The pod in which a machine runs, computed from the machine alone.

mod network;
mod probes;
mod resources;
mod selector;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, LocalObjectReference,
    ObjectFieldSelector, Pod, PodReadinessGate, PodSecurityContext, PodSpec, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use sha1::{Digest, Sha1};

use super::owner::owner_reference;
use crate::types::VirtualMachineInstance;

pub(super) use network::{pod_interface_name, secondary};

/// The container in which the machine runs.
pub(super) const COMPUTE: &str = "compute";
/// The pod's condition that follows whether the machine is paused.
pub(super) const UNPAUSED: &str = "kubevirt.io/virtual-machine-unpaused";
/// The machine's uid, on its pods.
pub(super) const CREATED_BY: &str = "kubevirt.io/created-by";
pub(super) const NODE_NAME: &str = "kubevirt.io/nodeName";
pub(super) const UNIX_TRANSPORT: &str = "kubevirt.io/migrationTransportUnix";
/// User and group of everything in the pod.
const QEMU: i64 = 107;
const DEFAULT_GRACE: i64 = 30;
/// Time for virt-handler to notice before the launcher, and then the kubelet, acts by itself.
const GRACE_PADDING: i64 = 15;
const LABEL_LENGTH: usize = 63;

/// What the pod is made of beside the machine.
#[derive(Debug, Clone)]
pub(super) struct Surroundings<'a> {
    pub image: &'a str,
    pub pull_policy: &'a str,
    /// How long the launcher waits for QEMU. KubeVirt varies it so that not all give up at once.
    pub qemu_timeout_seconds: u32,
    pub claims: Claims,
}

/// The claims of the machine's namespace that are block devices.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    block: BTreeSet<String>,
}

impl Claims {
    pub(super) fn new(block: BTreeSet<String>) -> Self {
        Self { block }
    }

    fn is_block(&self, name: &str) -> bool {
        self.block.contains(name)
    }
}

pub(super) fn pod(vmi: &VirtualMachineInstance, around: &Surroundings<'_>) -> Pod {
    let name = vmi.name_any();
    let volumes = volumes::of(vmi, &around.claims);
    let grace = vmi
        .spec
        .termination_grace_period_seconds
        .unwrap_or(DEFAULT_GRACE)
        + GRACE_PADDING;
    let compute = Container {
        name: COMPUTE.to_owned(),
        image: Some(around.image.to_owned()),
        image_pull_policy: Some(around.pull_policy.to_owned()),
        command: Some(command(vmi, around, grace)),
        env: Some(environment()),
        ports: Some(ports(vmi)).filter(|p| !p.is_empty()),
        resources: Some(resources::of_compute(&vmi.spec.domain)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: Some(vec!["NET_BIND_SERVICE".to_owned()]),
                drop: Some(vec!["ALL".to_owned()]),
            }),
            run_as_user: Some(QEMU),
            run_as_group: Some(QEMU),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        readiness_probe: vmi
            .spec
            .readiness_probe
            .as_ref()
            .map(|p| probes::of(p, vmi)),
        liveness_probe: vmi.spec.liveness_probe.as_ref().map(|p| probes::of(p, vmi)),
        volume_devices: Some(volumes.devices).filter(|d| !d.is_empty()),
        volume_mounts: Some(volumes.mounts),
        ..Container::default()
    };
    let spec = &vmi.spec;
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("virt-launcher-{name}-")),
            namespace: vmi.namespace(),
            labels: Some(labels(vmi)),
            annotations: Some(annotations(vmi)),
            owner_references: Some(vec![owner_reference(vmi)]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            hostname: Some(hostname(vmi)),
            subdomain: spec.subdomain.clone(),
            security_context: Some(PodSecurityContext {
                fs_group: Some(QEMU),
                run_as_user: Some(QEMU),
                run_as_group: Some(QEMU),
                run_as_non_root: Some(true),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(grace + GRACE_PADDING),
            restart_policy: Some("Never".to_owned()),
            containers: vec![compute],
            node_selector: Some(selector::node_selector(vmi)),
            affinity: selector::affinity(vmi),
            volumes: Some(volumes.of_pod),
            image_pull_secrets: Some(pull_secrets(vmi)).filter(|s| !s.is_empty()),
            dns_config: spec.dns_config.clone(),
            dns_policy: spec.dns_policy.clone(),
            readiness_gates: Some(vec![PodReadinessGate {
                condition_type: UNPAUSED.to_owned(),
            }]),
            enable_service_links: Some(false),
            scheduler_name: spec.scheduler_name.clone(),
            tolerations: Some(spec.tolerations.clone()).filter(|t| !t.is_empty()),
            topology_spread_constraints: Some(spec.topology_spread_constraints.clone())
                .filter(|c| !c.is_empty()),
            priority_class_name: spec.priority_class_name.clone(),
            service_account_name: service_account(vmi),
            automount_service_account_token: Some(service_account(vmi).is_some()),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn command(vmi: &VirtualMachineInstance, around: &Surroundings<'_>, grace: i64) -> Vec<String> {
    let timeout = format!("{}s", around.qemu_timeout_seconds);
    let grace = grace.to_string();
    let (name, uid) = (vmi.name_any(), vmi.uid().unwrap_or_default());
    let namespace = vmi.namespace().unwrap_or_default();
    [
        "/usr/bin/virt-launcher-monitor",
        "--qemu-timeout",
        &timeout,
        "--name",
        &name,
        "--uid",
        &uid,
        "--namespace",
        &namespace,
        "--kubevirt-share-dir",
        "/var/run/kubevirt",
        "--ephemeral-disk-dir",
        "/var/run/kubevirt-ephemeral-disks",
        "--container-disk-dir",
        "/var/run/kubevirt/container-disks",
        "--grace-period-seconds",
        &grace,
        "--hook-sidecars",
        "0",
        "--ovmf-path",
        "/usr/share/OVMF",
        "--disk-memory-limit",
        "2097152000",
        "--hypervisor",
        "kvm",
        "--run-as-nonroot",
        "--image-volume",
        "--allow-emulation",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn environment() -> Vec<EnvVar> {
    let fixed = [
        ("XDG_CACHE_HOME", "/var/run/kubevirt-private"),
        ("XDG_CONFIG_HOME", "/var/run/kubevirt-private"),
        ("XDG_RUNTIME_DIR", "/var/run"),
    ];
    let mut environment: Vec<EnvVar> = fixed
        .into_iter()
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            value_from: None,
        })
        .collect();
    environment.push(EnvVar {
        name: "POD_NAME".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: "metadata.name".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    });
    environment
}

fn ports(vmi: &VirtualMachineInstance) -> Vec<ContainerPort> {
    let interfaces = &vmi.spec.domain.devices.interfaces;
    interfaces
        .iter()
        .flat_map(|interface| &interface.ports)
        .map(|port| ContainerPort {
            name: port.name.clone(),
            container_port: port.port,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            ..ContainerPort::default()
        })
        .collect()
}

fn labels(vmi: &VirtualMachineInstance) -> BTreeMap<String, String> {
    let mut labels = vmi.labels().clone();
    labels.extend(
        [
            ("kubevirt.io", "virt-launcher".to_owned()),
            (CREATED_BY, vmi.uid().unwrap_or_default()),
            ("vm.kubevirt.io/name", hostname(vmi)),
            ("vmi.kubevirt.io/id", id(&vmi.name_any())),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    labels
}

/// A name that fits into a label.
fn id(name: &str) -> String {
    if name.len() <= LABEL_LENGTH {
        return name.to_owned();
    }
    let hash = hex::encode(Sha1::digest(name.as_bytes()));
    format!("{}-{}", &name[..LABEL_LENGTH - 9], &hash[..8])
}

fn hostname(vmi: &VirtualMachineInstance) -> String {
    if let Some(hostname) = vmi.spec.hostname.as_ref().filter(|h| !h.is_empty()) {
        return hostname.clone();
    }
    let name = vmi.name_any();
    let first = name.split('.').next().unwrap_or_default();
    first.chars().take(LABEL_LENGTH).collect()
}

fn annotations(vmi: &VirtualMachineInstance) -> BTreeMap<String, String> {
    let name = vmi.name_any();
    let namespace = vmi.namespace().unwrap_or_default();
    let mut annotations = BTreeMap::from([("kubevirt.io/domain".to_owned(), name.clone())]);
    let own = vmi.annotations().iter().filter(|(key, _)| {
        !key.starts_with("kubectl.kubernetes.io")
            && !key.starts_with("kubevirt.io/storage-observed-api-version")
            && !key.starts_with("kubevirt.io/latest-observed-api-version")
    });
    annotations.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    let mut set = |key: &str, value: String| annotations.insert(key.to_owned(), value);
    set(
        "kubectl.kubernetes.io/default-container",
        COMPUTE.to_owned(),
    );
    set(UNIX_TRANSPORT, "true".to_owned());
    set(
        "descheduler.alpha.kubernetes.io/request-evict-only",
        String::new(),
    );
    if vmi
        .annotations()
        .get("kubevirt.io/skip-backup-hooks")
        .map(String::as_str)
        != Some("true")
    {
        for (when, action) in [("pre", "freeze"), ("post", "unfreeze")] {
            set(
                &format!("{when}.hook.backup.velero.io/command"),
                format!(
                    r#"["/usr/bin/virt-freezer", "--{action}", "--name", "{name}", "--namespace", "{namespace}"]"#
                ),
            );
            set(
                &format!("{when}.hook.backup.velero.io/container"),
                COMPUTE.to_owned(),
            );
        }
        set("pre.hook.backup.velero.io/timeout", "60s".to_owned());
    }
    for (key, value) in network::annotations(vmi, &namespace) {
        set(key, value);
    }
    annotations
}

fn pull_secrets(vmi: &VirtualMachineInstance) -> Vec<LocalObjectReference> {
    let mut secrets: Vec<LocalObjectReference> = Vec::new();
    let disks = vmi.spec.volumes.iter().flat_map(|v| &v.container_disk);
    for name in disks.filter_map(|disk| disk.image_pull_secret.clone()) {
        let secret = LocalObjectReference { name };
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    secrets
}

/// That of a volume that shows the guest a service account.
fn service_account(vmi: &VirtualMachineInstance) -> Option<String> {
    let volumes = &vmi.spec.volumes;
    let account = volumes.iter().find_map(|v| v.other.get("serviceAccount"))?;
    Some(account.get("serviceAccountName")?.as_str()?.to_owned())
}
