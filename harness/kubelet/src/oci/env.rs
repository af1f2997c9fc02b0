//! Environment variables: literal, expanded, and taken from fields, resources, ConfigMaps and Secrets.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, Pod, ResourceFieldSelector, Secret, Service,
};
use kube::ResourceExt;

use super::ConfigError;
use crate::quantity::Milli;

/// Objects that a container's environment may refer to; None for what does not exist.
#[derive(Debug, Default)]
pub(crate) struct EnvSources {
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// Services of the pod's namespace, if it wants links to them, and `kubernetes` of `default`.
    pub services: Vec<Service>,
}

/// What the kubelet knows about a pod and the API does not yet say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub node_name: String,
    pub host_ip: String,
    pub pod_ips: Vec<String>,
    /// Milli-CPUs and bytes that stand in for limits that are not set.
    pub allocatable_cpu: Milli,
    pub allocatable_memory: Milli,
}

/// Replaces `$(NAME)` by the variable's value if there is one; `$$` stands for `$`.
pub(super) fn expand(text: &str, vars: &HashMap<&str, &str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            if let Some(value) = vars.get(name) {
                out.push_str(value);
            } else {
                out.push_str("$(");
                out.push_str(name);
                out.push(')');
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The same, but an unknown name is an error, as `subPathExpr` has it.
pub(crate) fn expand_strict(text: &str, env: &[(String, String)]) -> Result<String, ConfigError> {
    let vars: HashMap<&str, &str> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("$(") {
        let name = after.split(')').next().unwrap_or_default();
        if !vars.contains_key(name) {
            return Err(ConfigError(format!("missing value for {name:?}")));
        }
        rest = after;
    }
    Ok(expand(text, &vars))
}

/// All variables of a container in the order they are set; later ones win.
pub(crate) fn container_env(
    pod: &Pod,
    container: &Container,
    sources: &EnvSources,
    facts: &Facts,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut env = Env::default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match lookup(&sources.config_maps, &reference.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(missing("configmap", &reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match lookup(&sources.secrets, &reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), text(value));
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(missing("secret", &reference.name)),
            }
        }
    }
    let links = service_links(&sources.services);
    for var in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, container, var, sources, facts, &env, &links)? {
            env.set(var.name.clone(), value);
        }
    }
    for (name, value) in links {
        env.set_default(name, value);
    }
    Ok(env.0)
}

#[derive(Default)]
struct Env(Vec<(String, String)>);

impl Env {
    fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn set_default(&mut self, name: String, value: String) {
        if !self.0.iter().any(|(n, _)| *n == name) {
            self.0.push((name, value));
        }
    }
}

fn value_of(
    pod: &Pod,
    container: &Container,
    var: &EnvVar,
    sources: &EnvSources,
    facts: &Facts,
    env: &Env,
    links: &[(String, String)],
) -> Result<Option<String>, ConfigError> {
    let Some(source) = &var.value_from else {
        let vars = links
            .iter()
            .chain(&env.0)
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        return Ok(Some(expand(
            var.value.as_deref().unwrap_or_default(),
            &vars,
        )));
    };
    from_source(pod, container, source, sources, facts)
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &EnvSources,
    facts: &Facts,
) -> Result<Option<String>, ConfigError> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return field_value(pod, facts, &field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(pod, Some(container), resource, facts).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        return match lookup(&sources.config_maps, &key.name) {
            None if optional => Ok(None),
            None => Err(missing("configmap", &key.name)),
            Some(map) => match map.data.as_ref().and_then(|d| d.get(&key.key)) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(ConfigError(format!(
                    "couldn't find key {} in ConfigMap {namespace}/{}",
                    key.key, key.name
                ))),
            },
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        return match lookup(&sources.secrets, &key.name) {
            None if optional => Ok(None),
            None => Err(missing("secret", &key.name)),
            Some(secret) => match secret.data.as_ref().and_then(|d| d.get(&key.key)) {
                Some(value) => Ok(Some(text(value))),
                None if optional => Ok(None),
                None => Err(ConfigError(format!(
                    "couldn't find key {} in Secret {namespace}/{}",
                    key.key, key.name
                ))),
            },
        };
    }
    Ok(None)
}

