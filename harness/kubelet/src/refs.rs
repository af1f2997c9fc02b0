//! Naming pods the way the kubelet does.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::ResourceExt;

/// `name_namespace(uid)`, as in back-off messages.
pub(crate) fn long_name(pod: &Pod) -> String {
    format!(
        "{}_{}({})",
        pod.name_any(),
        pod.namespace().unwrap_or_default(),
        pod.uid().unwrap_or_default()
    )
}

/// A reference for events about the pod.
pub(crate) fn pod_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// Which list of the pod's spec a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
}

/// A reference for events about one container.
pub(crate) fn container_ref(pod: &Pod, kind: Kind, container: &str) -> ObjectReference {
    let list = match kind {
        Kind::Init | Kind::Sidecar => "initContainers",
        Kind::Main => "containers",
    };
    ObjectReference {
        field_path: Some(format!("spec.{list}{{{container}}}")),
        ..pod_ref(pod)
    }
}

/// 64 hexadecimal digits, as container runtimes name things.
pub(crate) fn new_id() -> String {
    use std::fmt::Write;

    rand::random::<[u8; 32]>()
        .iter()
        .fold(String::with_capacity(64), |mut id, byte| {
            // writing to a String cannot fail
            let _ = write!(id, "{byte:02x}");
            id
        })
}
