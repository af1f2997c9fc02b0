//! DataVolumes that a machine brings along.

use kube::ResourceExt;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::super::context::{Context, Failure};
use super::super::data_volume::{Progress, kind::DataVolume, progress};
use super::super::events::Severity;
use super::super::owner::{is_deleted, owner_reference};
use crate::types::{RunStrategy, VirtualMachine};

pub(super) async fn create(context: &Context, vm: &VirtualMachine) -> Result<(), Failure> {
    if is_deleted(vm) {
        return Ok(());
    }
    let api: Api<DataVolume> = context.api(vm.namespace().as_deref());
    for template in &vm.spec.data_volume_templates {
        let name = template.metadata.name.clone().unwrap_or_default();
        if api.get_opt(&name).await?.is_some() {
            continue;
        }
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.insert(
            "kubevirt.io/created-by".to_owned(),
            vm.uid().unwrap_or_default(),
        );
        let volume = serde_json::from_value(json!({
            "metadata": {
                "name": name, "labels": labels, "annotations": template.metadata.annotations,
                "ownerReferences": [owner_reference(vm)],
            },
            "spec": template.spec,
        }))?;
        match api.create(&PostParams::default(), &volume).await {
            Ok(_) => {
                let message = format!("Created DataVolume {name}");
                context.event(vm, Severity::Normal, "SuccessfulDataVolumeCreate", message);
            }
            Err(error) => {
                let message = format!("Error creating DataVolume {name}: {error}");
                context.event(vm, Severity::Warning, "FailedDataVolumeCreate", message);
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Whether the machine can be started, as far as these are concerned. One that is halted or going is left alone.
pub(super) fn are_filled(vm: &VirtualMachine, volumes: &[DataVolume]) -> bool {
    if is_deleted(vm) || vm.spec.strategy() == RunStrategy::Halted {
        return true;
    }
    vm.spec.data_volume_templates.iter().all(|template| {
        let mut named = volumes
            .iter()
            .filter(|v| v.metadata.name == template.metadata.name);
        named.all(|volume| progress(volume) == Progress::Done)
    })
}
