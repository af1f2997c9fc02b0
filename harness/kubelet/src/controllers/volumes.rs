//! Claims of the class `standard`: directories of the lab, made when the first pod that uses one is placed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::common::{Context, Failure, drive, is_deleted};
use crate::events::{Recorder, Severity};

pub(super) const DEFAULT_CLASS: &str = "standard";
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "rancher.io/local-path";

/// The parameter of the class that says where its volumes lie.
const PATH_PARAMETER: &str = "path";

pub(super) async fn run(client: Client, recorder: Recorder, root: PathBuf) {
    if let Err(error) = ensure_class(&client, &root).await {
        tracing::warn!(%error, "storage class {DEFAULT_CLASS} not made");
    }
    let controller = Controller::new(
        Api::<PersistentVolumeClaim>::all(client.clone()),
        watcher::Config::default(),
    )
    .watches(
        Api::<PersistentVolume>::all(client.clone()),
        watcher::Config::default(),
        |volume: PersistentVolume| {
            let claim = volume.spec.and_then(|s| s.claim_ref)?;
            Some(ObjectRef::new(&claim.name?).within(&claim.namespace?))
        },
    );
    let context = Context::new(client, recorder, "persistentvolume-controller");
    let collector = collect(Arc::clone(&context));
    tokio::join!(drive(controller, context, reconcile), collector);
}

async fn ensure_class(client: &Client, root: &Path) -> Result<(), kube::Error> {
    let api: Api<StorageClass> = Api::all(client.clone());
    let class: StorageClass = serde_json::from_value(json!({
        "metadata": {
            "name": DEFAULT_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "parameters": {PATH_PARAMETER: root},
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }))
    .map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &class).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

async fn reconcile(
    claim: Arc<PersistentVolumeClaim>,
    context: Arc<Context>,
) -> Result<Action, Failure> {
    let Some(spec) = claim.spec.clone().filter(|_| !is_deleted(&*claim)) else {
        return Ok(Action::await_change());
    };
    let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    if bound {
        return Ok(Action::await_change());
    }
    let client = &context.client;
    if spec.storage_class_name.is_none() {
        assign_default_class(client, &claim).await?;
    }
    if let Some(volume) = find_volume(client, &claim).await? {
        bind(client, &claim, &volume).await?;
        return Ok(Action::await_change());
    }
    let class_name = spec
        .storage_class_name
        .clone()
        .unwrap_or_else(|| DEFAULT_CLASS.to_owned());
    if class_name.is_empty() {
        return pending(
            &context,
            &claim,
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
        )
        .await;
    }
    let class = Api::<StorageClass>::all(client.clone())
        .get_opt(&class_name)
        .await?;
    let Some(class) = class else {
        let text = format!("storageclass.storage.k8s.io {class_name:?} not found");
        context.event(&*claim, Severity::Warning, "ProvisioningFailed", text);
        return pending_quietly(&context, &claim).await;
    };
    let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    let node = claim.annotations().get(SELECTED_NODE).cloned();
    if waits && node.is_none() {
        return pending(
            &context,
            &claim,
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        )
        .await;
    }
    if class.provisioner != PROVISIONER {
        let text = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
            class.provisioner
        );
        return pending(&context, &claim, "ExternalProvisioning", &text).await;
    }
    let volume = provision(client, &claim, &class, node.as_deref()).await?;
    context.event(
        &*claim,
        Severity::Normal,
        "ProvisioningSucceeded",
        format!("Successfully provisioned volume {}", volume.name_any()),
    );
    bind(client, &claim, &volume).await?;
    Ok(Action::await_change())
}

/// Claims that named no class get the default one. An API server whose admission does that leaves nothing to do;
/// one that does not let a claim change keeps the claim without a class, and it is served all the same.
async fn assign_default_class(
    client: &Client,
    claim: &PersistentVolumeClaim,
) -> Result<(), Failure> {
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
    let patch = json!({"spec": {"storageClassName": DEFAULT_CLASS}});
    match api
        .patch(
            &claim.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if matches!(error.code, 403 | 422) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A volume that names this claim, or a free one that suits it.
async fn find_volume(
    client: &Client,
    claim: &PersistentVolumeClaim,
) -> Result<Option<PersistentVolume>, Failure> {
    let spec = claim.spec.clone().unwrap_or_default();
    let volumes = Api::<PersistentVolume>::all(client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let found = volumes.into_iter().find(|volume| {
        let Some(offer) = &volume.spec else {
            return false;
        };
        if let Some(claimed) = &offer.claim_ref {
            claimed.name == claim.metadata.name
                && claimed.namespace == claim.metadata.namespace
                && (claimed.uid.is_none() || claimed.uid == claim.metadata.uid)
        } else {
            let named = spec.volume_name.as_ref().filter(|n| !n.is_empty());
            let class = |name: &Option<String>| name.clone().unwrap_or_default();
            let modes = spec
                .access_modes
                .iter()
                .flatten()
                .all(|m| offer.access_modes.iter().flatten().any(|o| o == m));
            named.is_none_or(|n| *n == volume.name_any())
                && class(&offer.storage_class_name) == class(&spec.storage_class_name)
                && modes
                && !is_deleted(volume)
        }
    });
    Ok(found)
}

async fn provision(
    client: &Client,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: Option<&str>,
) -> Result<PersistentVolume, Failure> {
    let spec = claim.spec.clone().unwrap_or_default();
    let name = format!("pvc-{}", claim.uid().unwrap_or_default());
    let namespace = claim.namespace().unwrap_or_default();
    let root = class
        .parameters
        .as_ref()
        .and_then(|p| p.get(PATH_PARAMETER))
        .ok_or_else(|| {
            Failure::Invalid(format!(
                "storage class {:?} has no parameter {PATH_PARAMETER:?}",
                class.name_any()
            ))
        })?;
    let path = format!("{root}/{name}_{namespace}_{}", claim.name_any());
    let size = spec
        .resources
        .and_then(|r| r.requests)
        .and_then(|r| r.get("storage").cloned());
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": spec.access_modes,
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": class.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned()),
            "storageClassName": class.name_any(),
            "hostPath": {"path": path, "type": "DirectoryOrCreate"},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name_any(),
                "namespace": namespace, "uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version,
            },
            "nodeAffinity": node.map(|node| json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}})),
        },
    }))
    .map_err(|e| Failure::Invalid(e.to_string()))?;
    let api: Api<PersistentVolume> = Api::all(client.clone());
    match api.create(&PostParams::default(), &volume).await {
        Ok(volume) => Ok(volume),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(api.get(&name).await?),
        Err(error) => Err(error.into()),
    }
}

