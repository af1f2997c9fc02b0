//! What a machine looked like when it was started, kept as a ControllerRevision.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::super::context::{Context, Failure};
use super::super::owner::owner_reference;
use super::status::Restart;
use crate::types::{VirtualMachine, VirtualMachineInstance, VirtualMachineSpec};

fn prefix(vm: &VirtualMachine) -> String {
    format!("revision-start-vm-{}-", vm.uid().unwrap_or_default())
}

/// Keeps the machine as it is and forgets how it was; the name of what is kept.
pub(super) async fn keep(context: &Context, vm: &VirtualMachine) -> Result<String, Failure> {
    let api: Api<ControllerRevision> = context.api(vm.namespace().as_deref());
    let generation = vm.metadata.generation.unwrap_or_default();
    let prefix = prefix(vm);
    let name = format!("{prefix}{generation}");
    let mut exists = false;
    for revision in api.list(&ListParams::default()).await? {
        let other = revision.name_any();
        if other == name {
            exists = true;
        } else if other.starts_with(&prefix) {
            match api.delete(&other, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    if !exists {
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: vm.namespace(),
                owner_references: Some(vec![owner_reference(vm)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(json!({"spec": vm.spec}))),
            revision: generation,
        };
        api.create(&PostParams::default(), &revision).await?;
    }
    Ok(name)
}

/// How the machine was specified when this instance was started.
pub(super) async fn of(
    context: &Context,
    vmi: &VirtualMachineInstance,
) -> Result<Option<VirtualMachineSpec>, Failure> {
    let status = vmi.status.as_ref();
    let Some(name) = status.and_then(|s| s.virtual_machine_revision_name.as_deref()) else {
        return Ok(None);
    };
    let api: Api<ControllerRevision> = context.api(vmi.namespace().as_deref());
    let found = api.get_opt(name).await?;
    let spec = found.and_then(|revision| revision.data?.0.get("spec").cloned());
    Ok(spec.map(serde_json::from_value).transpose()?)
}

/// Whether a running machine has to be restarted to become what is now specified. What concerns only the choice of a
/// node does not count, nor what can be changed while it runs.
pub(super) fn restart(then: Option<&VirtualMachineSpec>, now: &VirtualMachineSpec) -> Restart {
    let Some(then) = then else {
        return Restart::Unknown;
    };
    let mut then = then.template.spec.clone();
    let now = &now.template.spec;
    then.node_selector.clone_from(&now.node_selector);
    then.affinity.clone_from(&now.affinity);
    then.tolerations.clone_from(&now.tolerations);
    if then == *now {
        Restart::NotRequired
    } else {
        Restart::Required
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Restart, restart};

    #[rstest]
    #[case(json!({}), Restart::NotRequired)]
    #[case(json!({"nodeSelector": {"a": "b"}}), Restart::NotRequired)]
    #[case(json!({"terminationGracePeriodSeconds": 5}), Restart::Required)]
    #[case(json!({"domain": {"memory": {"guest": "1Gi"}}}), Restart::Required)]
    fn changes_that_need_a_restart(#[case] change: Value, #[case] expected: Restart) {
        let spec = |change: &Value| {
            let mut spec = json!({"domain": {"memory": {"guest": "512Mi"}}});
            for (key, value) in change.as_object().unwrap() {
                spec[key] = value.clone();
            }
            serde_json::from_value(json!({"template": {"spec": spec}})).unwrap()
        };
        assert_eq!(restart(Some(&spec(&json!({}))), &spec(&change)), expected);
        assert_eq!(restart(None, &spec(&change)), Restart::Unknown);
    }
}
