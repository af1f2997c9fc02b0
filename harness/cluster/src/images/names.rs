//! Names of images as containerd keeps them.

/// With registry and tag, as `ctr` lists it: `busybox` is `docker.io/library/busybox:latest`.
pub fn whole(reference: &str) -> String {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let first = name.split('/').next().unwrap_or_default();
    // A registry has a dot or a port, or is this machine.
    let has_registry = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let mut whole = if has_registry {
        name.to_owned()
    } else if name.contains('/') {
        format!("docker.io/{name}")
    } else {
        format!("docker.io/library/{name}")
    };
    let last = whole.rsplit('/').next().unwrap_or_default();
    match digest {
        Some(digest) => {
            whole.push('@');
            whole.push_str(digest);
        }
        None if !last.contains(':') => whole.push_str(":latest"),
        None => {}
    }
    whole
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("busybox", "docker.io/library/busybox:latest")]
    #[case("busybox:1.37", "docker.io/library/busybox:1.37")]
    #[case("kindest/node:v1", "docker.io/kindest/node:v1")]
    #[case("localhost/a", "localhost/a:latest")]
    #[case("registry:5000/a", "registry:5000/a:latest")]
    #[case(
        "registry.k8s.io/e2e-test-images/agnhost:2.53",
        "registry.k8s.io/e2e-test-images/agnhost:2.53"
    )]
    #[case("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00")]
    fn names_are_whole(#[case] short: &str, #[case] whole: &str) {
        assert_eq!(super::whole(short), whole);
    }
}
