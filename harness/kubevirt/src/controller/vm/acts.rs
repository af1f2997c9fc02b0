//! What the controller does to instances, and to the machine itself.

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use super::super::context::{Context, Failure, precondition};
use super::super::events::Severity;
use super::{Expected, Outcome, instance, revision};
use crate::types::{
    StateChangeAction, StateChangeRequest, VirtualMachine, VirtualMachineInstance,
    VirtualMachineSpec,
};

pub(super) async fn start(context: &Context, vm: &VirtualMachine) -> Result<Outcome, Failure> {
    let revision = revision::keep(context, vm).await?;
    let vmi = instance::of(vm, revision);
    let api: Api<VirtualMachineInstance> = context.api(vm.namespace().as_deref());
    match api.create(&PostParams::default(), &vmi).await {
        Ok(vmi) => {
            let message = format!(
                "Started the virtual machine by creating the new virtual machine instance {}",
                vmi.name_any()
            );
            context.event(vm, Severity::Normal, "SuccessfulCreate", message);
            Ok(Outcome {
                expected: Expected::Start,
                ..Outcome::quiet()
            })
        }
        Err(kube::Error::Api(status)) => {
            let text = &status.message;
            let message = format!("Error creating virtual machine instance: {text}");
            context.event(vm, Severity::Warning, "FailedCreate", message);
            let message = format!("Failure while starting VMI: {text}");
            Ok(Outcome::failed("FailedCreate", message))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn stop(
    context: &Context,
    vm: &VirtualMachine,
    vmi: &VirtualMachineInstance,
) -> Result<Outcome, Failure> {
    let api: Api<VirtualMachineInstance> = context.api(vmi.namespace().as_deref());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: vmi.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&vmi.name_any(), &params).await {
        Ok(_) => {
            let message = format!(
                "Stopped the virtual machine by deleting the virtual machine instance {}",
                vmi.uid().unwrap_or_default()
            );
            context.event(vm, Severity::Normal, "SuccessfulDelete", message);
            Ok(Outcome {
                expected: Expected::Stop,
                ..Outcome::quiet()
            })
        }
        Err(kube::Error::Api(status)) => {
            let text = &status.message;
            let message = format!(
                "Error deleting virtual machine instance {}: {text}",
                vmi.name_any()
            );
            context.event(vm, Severity::Warning, "FailedDelete", message);
            let message = format!("Failure attempting to delete VMI: {text}");
            Ok(Outcome::failed("FailedDelete", message))
        }
        Err(error) => Err(error.into()),
    }
}

/// An instance that failed is followed by another.
pub(super) async fn request_start(
    api: &Api<VirtualMachine>,
    vm: &VirtualMachine,
) -> Result<VirtualMachine, Failure> {
    let status = vm.status.clone().unwrap_or_default();
    let mut requests = status.state_change_requests;
    requests.push(StateChangeRequest {
        action: StateChangeAction::Start,
        data: std::collections::BTreeMap::new(),
        uid: None,
    });
    let mut patch = precondition(vm);
    patch["status"] = json!({"stateChangeRequests": requests});
    let params = PatchParams::default();
    Ok(api
        .patch_status(&vm.name_any(), &params, &Patch::Merge(patch))
        .await?)
}

pub(super) async fn run_always(
    api: &Api<VirtualMachine>,
    vm: &mut VirtualMachine,
) -> Result<(), Failure> {
    let mut patch = precondition(vm);
    patch["spec"] = match vm.spec {
        VirtualMachineSpec {
            run_strategy: Some(_),
            ..
        } => json!({"runStrategy": "Always"}),
        _ => json!({"running": true}),
    };
    *vm = api
        .patch(
            &vm.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    Ok(())
}
