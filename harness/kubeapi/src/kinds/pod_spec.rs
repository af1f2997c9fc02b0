//! Pod specs, in pods and in templates.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::object;
use crate::schema::FieldError;
use crate::validation::field;
use crate::validation::name::dns1123_label;

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// Fields with a few possible values, which have defaults.
const ENUMS: [(&str, &[&str]); 2] = [
    ("restartPolicy", &["Always", "OnFailure", "Never"]),
    (
        "dnsPolicy",
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    ),
];

/// Defaults of the pod template under `template` of a workload's spec.
pub fn default_template(spec: &mut Value) {
    if spec.get("template").is_some_and(Value::is_object) {
        default(object::child(object::child(spec, "template"), "spec"));
    }
}

/// Defaults of a pod spec, wherever it is.
pub fn default(spec: &mut Value) {
    for (key, value) in [
        ("dnsPolicy", "ClusterFirst"),
        ("restartPolicy", "Always"),
        ("schedulerName", "default-scheduler"),
    ] {
        object::default(spec, key, value);
    }
    object::default(spec, "securityContext", json!({}));
    object::default(spec, "terminationGracePeriodSeconds", 30);
    let account = object::text(spec, &["serviceAccountName"]).to_owned();
    if !account.is_empty() {
        object::default(spec, "serviceAccount", account);
    } else if let Some(old) = spec.get("serviceAccount").cloned() {
        object::default(spec, "serviceAccountName", old);
    }
    let host_network = object::at(spec, &["hostNetwork"]) == &Value::Bool(true);
    for list in CONTAINER_LISTS {
        for container in items(spec, list) {
            default_container(container, host_network);
        }
    }
    for volume in items(spec, "volumes") {
        default_volume(volume);
    }
}

fn items<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn default_container(container: &mut Value, host_network: bool) {
    let policy = pull_policy(object::text(container, &["image"]));
    for (key, value) in [
        ("imagePullPolicy", policy),
        ("terminationMessagePath", "/dev/termination-log"),
        ("terminationMessagePolicy", "File"),
    ] {
        object::default(container, key, value);
    }
    object::default(container, "resources", json!({}));
    for port in items(container, "ports") {
        object::default(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            object::default(port, "hostPort", number);
        }
    }
    for variable in items(container, "env") {
        if let Some(reference) = variable.pointer_mut("/valueFrom/fieldRef") {
            object::default(reference, "apiVersion", "v1");
        }
        if let Some(reference) = variable.pointer_mut("/valueFrom/resourceFieldRef") {
            object::default(reference, "divisor", "0");
        }
    }
    for probe in PROBES {
        if let Some(probe) = container.get_mut(probe).filter(|p| p.is_object()) {
            default_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) = container.pointer_mut(&format!("/lifecycle/{hook}/httpGet")) {
            default_http_get(get);
        }
    }
}

fn default_probe(probe: &mut Value) {
    for (key, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if object::integer(probe, &[key]) == Some(0) {
            object::remove(probe, &[key]);
        }
        object::default(probe, key, value);
    }
    if let Some(get) = probe.get_mut("httpGet") {
        default_http_get(get);
    }
    if let Some(grpc) = probe.get_mut("grpc") {
        object::default(grpc, "service", "");
    }
}

fn default_http_get(get: &mut Value) {
    for (key, value) in [("path", "/"), ("scheme", "HTTP")] {
        if object::text(get, &[key]).is_empty() {
            get[key] = value.into();
        }
    }
}

/// `Always` for `latest` and references without tag or digest.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    match tag {
        _ if image.contains('@') => "IfNotPresent",
        None | Some("latest") => "Always",
        Some(_) => "IfNotPresent",
    }
}

const MODE: i64 = 0o644;

fn default_volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|v| v.len() <= 1) {
        volume["emptyDir"] = json!({});
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).filter(|s| s.is_object()) {
            object::default(source, "defaultMode", MODE);
        }
    }
    if let Some(host) = volume.get_mut("hostPath") {
        object::default(host, "type", "");
    }
    if let Some(downward) = volume.get_mut("downwardAPI") {
        default_downward(downward);
    }
    if let Some(projected) = volume.get_mut("projected") {
        for source in items(projected, "sources") {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                object::default(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = source.get_mut("downwardAPI") {
                default_downward(downward);
            }
        }
    }
}

fn default_downward(source: &mut Value) {
    for item in items(source, "items") {
        if let Some(reference) = item.get_mut("fieldRef") {
            object::default(reference, "apiVersion", "v1");
        }
    }
}

