//! Restart and pull policies.

use k8s_openapi::api::core::v1::{Container, Pod};

/// `restartPolicy` of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub(super) fn of(pod: &Pod) -> Self {
        match pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    pub(super) fn after(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// `imagePullPolicy` of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pull {
    Always,
    IfNotPresent,
    Never,
}

impl Pull {
    pub(super) fn of(container: &Container) -> Self {
        match container.image_pull_policy.as_deref() {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some("IfNotPresent") => Self::IfNotPresent,
            _ if is_latest(container.image.as_deref().unwrap_or_default()) => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

fn is_latest(reference: &str) -> bool {
    if reference.contains('@') {
        return false;
    }
    let last = reference.rsplit('/').next().unwrap_or_default();
    matches!(last.split_once(':'), None | Some((_, "latest")))
}

/// True for text that can name an image at all.
pub(super) fn is_reference(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let last_slash = name.rfind('/').map_or(0, |i| i + 1);
    let (name, tag) = match name[last_slash..].find(':') {
        Some(colon) => {
            let colon = last_slash + colon;
            (&name[..colon], Some(&name[colon + 1..]))
        }
        None => (name, None),
    };
    let tag_ok = tag.is_none_or(|tag| {
        (1..=128).contains(&tag.len())
            && !tag.starts_with(['.', '-'])
            && tag
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    });
    let digest_ok = digest.is_none_or(|digest| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
        })
    });
    let mut parts = name.split('/').collect::<Vec<_>>();
    // a registry's host may have a port and upper-case letters
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        let host = parts.remove(0);
        if !host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".:-[]".contains(c))
        {
            return false;
        }
    }
    let names_ok = parts.iter().all(|part| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    });
    tag_ok && digest_ok && names_ok
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("agnhost", true)]
    #[case("k8s.gcr.io/e2e-test-images/agnhost:2.36", true)]
    #[case("localhost:5000/a/b@sha256:0123456789abcdef0123456789abcdef", true)]
    #[case("Agnhost", false)]
    #[case("a//b", false)]
    #[case("a:", false)]
    #[case("a:b:c", false)]
    #[case("", false)]
    fn references(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(is_reference(text), valid);
    }

    #[rstest]
    #[case("a", Pull::Always)]
    #[case("host:5000/a", Pull::Always)]
    #[case("a:latest", Pull::Always)]
    #[case("a:1", Pull::IfNotPresent)]
    #[case("a@sha256:0", Pull::IfNotPresent)]
    fn pull_defaults(#[case] image: &str, #[case] expected: Pull) {
        let container = Container {
            image: Some(image.to_owned()),
            ..Container::default()
        };
        assert_eq!(Pull::of(&container), expected);
    }
}
