//! The pod's volumes: KubeVirt's own directories, and what the machine's disks are made of.

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, ImageVolumeSource, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume, VolumeDevice, VolumeMount,
};
use serde_json::{Map, Value, json};

use super::Claims;
use crate::types;

const HOST_TO_CONTAINER: &str = "HostToContainer";
/// The directories that every launcher has, by volume.
const DIRECTORIES: [(&str, &str); 5] = [
    ("private", "/var/run/kubevirt-private"),
    ("public", "/var/run/kubevirt"),
    ("ephemeral-disks", "/var/run/kubevirt-ephemeral-disks"),
    ("libvirt-runtime", "/var/run/libvirt"),
    ("sockets", "/var/run/kubevirt/sockets"),
];
const EMPTY: [&str; 6] = [
    "private",
    "public",
    "sockets",
    "virt-bin-share-dir",
    "libvirt-runtime",
    "ephemeral-disks",
];
const HOTPLUG: &str = "hotplug-disks";
const CLAIMS: &str = "/var/run/kubevirt-private/vmi-disks";
const IMAGES: &str = "/var/run/kubevirt-image-volume";
const SECRETS: &str = "/var/run/kubevirt-private/secret";

#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub of_pod: Vec<Volume>,
    pub mounts: Vec<VolumeMount>,
    pub devices: Vec<VolumeDevice>,
}

pub(super) fn of(vmi: &types::VirtualMachineInstance, claims: &Claims) -> Volumes {
    let mut all = Volumes::default();
    all.of_pod.extend(EMPTY.iter().map(|name| empty(name)));
    for (name, path) in DIRECTORIES {
        all.mount(name, path);
    }
    for volume in &vmi.spec.volumes {
        all.configuration(volume);
    }
    for volume in &vmi.spec.volumes {
        all.disk(volume, claims);
    }
    for (index, volume) in vmi.spec.volumes.iter().enumerate() {
        all.image(index, volume);
    }
    if !vmi.spec.domain.devices.disable_hotplug {
        all.of_pod.push(empty(HOTPLUG));
        all.mounts.push(VolumeMount {
            name: HOTPLUG.to_owned(),
            mount_path: "/var/run/kubevirt/hotplug-disks".to_owned(),
            mount_propagation: Some(HOST_TO_CONTAINER.to_owned()),
            ..VolumeMount::default()
        });
    }
    all
}

fn empty(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

impl Volumes {
    fn mount(&mut self, name: &str, path: &str) {
        self.mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        });
    }

    fn mount_read_only(&mut self, name: &str, path: String, sub_path: Option<&str>) {
        self.mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: path,
            read_only: Some(true),
            sub_path: sub_path.map(str::to_owned),
            ..VolumeMount::default()
        });
    }

    /// Volumes that are API objects in the pod as well.
    fn configuration(&mut self, volume: &types::Volume) {
        let source = |key: &str| volume.other.get(key).and_then(Value::as_object);
        let name = &volume.name;
        let found = [
            ("secret", "secret", "secret"),
            ("configMap", "configMap", "config-map"),
            ("downwardAPI", "downwardAPI", "downwardapi"),
        ]
        .into_iter()
        .find_map(|(key, in_pod, directory)| Some((source(key)?, in_pod, directory)));
        let Some((source, in_pod, directory)) = found else {
            return;
        };
        let pod_source = match in_pod {
            "downwardAPI" => json!({"items": source.get("fields")}),
            _ => Value::Object(without_label(source)),
        };
        let volume = json!({"name": name, in_pod: pod_source});
        // a source that the pod cannot have was refused by the admission
        if let Ok(volume) = serde_json::from_value(volume) {
            self.of_pod.push(volume);
            let path = format!("/var/run/kubevirt-private/{directory}/{name}");
            self.mount_read_only(name, path, None);
        }
    }

    fn disk(&mut self, volume: &types::Volume, claims: &Claims) {
        let ephemeral = volume.ephemeral.as_ref();
        let claim = match (&volume.persistent_volume_claim, &volume.data_volume) {
            (Some(claim), _) => Some((claim.claim_name.clone(), claim.read_only)),
            (None, Some(data)) => Some((data.name.clone(), false)),
            (None, None) => ephemeral
                .and_then(|e| e.persistent_volume_claim.as_ref())
                .map(|claim| (claim.claim_name.clone(), claim.read_only)),
        };
        if let Some((claim_name, read_only)) = claim {
            self.claim(&volume.name, claim_name, read_only, claims);
        }
        for source in [&volume.cloud_init_no_cloud, &volume.cloud_init_config_drive]
            .into_iter()
            .flatten()
        {
            let secrets = [
                (&source.secret_ref, "udata", ["userdata", "userData"]),
                (
                    &source.network_data_secret_ref,
                    "ndata",
                    ["networkdata", "networkData"],
                ),
            ];
            for (secret, suffix, keys) in secrets {
                if let Some(secret) = secret {
                    self.cloud_init_secret(&volume.name, secret, suffix, keys);
                }
            }
        }
    }

    fn claim(&mut self, name: &str, claim_name: String, read_only: bool, claims: &Claims) {
        if claims.is_block(&claim_name) {
            self.devices.push(VolumeDevice {
                name: name.to_owned(),
                device_path: format!("/dev/{name}"),
            });
        } else {
            self.mount(name, &format!("{CLAIMS}/{name}"));
        }
        self.of_pod.push(Volume {
            name: name.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name,
                read_only: read_only.then_some(true),
            }),
            ..Volume::default()
        });
    }

    fn cloud_init_secret(
        &mut self,
        volume: &str,
        secret: &LocalObjectReference,
        suffix: &str,
        keys: [&str; 2],
    ) {
        let name = format!("{volume}-{suffix}");
        for key in keys {
            self.mount_read_only(&name, format!("{SECRETS}/{volume}/{key}"), Some(key));
        }
        self.of_pod.push(Volume {
            name,
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.name.clone()),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }

    fn image(&mut self, index: usize, volume: &types::Volume) {
        let Some(disk) = &volume.container_disk else {
            return;
        };
        self.mount_read_only(&volume.name, format!("{IMAGES}/disk_{index}"), None);
        self.of_pod.push(Volume {
            name: volume.name.clone(),
            image: Some(ImageVolumeSource {
                reference: Some(disk.image.clone()),
                pull_policy: disk.image_pull_policy.clone(),
            }),
            ..Volume::default()
        });
    }
}

/// `volumeLabel` is for the guest's eyes only.
fn without_label(source: &Map<String, Value>) -> Map<String, Value> {
    source
        .iter()
        .filter(|(key, _)| *key != "volumeLabel")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