/// What the schema cannot say about a pod spec at `path`.
pub fn validate(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let volumes = volume_names(spec, path, &mut errors);
    let mut seen = HashSet::new();
    if object::list(spec, &["containers"]).is_empty() {
        errors.push(field::required(&format!("{path}.containers"), ""));
    }
    for list in CONTAINER_LISTS {
        for (index, container) in object::list(spec, &[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            container_errors(container, &path, &volumes, &mut errors);
            let name = object::text(container, &["name"]);
            if !name.is_empty() && !seen.insert(name) {
                errors.push(field::duplicate(&format!("{path}.name"), name));
            }
        }
    }
    for (key, supported) in ENUMS {
        let value = object::text(spec, &[key]);
        if !supported.contains(&value) {
            errors.push(field::not_supported(
                &format!("{path}.{key}"),
                value,
                supported,
            ));
        }
    }
    errors
}

fn volume_names<'a>(spec: &'a Value, path: &str, errors: &mut Vec<FieldError>) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for (index, volume) in object::list(spec, &["volumes"]).iter().enumerate() {
        let path = format!("{path}.volumes[{index}].name");
        let name = object::text(volume, &["name"]);
        if name.is_empty() {
            errors.push(field::required(&path, ""));
            continue;
        }
        for complaint in dns1123_label(name) {
            errors.push(field::invalid(&path, name, &complaint));
        }
        if !names.insert(name) {
            errors.push(field::duplicate(&path, name));
        }
    }
    names
}

fn container_errors(
    container: &Value,
    path: &str,
    volumes: &HashSet<&str>,
    errors: &mut Vec<FieldError>,
) {
    let name = object::text(container, &["name"]);
    if name.is_empty() {
        errors.push(field::required(&format!("{path}.name"), ""));
    } else {
        for complaint in dns1123_label(name) {
            errors.push(field::invalid(&format!("{path}.name"), name, &complaint));
        }
    }
    let image = object::text(container, &["image"]);
    if image.is_empty() {
        errors.push(field::required(&format!("{path}.image"), ""));
    } else if image.trim() != image {
        errors.push(field::invalid(
            &format!("{path}.image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    for (index, port) in object::list(container, &["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{index}].containerPort");
        match object::integer(port, &["containerPort"]) {
            None | Some(0) => errors.push(field::required(&path, "")),
            Some(1..=65535) => {}
            Some(number) => errors.push(field::invalid(
                &path,
                number,
                "must be between 1 and 65535, inclusive",
            )),
        }
    }
    let mut paths = HashSet::new();
    for (index, mount) in object::list(container, &["volumeMounts"])
        .iter()
        .enumerate()
    {
        let path = format!("{path}.volumeMounts[{index}]");
        let (name, at) = (
            object::text(mount, &["name"]),
            object::text(mount, &["mountPath"]),
        );
        if name.is_empty() {
            errors.push(field::required(&format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            errors.push(field::not_found(&format!("{path}.name"), name));
        }
        if at.is_empty() {
            errors.push(field::required(&format!("{path}.mountPath"), ""));
        } else if !paths.insert(at) {
            errors.push(field::invalid(
                &format!("{path}.mountPath"),
                at,
                "must be unique",
            ));
        }
    }
    for probe in PROBES {
        probe_errors(container, probe, path, errors);
    }
}

fn probe_errors(container: &Value, probe: &str, path: &str, errors: &mut Vec<FieldError>) {
    let spec = object::at(container, &[probe]);
    if !spec.is_object() {
        return;
    }
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    let count = handlers
        .iter()
        .filter(|h| spec.get(**h).is_some_and(|v| !v.is_null()))
        .count();
    let path = format!("{path}.{probe}");
    if count == 0 {
        errors.push(field::required(&path, "must specify a handler type"));
    } else if count > 1 {
        errors.push(field::forbidden(
            &path,
            "may not specify more than 1 handler type",
        ));
    }
    if probe != "readinessProbe" {
        let threshold = object::integer(spec, &["successThreshold"]).unwrap_or(1);
        if threshold != 1 {
            errors.push(field::invalid(
                &format!("{path}.successThreshold"),
                threshold,
                "must be 1",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("nginx", "Always")]
    #[case("nginx:latest", "Always")]
    #[case("nginx:1.2", "IfNotPresent")]
    #[case("localhost:5000/nginx", "Always")]
    #[case("localhost:5000/nginx:1", "IfNotPresent")]
    #[case("nginx@sha256:abc", "IfNotPresent")]
    fn pull_policies(#[case] image: &str, #[case] policy: &str) {
        assert_eq!(pull_policy(image), policy);
    }

    #[test]
    fn defaults_reach_probes_and_ports() {
        let mut spec = json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}}}], "volumes": [{"name": "v"}]});
        default(&mut spec);
        assert_eq!(spec["containers"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(
            spec["containers"][0]["readinessProbe"],
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                "successThreshold": 1, "failureThreshold": 3})
        );
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["terminationGracePeriodSeconds"], 30);
    }

    #[test]
    fn a_mount_needs_its_volume() {
        let spec = json!({"restartPolicy": "Always", "dnsPolicy": "Default", "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}]});
        let errors = validate(&spec, "spec");
        assert_eq!(
            errors[0].to_string(),
            "spec.containers[0].volumeMounts[0].name: Not found: \"x\""
        );
    }
}
