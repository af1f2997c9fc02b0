//! The namespace `kubevirt`, and the KubeVirt object that is always deployed.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::context::{
    Context, Failure, difference, drive, is_observed, mark_observed, now, precondition,
};
use crate::types::{Condition, KubeVirt, KubeVirtPhase, KubeVirtStatus};

const NAME: &str = "kubevirt";

pub(in crate::controller) async fn run(context: Arc<Context>) {
    if let Err(error) = install(&context).await {
        tracing::warn!(%error, "KubeVirt is not installed");
    }
    let api = Api::<KubeVirt>::all(context.client.clone());
    let controller = Controller::new(api, watcher::Config::default());
    drive(controller, context, reconcile).await;
}

async fn install(context: &Context) -> Result<(), Failure> {
    let namespace = json!({"metadata": {
        "name": context.config.namespace,
        "labels": {"kubevirt.io": "", "pod-security.kubernetes.io/enforce": "privileged"},
    }});
    create::<Namespace>(context, namespace).await?;
    for role in crate::subresources::cluster_roles() {
        if role["kind"] == "ClusterRole" {
            create::<ClusterRole>(context, role).await?;
        } else {
            create::<ClusterRoleBinding>(context, role).await?;
        }
    }
    let mut object = serde_json::to_value(KubeVirt::new(NAME, context.config.kubevirt.clone()))?;
    object["metadata"]["finalizers"] = json!(["foregroundDeleteKubeVirt"]);
    let object: KubeVirt = serde_json::from_value(object)?;
    let api: Api<KubeVirt> = context.api(Some(&context.config.namespace));
    unless_there(api.create(&PostParams::default(), &object).await)
}

/// A cluster-scoped object, unless there is one of its name.
async fn create<K>(context: &Context, object: Value) -> Result<(), Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    let api: Api<K> = Api::all(context.client.clone());
    unless_there(api.create(&PostParams::default(), &object).await)
}

fn unless_there<T>(created: Result<T, kube::Error>) -> Result<(), Failure> {
    match created {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn reconcile(object: Arc<KubeVirt>, context: Arc<Context>) -> Result<Action, Failure> {
    let api: Api<KubeVirt> = context.api(object.namespace().as_deref());
    let Some(object) = api.get_opt(&object.name_any()).await? else {
        return Ok(Action::await_change());
    };
    if object.metadata.deletion_timestamp.is_some() {
        let mut patch = precondition(&object);
        patch["metadata"]["finalizers"] = json!([]);
        let params = PatchParams::default();
        api.patch(&object.name_any(), &params, &Patch::Merge(patch))
            .await?;
        return Ok(Action::await_change());
    }
    if !is_observed(&object) {
        mark_observed(&api, &object).await?;
        return Ok(Action::await_change());
    }
    let before = object.status.clone().unwrap_or_default();
    let after = deployed(&before, &object, &context);
    let status = difference(&before, &after)?;
    if !status.is_empty() {
        let mut patch = precondition(&object);
        patch["status"] = Value::Object(status);
        api.patch_status(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    }
    Ok(Action::await_change())
}

fn deployed(before: &KubeVirtStatus, object: &KubeVirt, context: &Context) -> KubeVirtStatus {
    let config = &context.config;
    let mut status = before.clone();
    if status.phase != Some(KubeVirtPhase::Deployed) {
        let now = now();
        let condition = |type_: &str, holds: bool, reason: &str, message: &str| Condition {
            type_: type_.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            last_probe_time: Some(now.clone()),
            last_transition_time: Some(now.clone()),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
        };
        let ready = "All components are ready.";
        status.conditions = vec![
            condition("Available", true, "AllComponentsReady", ready),
            condition("Progressing", false, "AllComponentsReady", ready),
            condition("Degraded", false, "AllComponentsReady", ready),
            Condition {
                last_transition_time: None,
                ..condition(
                    "Created",
                    true,
                    "AllResourcesCreated",
                    "All resources were created.",
                )
            },
        ];
        status.phase = Some(KubeVirtPhase::Deployed);
    }
    let version = Some(config.version.clone());
    let registry = config
        .launcher_image
        .rsplit_once('/')
        .map(|(r, _)| r.to_owned());
    status.operator_version.clone_from(&version);
    status.target_kubevirt_version.clone_from(&version);
    status.observed_kubevirt_version = version;
    status.target_kubevirt_registry.clone_from(&registry);
    status.observed_kubevirt_registry = registry;
    status.observed_generation = object.metadata.generation;
    status.default_architecture = Some(architecture().to_owned());
    status.outdated_virtual_machine_instance_workloads = Some(0);
    status
}

/// As Go calls this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