async fn bind(
    client: &Client,
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Result<(), Failure> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let name = volume.name_any();
    let namespace = claim.namespace().unwrap_or_default();
    let patch = json!({"spec": {"claimRef": {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name_any(),
        "namespace": namespace, "uid": claim.metadata.uid,
    }}});
    volumes
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    let patch = json!({"status": {"phase": "Bound"}});
    volumes
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;

    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({
        "metadata": {"annotations": {
            "pv.kubernetes.io/bind-completed": "yes",
            "pv.kubernetes.io/bound-by-controller": "yes",
            "volume.kubernetes.io/storage-provisioner": PROVISIONER,
        }},
        "spec": {"volumeName": name},
    });
    claims
        .patch(
            &claim.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    let spec = volume.spec.clone().unwrap_or_default();
    let patch = json!({"status": {
        "phase": "Bound", "accessModes": spec.access_modes, "capacity": spec.capacity,
    }});
    claims
        .patch_status(
            &claim.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    Ok(())
}

async fn pending(
    context: &Context,
    claim: &PersistentVolumeClaim,
    reason: &'static str,
    text: &str,
) -> Result<Action, Failure> {
    context.event(claim, Severity::Normal, reason, text);
    pending_quietly(context, claim).await
}

async fn pending_quietly(
    context: &Context,
    claim: &PersistentVolumeClaim,
) -> Result<Action, Failure> {
    if claim
        .status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .is_none()
    {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(
            context.client.clone(),
            &claim.namespace().unwrap_or_default(),
        );
        let patch = json!({"status": {"phase": "Pending"}});
        api.patch_status(
            &claim.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    }
    Ok(Action::await_change())
}

/// Removes volumes whose claim is gone, as their reclaim policy says.
async fn collect(context: Arc<Context>) {
    let client = context.client.clone();
    let controller = Controller::new(
        Api::<PersistentVolume>::all(client.clone()),
        watcher::Config::default(),
    )
    .watches(
        Api::<PersistentVolumeClaim>::all(client),
        watcher::Config::default(),
        |claim: PersistentVolumeClaim| {
            let volume = claim
                .spec
                .and_then(|s| s.volume_name)
                .filter(|n| !n.is_empty());
            volume.map(|name| ObjectRef::new(&name))
        },
    );
    drive(controller, context, release).await;
}

async fn release(volume: Arc<PersistentVolume>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(spec) = volume.spec.clone().filter(|_| !is_deleted(&*volume)) else {
        return Ok(Action::await_change());
    };
    let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
    let name = volume.name_any();
    let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref());
    let Some(claim) = spec.claim_ref else {
        if phase != Some("Available") {
            let patch = json!({"status": {"phase": "Available"}});
            volumes
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        return Ok(Action::await_change());
    };
    let (Some(claim_name), Some(namespace), Some(uid)) = (claim.name, claim.namespace, claim.uid)
    else {
        return Ok(Action::await_change());
    };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &namespace);
    let alive = claims
        .get_opt(&claim_name)
        .await?
        .is_some_and(|c| c.uid() == Some(uid));
    if alive {
        return Ok(Action::await_change());
    }
    let ours = volume
        .annotations()
        .get("pv.kubernetes.io/provisioned-by")
        .is_some_and(|p| p == PROVISIONER);
    if ours && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete") {
        if let Some(path) = spec.host_path {
            match std::fs::remove_dir_all(&path.path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, path = path.path, "volume not removed"),
            }
        }
        match volumes.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(error)) if error.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    } else if phase != Some("Released") {
        let patch = json!({"status": {"phase": "Released"}});
        volumes
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
    }
    Ok(Action::await_change())
}