fn lookup<'a, T>(objects: &'a BTreeMap<String, Option<T>>, name: &str) -> Option<&'a T> {
    objects.get(name).and_then(Option::as_ref)
}

fn missing(kind: &str, name: &str) -> ConfigError {
    ConfigError(format!("{kind} {name:?} not found"))
}

fn text(value: &ByteString) -> String {
    String::from_utf8_lossy(&value.0).into_owned()
}

/// A field of the pod as `fieldRef` names it.
pub(crate) fn field_value(pod: &Pod, facts: &Facts, path: &str) -> Result<String, ConfigError> {
    let listed = |map: &BTreeMap<String, String>| -> String {
        let lines: Vec<_> = map.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        lines.join("\n")
    };
    if let Some((map, key)) = subscript(path) {
        let value = match map {
            "metadata.labels" => pod.labels().get(key),
            "metadata.annotations" => pod.annotations().get(key),
            _ => return Err(ConfigError(format!("unsupported fieldPath: {path}"))),
        };
        return Ok(value.cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => listed(pod.labels()),
        "metadata.annotations" => listed(pod.annotations()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec
            .and_then(|s| s.service_account_name.clone())
            .unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(ConfigError(format!("unsupported fieldPath: {path}"))),
    })
}

/// `map['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A container's request or limit, in units of the divisor.
pub(crate) fn resource_value(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, ConfigError> {
    let spec = pod.spec.as_ref();
    let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
        None => own,
        Some(name) => spec.and_then(|s| {
            let init = s.init_containers.iter().flatten();
            s.containers.iter().chain(init).find(|c| c.name == name)
        }),
    };
    let Some(container) = container else {
        return Err(ConfigError(format!(
            "container {} not found",
            selector.container_name.as_deref().unwrap_or_default()
        )));
    };
    let unsupported = || {
        ConfigError(format!(
            "unsupported container resource : {}",
            selector.resource
        ))
    };
    let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.clone().unwrap_or_default();
    let limit = resources.limits.as_ref().and_then(|l| l.get(name));
    let request = resources.requests.as_ref().and_then(|r| r.get(name));
    let value = match list {
        "limits" => limit.map(Milli::of).or(match name {
            "cpu" => Some(facts.allocatable_cpu),
            "memory" => Some(facts.allocatable_memory),
            _ => None,
        }),
        "requests" => request.map(Milli::of),
        _ => return Err(unsupported()),
    };
    let divisor = selector
        .divisor
        .as_ref()
        .map(Milli::of)
        .filter(|d| d.0 > 0)
        .unwrap_or(Milli(1_000));
    Ok(value.unwrap_or_default().in_units_of(divisor).to_string())
}

/// `DB_SERVICE_HOST` and the rest, for every service with an address of its own.
fn service_links(services: &[Service]) -> Vec<(String, String)> {
    let mut links = Vec::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let ip = match spec.cluster_ip.as_deref() {
            None | Some("" | "None") => continue,
            Some(ip) => ip,
        };
        let Some(first) = spec.ports.iter().flatten().next() else {
            continue;
        };
        let name = service.name_any().to_uppercase().replace('-', "_");
        links.push((format!("{name}_SERVICE_HOST"), ip.to_owned()));
        links.push((format!("{name}_SERVICE_PORT"), first.port.to_string()));
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                let port_name = port_name.to_uppercase().replace('-', "_");
                links.push((
                    format!("{name}_SERVICE_PORT_{port_name}"),
                    port.port.to_string(),
                ));
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
            if index == 0 {
                links.push((format!("{name}_PORT"), url.clone()));
            }
            let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
            links.push((prefix.clone(), url));
            links.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
            links.push((format!("{prefix}_PORT"), port.port.to_string()));
            links.push((format!("{prefix}_ADDR"), ip.to_owned()));
        }
    }
    links
}
