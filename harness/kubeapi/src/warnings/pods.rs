//! Pods and templates of pods.

use serde_json::Value;

use super::fraction;
use crate::object;

/// Labels of nodes that have new names.
const RENAMED: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "1.14", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "1.17",
        "topology.kubernetes.io/zone",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "1.17",
        "node.kubernetes.io/instance-type",
    ),
];
/// Annotations that were replaced by fields.
const ANNOTATIONS: [(&str, &str, &str); 2] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "1.16",
        "priorityClassName",
    ),
    (
        "seccomp.security.alpha.kubernetes.io/pod",
        "1.27",
        "seccompProfile",
    ),
];

/// A name that is no host name.
pub fn name(pod: &Value) -> Vec<String> {
    let dots = object::name(pod).contains('.');
    let warning = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label \
                   is recommended: [must not contain dots]";
    dots.then(|| warning.to_owned()).into_iter().collect()
}

/// Everything below a pod or template that stands at `path`.
pub fn template(template: &Value, path: &str) -> Vec<String> {
    let within = |rest: &str| match path {
        "" => rest.to_owned(),
        path => format!("{path}.{rest}"),
    };
    let mut warnings = annotations(template, &within("metadata.annotations"));
    let spec = object::at(template, &["spec"]);
    warnings.extend(self::spec(spec, &within("spec")));
    warnings
}

fn annotations(template: &Value, path: &str) -> Vec<String> {
    let present = |key: &str| !object::at(template, &["metadata", "annotations", key]).is_null();
    let old = ANNOTATIONS.iter().filter(|(key, ..)| present(key));
    old.map(|(key, since, field)| {
        format!("{path}[{key}]: non-functional in v{since}+; use the {field:?} field instead")
    })
    .collect()
}

fn spec(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, since, new) in RENAMED {
        if !object::at(spec, &["nodeSelector", key]).is_null() {
            warnings.push(format!(
                "{path}.nodeSelector[{key}]: deprecated since v{since}; use {new:?} instead"
            ));
        }
    }
    let spread = object::list(spec, &["topologySpreadConstraints"]).iter();
    for (at, _) in spread
        .enumerate()
        .filter(|(_, c)| c.get("labelSelector").is_none())
    {
        warnings.push(format!(
            "{path}.topologySpreadConstraints[{at}].labelSelector: a null labelSelector results in matching no pod"
        ));
    }
    let aliases = object::list(spec, &["hostAliases"]);
    for (at, alias) in aliases.iter().enumerate() {
        let ip = object::text(alias, &["ip"]);
        if aliases[..at]
            .iter()
            .any(|other| object::text(other, &["ip"]) == ip)
        {
            warnings.push(format!("{path}.hostAliases[{at}].ip: duplicate ip {ip:?}"));
        }
    }
    for (at, secret) in object::list(spec, &["imagePullSecrets"]).iter().enumerate() {
        if object::text(secret, &["name"]).is_empty() {
            warnings.push(format!(
                "{path}.imagePullSecrets[{at}].name: invalid empty name \"\""
            ));
        }
    }
    for (at, volume) in object::list(spec, &["volumes"]).iter().enumerate() {
        for (kind, fate) in [
            (
                "gitRepo",
                "deprecated in v1.11, and disabled by default in v1.33+",
            ),
            ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
            ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
            ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ] {
            if !object::at(volume, &[kind]).is_null() {
                warnings.push(format!("{path}.volumes[{at}].{kind}: {fate}"));
            }
        }
    }
    for list in ["initContainers", "containers"] {
        for (at, container) in object::list(spec, &[list]).iter().enumerate() {
            warnings.extend(self::container(container, &format!("{path}.{list}[{at}]")));
        }
    }
    warnings
}

fn container(container: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for kind in ["limits", "requests"] {
        let quantities = object::at(container, &["resources", kind]);
        for resource in ["memory", "ephemeral-storage"] {
            warnings.extend(fraction(
                quantities,
                resource,
                &format!("{path}.resources.{kind}"),
            ));
        }
    }
    let variables = object::list(container, &["env"]);
    for (at, variable) in variables.iter().enumerate() {
        let name = object::text(variable, &["name"]);
        if variables[..at]
            .iter()
            .any(|other| object::text(other, &["name"]) == name)
        {
            warnings.push(format!(
                "{path}.env[{at}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
    let ports = object::list(container, &["ports"]);
    let place = |port: &Value| {
        let of = |key: &str| object::at(port, &[key]).clone();
        (
            of("containerPort"),
            of("protocol"),
            of("hostPort"),
            of("hostIP"),
        )
    };
    for (at, port) in ports.iter().enumerate() {
        if let Some(first) = ports[..at]
            .iter()
            .position(|other| place(other) == place(port))
        {
            warnings.push(format!(
                "{path}.ports[{at}]: duplicate port definition with {path}.ports[{first}]"
            ));
        }
    }
    warnings
}
