//! Whether the DataVolumes of a VirtualMachine are complete and used.

use serde_json::Value;

use super::causes::{Causes, Path};
use crate::types::{DataVolumeTemplate, VirtualMachine, VirtualMachineSpec};

pub(super) fn validate(causes: &mut Causes, field: &Path, spec: &VirtualMachineSpec) {
    for (index, template) in spec.data_volume_templates.iter().enumerate() {
        let path = field.child("dataVolumeTemplate").index(index);
        if !complete(causes, &path, template) {
            continue;
        }
        let name = template.metadata.name.as_deref();
        let used = spec.template.spec.volumes.iter().any(|volume| {
            let claim = volume.persistent_volume_claim.as_ref();
            let source = volume.data_volume.as_ref();
            claim.map(|claim| claim.claim_name.as_str()) == name
                || source.map(|source| source.name.as_str()) == name
        });
        if !used {
            causes.required(
                &path,
                format!(
                    "DataVolumeTemplate entry {path} must be referenced in the VMI template's 'volumes' list"
                ),
            );
        }
    }
}

/// Tells the first thing that is missing.
fn complete(causes: &mut Causes, path: &Path, template: &DataVolumeTemplate) -> bool {
    if template
        .metadata
        .name
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        let name = path.child("name");
        causes.required(
            &name,
            format!("'name' field must not be empty for DataVolumeTemplate entry {name}."),
        );
        return false;
    }
    let part = |name: &str| template.spec.get(name).filter(|part| !part.is_null());
    let (claim, storage) = (part("pvc"), part("storage"));
    let target = match (claim, storage) {
        (None, None) => {
            causes.invalid(
                &path.child("PVC.Storage"),
                "Missing Data volume PVC or Storage",
            );
            return false;
        }
        (Some(_), Some(_)) => {
            causes.invalid(
                &path.child("PVC.Storage"),
                "Duplicate storage definition, both target storage and target pvc defined",
            );
            return false;
        }
        (Some(target), None) | (None, Some(target)) => target,
    };
    let populated = target.get("dataSource").is_some() || target.get("dataSourceRef").is_some();
    let source = part("source");
    let sourced = source.is_some() || part("sourceRef").is_some();
    let problem = match (populated, sourced, source.map(sources)) {
        (true, true, _) => Some((
            "source",
            "External population is incompatible with Source and SourceRef",
        )),
        (false, false, _) => Some((
            "source.sourceRef",
            "Data volume should have either Source, SourceRef, or be externally populated",
        )),
        (_, _, Some(0)) => Some(("source", "Missing dataVolume valid source")),
        (_, _, Some(2..)) => Some(("source", "Multiple dataVolume sources")),
        _ => None,
    };
    if let Some((name, message)) = problem {
        causes.invalid(&path.child(name), message);
    }
    problem.is_none()
}

fn sources(source: &Value) -> usize {
    source.as_object().map_or(0, |sources| {
        sources.values().filter(|source| !source.is_null()).count()
    })
}

pub(super) fn namespaces(causes: &mut Causes, machine: &VirtualMachine) {
    let namespace = machine.metadata.namespace.as_deref().unwrap_or_default();
    for (index, template) in machine.spec.data_volume_templates.iter().enumerate() {
        let other = template.metadata.namespace.as_deref().unwrap_or_default();
        if !other.is_empty() && other != namespace {
            causes.invalid(
                &Path::new("spec.dataVolumeTemplates").index(index),
                format!(
                    "Embedded DataVolume namespace {other} differs from VM namespace {namespace}"
                ),
            );
        }
    }
}
