//! Paths as Kubernetes writes them in messages: `spec.ports[0].name`, `metadata.annotations[key]`.

pub(crate) fn child(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

pub(crate) fn index(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

pub(crate) fn key(parent: &str, key: &str) -> String {
    format!("{parent}[{key}]")
}
