//! The pod that fills a claim.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::owner::owner_reference;
use super::kind::DataVolume;

/// Everything that is filled belongs to QEMU's user.
const QEMU: u32 = 107;

/// What the importer does, or why there is nothing it could do.
pub(super) fn pod(
    volume: &DataVolume,
    image: &str,
) -> Result<Result<Pod, serde_json::Error>, String> {
    let source = volume.spec.source.clone().unwrap_or_default();
    let mut volumes = vec![json!({
        "name": "data", "persistentVolumeClaim": {"claimName": volume.name_any()},
    })];
    let disk = "/data/disk.img";
    let fill = if source.blank.is_some() {
        format!("truncate -s \"$SIZE\" {disk}")
    } else if let Some(registry) = &source.registry {
        let url = registry.url.as_deref().unwrap_or_default();
        let Some(reference) = url.strip_prefix("docker://") else {
            return Err(format!(
                "the registry URL {url:?} is not of the form docker://IMAGE"
            ));
        };
        volumes.push(json!({"name": "source", "image": {"reference": reference}}));
        format!(
            "set -- /source/disk/*; test -f \"$1\" || {{ echo 'the image has no disk in /disk' >&2; exit 1; }}; \
             qemu-img convert -O raw \"$1\" {disk}"
        )
    } else if let Some(claim) = &source.pvc {
        if !claim.namespace.is_empty()
            && Some(&claim.namespace) != volume.metadata.namespace.as_ref()
        {
            return Err("claims of other namespaces cannot be cloned here".to_owned());
        }
        volumes.push(json!({
            "name": "source", "persistentVolumeClaim": {"claimName": claim.name, "readOnly": true},
        }));
        format!("cp --sparse=always /source/disk.img {disk}")
    } else {
        let other: Vec<_> = source.other.keys().map(String::as_str).collect();
        return Err(format!(
            "a source of the kind {:?} is not imported here: use registry, blank or pvc",
            other.join(", ")
        ));
    };
    let mounts: Vec<Value> = volumes
        .iter()
        .map(|v| json!({"name": v["name"], "mountPath": format!("/{}", v["name"].as_str().unwrap_or_default())}))
        .collect();
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": name(volume), "namespace": volume.metadata.namespace,
            "labels": {"app": "containerized-data-importer", "cdi.kubevirt.io": "importer"},
            "ownerReferences": [owner_reference(volume)],
        },
        "spec": {
            "restartPolicy": "OnFailure", "automountServiceAccountToken": false,
            "securityContext": {"fsGroup": QEMU},
            "containers": [{
                "name": "importer", "image": image, "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", format!("set -e; {fill}; chown {QEMU}:{QEMU} {disk}")],
                "env": [{"name": "SIZE", "value": size(volume).unwrap_or_default()}],
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {"runAsUser": 0}, "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })))
}

pub(super) fn name(volume: &DataVolume) -> String {
    format!("importer-{}", volume.name_any())
}

/// The claim's size in bytes.
fn size(volume: &DataVolume) -> Option<String> {
    let claim = volume.spec.pvc.as_ref().or(volume.spec.storage.as_ref())?;
    let size = claim.pointer("/resources/requests/storage")?;
    let size: crate::types::Quantity = serde_json::from_value(size.clone()).ok()?;
    Some(size.whole()?.to_string())
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // literals read best by value
mod tests {
    use serde_json::{Value, json};

    use super::pod;

    fn importer(source: Value) -> Result<Value, String> {
        let volume = json!({
            "metadata": {"name": "dv", "namespace": "ns", "uid": "u"},
            "spec": {"source": source, "storage": {"resources": {"requests": {"storage": "1Gi"}}}},
        });
        pod(&serde_json::from_value(volume).unwrap(), "launcher").map(|pod| json!(pod.unwrap()))
    }

    #[test]
    fn every_source_has_its_importer() {
        let blank = importer(json!({"blank": {}})).unwrap();
        assert_eq!(
            blank["spec"]["containers"][0]["env"][0]["value"],
            "1073741824"
        );
        let registry =
            importer(json!({"registry": {"url": "docker://quay.io/disks/x:1"}})).unwrap();
        assert_eq!(
            registry["spec"]["volumes"][1]["image"]["reference"],
            "quay.io/disks/x:1"
        );
        let clone = importer(json!({"pvc": {"namespace": "ns", "name": "golden"}})).unwrap();
        assert_eq!(
            clone["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"],
            "golden"
        );
    }

    #[test]
    fn what_cannot_be_imported_says_so() {
        let refusal = |source| importer(source).unwrap_err();
        assert!(refusal(json!({"http": {"url": "http://x"}})).contains("\"http\" is not imported"));
        assert!(refusal(json!({"registry": {"url": "quay.io/x"}})).contains("docker://IMAGE"));
        assert!(
            refusal(json!({"pvc": {"namespace": "other", "name": "x"}}))
                .contains("other namespaces")
        );
    }
}
