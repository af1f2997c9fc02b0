//! The order in which objects of one step are applied.

/// Objects that others need to exist come first; everything else keeps the order of the manifests.
///
/// Only what matters is ordered: a namespace before what is in it, a definition before its objects, what a pod needs
/// in order to start (accounts, configuration, volumes, network attachments) before what becomes a pod.
pub(crate) fn rank(api_version: &str, kind: &str) -> u8 {
    match (group(api_version), kind) {
        ("", "Namespace") => 0,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => 1,
        (
            "",
            "ServiceAccount"
            | "Secret"
            | "ConfigMap"
            | "PersistentVolume"
            | "PersistentVolumeClaim",
        )
        | ("rbac.authorization.k8s.io" | "storage.k8s.io" | "scheduling.k8s.io", _) => 2,
        // A pod that starts before its networks exist fails, is tried again with growing pauses, and is late.
        ("nmstate.io", _) => 3,
        ("k8s.cni.cncf.io" | "k8s.ovn.org" | "kubeovn.io", _) => 4,
        ("", "Service") => 5,
        ("" | "apps" | "batch" | "kubevirt.io", _) => 7,
        _ => 6,
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_comes_first() {
        let mut kinds = [
            ("v1", "Pod"),
            ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition"),
            ("v1", "ConfigMap"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("example.org/v1", "Widget"),
            ("v1", "Namespace"),
        ];
        kinds.sort_by_key(|(api_version, kind)| rank(api_version, kind));
        let order: Vec<_> = kinds.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(
            order,
            [
                "Namespace",
                "CustomResourceDefinition",
                "ConfigMap",
                "NetworkAttachmentDefinition",
                "Widget",
                "Pod"
            ]
        );
    }
}
