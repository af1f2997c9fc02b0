//! Names of interfaces inside the pod.

use sha2::{Digest, Sha256};

/// The pod's interface on its default network.
pub(super) const PRIMARY: &str = "eth0";
/// What the interfaces of further networks begin with.
const HASHED: &str = "pod";
/// As many characters as leave room for a prefix of three, or `-nic`.
const LENGTH: usize = 11;

/// The pod's interface on a further network.
pub(super) fn hashed(network: &str) -> String {
    let mut name = HASHED.to_owned();
    name.push_str(&hex::encode(Sha256::digest(network))[..LENGTH]);
    name
}

/// The name that Multus gives when nobody asks for another.
pub(super) fn ordinal(number: usize) -> String {
    format!("net{number}")
}

pub(super) fn is_ordinal(interface: &str) -> bool {
    let digits = interface.strip_prefix("net").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn bridge(pod_interface: &str) -> String {
    format!("k6t-{}", own(pod_interface))
}

/// The pod's interface once something else has its name.
pub(super) fn nic(pod_interface: &str) -> String {
    format!("{}-nic", own(pod_interface))
}

pub(super) fn tap(pod_interface: &str, secondary: bool) -> String {
    if secondary {
        // Whatever the prefix is, it is three characters long.
        format!(
            "tap{}",
            pod_interface.get(HASHED.len()..).unwrap_or_default()
        )
    } else {
        "tap0".to_owned()
    }
}

fn own(pod_interface: &str) -> &str {
    pod_interface.strip_prefix(HASHED).unwrap_or(pod_interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record has a network called `l2` or the like for this one; its name is in the manifests.
    #[test]
    fn are_those_of_the_record() {
        assert_eq!(bridge("pod280fca44283"), "k6t-280fca44283");
        assert_eq!(nic("pod280fca44283"), "280fca44283-nic");
        assert_eq!(tap("pod280fca44283", true), "tap280fca44283");
        assert_eq!(bridge("eth0"), "k6t-eth0");
        assert_eq!(nic("eth0"), "eth0-nic");
        assert_eq!(tap("eth0", false), "tap0");
        assert_eq!(nic("ovn-udn1"), "ovn-udn1-nic");
        assert_eq!(tap("ovn-udn1", false), "tap0");
        assert_eq!(tap("net1", true), "tap1");
    }

    #[test]
    fn numbered_ones_are_known() {
        assert!(is_ordinal("net1") && is_ordinal("net12"));
        assert!(!is_ordinal("net") && !is_ordinal("eth0") && !is_ordinal("net1a"));
    }
}
