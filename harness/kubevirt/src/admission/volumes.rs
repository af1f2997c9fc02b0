//! Whether the volumes of a machine name one source each, and what is in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::causes::{Causes, Path};
use super::config::ClusterConfig;
use super::defaults;
use crate::types::{CloudInitSource, VirtualMachineInstanceSpec, Volume};

/// Larger data belongs into a Secret.
const LONGEST_DATA: usize = 2048;
/// Sources that are kept without being read.
const OTHER_SOURCES: [&str; 9] = [
    "sysprep",
    "hostDisk",
    "configMap",
    "secret",
    "downwardAPI",
    "serviceAccount",
    "downwardMetrics",
    "memoryDump",
    "containerPath",
];

pub(super) fn validate(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    config: &ClusterConfig,
) {
    let field = field.child("volumes");
    let volumes = &spec.volumes;
    for (index, volume) in volumes.iter().enumerate() {
        let path = field.index(index);
        if let Some(other) = volumes[..index]
            .iter()
            .position(|other| other.name == volume.name)
        {
            let other = field.index(other);
            causes.invalid(
                &path.child("name"),
                format!("{path} and {other} must not have the same Name."),
            );
        }
        if volume
            .data_volume
            .as_ref()
            .is_some_and(|source| source.name.is_empty())
        {
            causes.required(&path.child("name"), "DataVolume 'name' must be set");
        }
        if sources(volume) != 1 {
            causes.invalid(
                &path,
                format!("{path} must have exactly one source type set"),
            );
        }
        if let Some(source) = &volume.cloud_init_no_cloud {
            cloud_init(
                causes,
                &path.child("cloudInitNoCloud"),
                "cloudInitNoCloud",
                source,
            );
        } else if let Some(source) = &volume.cloud_init_config_drive {
            cloud_init(
                causes,
                &path.child("cloudInitConfigDrive"),
                "cloudInitConfigDrive",
                source,
            );
        }
        if volume.other.contains_key("downwardMetrics") && !config.gate("DownwardMetrics") {
            causes.invalid(
                &path,
                "downwardMetrics disks are not allowed: DownwardMetrics feature gate is not enabled.",
            );
        }
        if let Some(disk) = volume.other.get("hostDisk") {
            host_disk(causes, &path, disk, config);
        }
        for (source, name) in [
            ("configMap", "name"),
            ("secret", "secretName"),
            ("serviceAccount", "serviceAccountName"),
        ] {
            let given = volume.other.get(source);
            if given.is_some_and(|given| given[name].as_str().unwrap_or_default().is_empty()) {
                let name = path.child(source).child(name);
                causes.invalid(&name, format!("{name} is a required field"));
            }
        }
    }
    for (source, what) in [
        ("serviceAccount", "serviceAccount volume"),
        ("downwardMetrics", "downwardMetric volume"),
        ("memoryDump", "memory dump volume"),
    ] {
        if volumes
            .iter()
            .filter(|volume| volume.other.contains_key(source))
            .count()
            > 1
        {
            causes.invalid(&field, format!("{field} must have max one {what} set"));
        }
    }
    container_disks(causes, &field, volumes);
}

fn sources(volume: &Volume) -> usize {
    let known = [
        volume.container_disk.is_some(),
        volume.cloud_init_no_cloud.is_some(),
        volume.cloud_init_config_drive.is_some(),
        volume.empty_disk.is_some(),
        volume.persistent_volume_claim.is_some(),
        volume.data_volume.is_some(),
        volume.ephemeral.is_some(),
    ];
    let others = OTHER_SOURCES
        .iter()
        .filter(|name| volume.other.contains_key(**name));
    known.iter().filter(|there| **there).count() + others.count()
}

