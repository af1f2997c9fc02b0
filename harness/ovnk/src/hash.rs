//! Names that must fit into OVN's symbol syntax are hashes of readable ids.

/// `a` and the 64-bit FNV-1a hash of the id, in decimal: how OVN-Kubernetes names address sets
/// and port groups.
pub fn hashed_name(id: &str) -> String {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("a{hash}")
}

#[cfg(test)]
mod tests {
    use super::hashed_name;

    #[test]
    fn as_recorded() {
        let id = "default-network-controller:Namespace:kube-system:v4";
        assert_eq!(hashed_name(id), "a8746611765617041202");
        let id = "default-network-controller:Cluster:clusterPortGroup";
        assert_eq!(hashed_name(id), "a13298398610555951118");
    }
}
