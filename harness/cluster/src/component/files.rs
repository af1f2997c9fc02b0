//! The files of `manifests/platform` that components name.

/// The text of a file, by its path there.
pub fn file(path: &str) -> Option<&'static str> {
    macro_rules! files {
        ($($path:literal),* $(,)?) => {
            match path {
                $($path => Some(include_str!(concat!("../../../../manifests/platform/", $path))),)*
                _ => None,
            }
        };
    }
    files!(
        "bridge-network/rbac.yaml",
        "bridge-network/install.sh",
        "bridge-network/check.sh",
        "kubevirt/kubevirt.yaml",
        "nmstate/nmstate.yaml",
        "nmstate/node.sh",
        "nmstate/node-check.sh",
        "ovn-kubernetes/node.sh",
        "ovn-kubernetes/node-check.sh",
        "ovn-kubernetes/values.yaml",
    )
}