fn cloud_init(causes: &mut Causes, path: &Path, kind: &str, source: &CloudInitSource) {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let user = Data {
        secret: source
            .secret_ref
            .as_ref()
            .is_some_and(|secret| !secret.name.is_empty()),
        base64: given(&source.user_data_base64),
        plain: given(&source.user_data),
    };
    let network = Data {
        secret: source
            .network_data_secret_ref
            .as_ref()
            .is_some_and(|secret| !secret.name.is_empty()),
        base64: given(&source.network_data_base64),
        plain: given(&source.network_data),
    };
    let sources = user.check(
        causes,
        path,
        kind,
        "userData",
        "userdatasource",
        "UserDataSecretRef",
    ) + network.check(
        causes,
        path,
        kind,
        "networkData",
        "networkdata source",
        "NetworkDataSecretRef",
    );
    if sources == 0 {
        causes.invalid(
            path,
            format!("{path} must have at least one userdatasource or one networkdatasource set."),
        );
    }
}

/// The three ways to give a document.
struct Data {
    secret: bool,
    base64: Option<String>,
    plain: Option<String>,
}

impl Data {
    /// How many of the ways are used.
    fn check(
        &self,
        causes: &mut Causes,
        path: &Path,
        kind: &str,
        name: &str,
        source: &str,
        secret: &str,
    ) -> usize {
        let mut length = 0;
        if let Some(base64) = &self.base64 {
            let field = path.child(&format!("{name}Base64"));
            match STANDARD.decode(base64) {
                Ok(data) => length = data.len(),
                Err(_) => causes.invalid(
                    &field,
                    format!("{field}.{kind}.{name}Base64 is not a valid base64 value."),
                ),
            }
        }
        length = self.plain.as_ref().map_or(length, String::len);
        let count = [self.secret, self.base64.is_some(), self.plain.is_some()]
            .iter()
            .filter(|there| **there)
            .count();
        if count > 1 {
            causes.invalid(path, format!("{path} must have only one {source} set."));
        }
        if length > LONGEST_DATA {
            let what = name.to_lowercase();
            causes.invalid(
                path,
                format!(
                    "{path} {what} exceeds {LONGEST_DATA} byte limit. Should use {secret} for larger data."
                ),
            );
        }
        count
    }
}

fn host_disk(causes: &mut Causes, path: &Path, disk: &Value, config: &ClusterConfig) {
    if !config.gate("HostDisk") {
        causes.invalid(path, "HostDisk feature gate is not enabled");
    }
    let field = path.child("hostDisk");
    if disk["path"].as_str().unwrap_or_default().is_empty() {
        let name = field.child("path");
        causes.not_found(&name, format!("{name} is required for hostDisk volume"));
    }
    let kind = disk["type"].as_str().unwrap_or_default();
    let name = field.child("type");
    if !["Disk", "DiskOrCreate"].contains(&kind) {
        causes.invalid(
            &name,
            format!("{name} has invalid value '{kind}', allowed are 'Disk' or 'DiskOrCreate'"),
        );
    }
    if kind == "Disk" && disk.get("capacity").is_some() {
        let capacity = field.child("capacity");
        causes.invalid(
            &capacity,
            format!("{capacity} is allowed to pass only with {name} equal to 'DiskOrCreate'"),
        );
    }
}

fn container_disks(causes: &mut Causes, field: &Path, volumes: &[Volume]) {
    for (index, volume) in volumes.iter().enumerate() {
        let path = volume
            .container_disk
            .as_ref()
            .and_then(|disk| disk.path.as_deref());
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            continue;
        };
        let field = field.index(index).child("containerDisk");
        if path == "/" {
            causes.invalid(&field, format!("{field} must not point to root"));
        } else if !is_clean(path) {
            causes.invalid(
                &field,
                format!("{field} must be an absolute path to a file without relative components"),
            );
        }
    }
}

fn is_clean(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.strip_prefix('/').is_some_and(|rest| {
        rest.split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
    })
}

/// Whether every volume of an instance is used.
pub(super) fn used(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let devices = &spec.domain.devices;
    for (index, volume) in spec.volumes.iter().enumerate() {
        let used = devices.disks.iter().any(|disk| disk.name == volume.name)
            || defaults::filesystems(devices).any(|name| name == volume.name)
            || volume.other.contains_key("memoryDump");
        if !used {
            let name = field.child("domain.volumes").index(index).child("name");
            causes.invalid(&name, format!("{name} '{}' not found.", volume.name));
        }
    }
}
