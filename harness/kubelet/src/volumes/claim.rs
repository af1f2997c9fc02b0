//! Claims: the volume behind one must be bound and lie on this machine.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod,
};
use kube::{Api, ResourceExt};

use super::VolumeError;

pub(super) async fn resolve(
    client: &kube::Client,
    pod: &Pod,
    volume: &str,
    source: &PersistentVolumeClaimVolumeSource,
) -> Result<PathBuf, VolumeError> {
    let namespace = pod.namespace().unwrap_or_default();
    let name = &source.claim_name;
    let unprocessed = |reason: String| {
        VolumeError(format!(
            "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], failed to process volumes=[{volume}]: error processing PVC {namespace}/{name}: {reason}"
        ))
    };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let claim = claims.get(name).await.map_err(|e| {
        unprocessed(format!(
            "failed to fetch PVC from API server: {}",
            api_message(e)
        ))
    })?;
    let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    let Some(volume_name) = claim.spec.and_then(|s| s.volume_name).filter(|_| bound) else {
        return Err(unprocessed("PVC is not bound".to_owned()));
    };
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let pv = volumes.get(&volume_name).await.map_err(|e| {
        unprocessed(format!(
            "failed to fetch PV {volume_name:?} from API server: {}",
            api_message(e)
        ))
    })?;
    let pv_name = pv.name_any();
    let spec = pv.spec.unwrap_or_default();
    let path = spec
        .host_path
        .map(|h| h.path)
        .or(spec.local.map(|l| l.path))
        .map(PathBuf::from)
        .ok_or_else(|| {
            VolumeError::set_up(
                volume,
                format!("persistent volume {pv_name:?} is neither hostPath nor local"),
            )
        })?;
    std::fs::create_dir_all(&path).map_err(|e| VolumeError::set_up(volume, e))?;
    // as the provisioner's helper does
    super::ownership::set_mode(&path, 0o777).map_err(|e| VolumeError::set_up(volume, e))?;
    Ok(path)
}

fn api_message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
