//! Services. Addresses are allocated by the admission chain, see [`crate::admission::service`].

use serde_json::{Value, json};

use super::{Strategy, fixed, restore};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;
use crate::validation::name::{dns1123_label, dns1123_subdomain};

#[derive(Debug)]
pub struct Service;

impl Strategy for Service {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"loadBalancer": {}});
    }

    fn default(&self, object: &mut Value) {
        object::child(object::child(object, "status"), "loadBalancer");
        let spec = object::child(object, "spec");
        object::default(spec, "sessionAffinity", "None");
        object::default(spec, "type", "ClusterIP");
        if spec["sessionAffinity"] == "ClientIP" {
            let client = object::child(object::child(spec, "sessionAffinityConfig"), "clientIP");
            object::default(client, "timeoutSeconds", 10800);
        }
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            object::default(port, "protocol", "TCP");
            let unset = matches!(port.get("targetPort"), None | Some(Value::Null))
                || port["targetPort"] == 0
                || port["targetPort"] == "";
            if unset {
                port["targetPort"] = port["port"].clone();
            }
        }
        let kind = object::text(spec, &["type"]).to_owned();
        let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
            || (kind == "ClusterIP" && !object::list(spec, &["externalIPs"]).is_empty());
        if external {
            object::default(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind != "ExternalName" {
            object::default(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            object::default(spec, "allocateLoadBalancerNodePorts", true);
        }
    }

    /// An update that leaves out what was allocated keeps it.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if object::text(new, &["spec", "type"]) == "ExternalName" {
            return;
        }
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if object::at(new, &["spec", key]).is_null() {
                restore(new, old, &["spec", key]);
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let spec = object::at(object, &["spec"]);
        let mut errors = Vec::new();
        let kind = object::text(spec, &["type"]);
        let ports = object::list(spec, &["ports"]);
        let headless = object::text(spec, &["clusterIP"]) == "None";
        if ports.is_empty() && !headless && kind != "ExternalName" {
            errors.push(field::required("spec.ports", ""));
        }
        for (index, port) in ports.iter().enumerate() {
            port_errors(
                port,
                &format!("spec.ports[{index}]"),
                ports.len() > 1,
                &mut errors,
            );
        }
        if kind == "ExternalName" {
            let name = object::text(spec, &["externalName"]);
            if name.is_empty() {
                errors.push(field::required("spec.externalName", ""));
            }
            for complaint in dns1123_subdomain(name.trim_end_matches('.')) {
                errors.push(field::invalid("spec.externalName", name, &complaint));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let external = |object: &Value| object::text(object, &["spec", "type"]) == "ExternalName";
        let address = |object: &Value| object::text(object, &["spec", "clusterIP"]).to_owned();
        if external(new) || external(old) || address(old).is_empty() || address(new) == address(old)
        {
            return Vec::new();
        }
        vec![field::invalid(
            "spec.clusterIPs[0]",
            vec![address(new)],
            "may not change once set",
        )]
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

/// The addresses behind a service, in the old form.
#[derive(Debug)]
pub struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in items(object, "subsets") {
            for port in items(subset, "ports") {
                object::default(port, "protocol", "TCP");
            }
        }
    }
}

/// The addresses behind a service.
#[derive(Debug)]
pub struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn default(&self, object: &mut Value) {
        for port in items(object, "ports") {
            object::default(port, "name", "");
            object::default(port, "protocol", "TCP");
        }
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        fixed(new, old, &["addressType"]).into_iter().collect()
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

fn items<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn port_errors(port: &Value, path: &str, named: bool, errors: &mut Vec<FieldError>) {
    let name = object::text(port, &["name"]);
    if name.is_empty() && named {
        errors.push(field::required(&format!("{path}.name"), ""));
    } else if !name.is_empty() {
        for complaint in dns1123_label(name) {
            errors.push(field::invalid(&format!("{path}.name"), name, &complaint));
        }
    }
    let number = object::integer(port, &["port"]).unwrap_or(0);
    if !(1..=65535).contains(&number) {
        errors.push(field::invalid(
            &format!("{path}.port"),
            number,
            "must be between 1 and 65535, inclusive",
        ));
    }
    if let Some(target) = object::integer(port, &["targetPort"])
        && !(1..=65535).contains(&target)
    {
        errors.push(field::invalid(
            &format!("{path}.targetPort"),
            target,
            "must be between 1 and 65535, inclusive",
        ));
    }
}
