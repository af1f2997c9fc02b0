//! Services, endpoints, ingresses and network policies.

use jiff::Timestamp;
use serde_json::Value;

use super::{Head, Printer, age, col, or_none, selector, wide};
use crate::object;

const INGRESS_CLASS: &[Head] = &[
    col("Name"),
    col("Controller"),
    col("Parameters"),
    col("Age"),
];
const SERVICE: &[Head] = &[
    col("Name"),
    col("Type"),
    col("Cluster-IP"),
    col("External-IP"),
    col("Port(s)"),
    col("Age"),
    wide("Selector"),
];
const ENDPOINTS: &[Head] = &[col("Name"), col("Endpoints"), col("Age")];
const SLICE: &[Head] = &[
    col("Name"),
    col("AddressType"),
    col("Ports"),
    col("Endpoints"),
    col("Age"),
];
const INGRESS: &[Head] = &[
    col("Name"),
    col("Class"),
    col("Hosts"),
    col("Address"),
    col("Ports"),
    col("Age"),
];
const NETWORK_POLICY: &[Head] = &[col("Name"), col("Pod-Selector"), col("Age")];
/// How many endpoints are listed before "+ n more...".
const SHOWN: usize = 3;

pub fn printer(key: (&str, &str)) -> Option<Printer> {
    let (heads, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match key {
        ("", "services") => (SERVICE, service),
        ("", "endpoints") => (ENDPOINTS, endpoints),
        ("discovery.k8s.io", "endpointslices") => (SLICE, slice),
        ("networking.k8s.io", "ingresses") => (INGRESS, ingress),
        ("networking.k8s.io", "ingressclasses") => (INGRESS_CLASS, |object, now| {
            let parameters = object::at(object, &["spec", "parameters"]);
            let text = |key: &str| object::text(parameters, &[key]);
            let parameters = match (parameters.is_object(), text("apiGroup")) {
                (false, _) => "<none>".to_owned(),
                (true, "") => format!("{}/{}", text("kind"), text("name")),
                (true, group) => format!("{}.{group}/{}", text("kind"), text("name")),
            };
            vec![
                object::name(object).into(),
                object::text(object, &["spec", "controller"]).into(),
                parameters.into(),
                age(object, now),
            ]
        }),
        ("networking.k8s.io", "networkpolicies") => (NETWORK_POLICY, |object, now| {
            vec![
                object::name(object).into(),
                selector(object::at(object, &["spec", "podSelector"])),
                age(object, now),
            ]
        }),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

fn texts<'a>(value: &'a Value, path: &[&str]) -> Vec<&'a str> {
    object::list(value, path)
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object::at(object, &["spec"]);
    let address = texts(spec, &["clusterIPs"])
        .first()
        .copied()
        .unwrap_or_default();
    let ports: Vec<String> = object::list(spec, &["ports"]).iter().map(port).collect();
    vec![
        object::name(object).into(),
        object::text(spec, &["type"]).into(),
        or_none(address),
        external(object).into(),
        or_none(&ports.join(",")),
        age(object, now),
        selector(object::at(spec, &["selector"])),
    ]
}

fn port(port: &Value) -> String {
    let number = object::integer(port, &["port"]).unwrap_or(0);
    let protocol = object::text(port, &["protocol"]);
    match object::integer(port, &["nodePort"]).filter(|n| *n > 0) {
        Some(node) => format!("{number}:{node}/{protocol}"),
        None => format!("{number}/{protocol}"),
    }
}

fn external(object: &Value) -> String {
    let mut addresses: Vec<&str> = object::list(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|i| match object::text(i, &["ip"]) {
            "" => object::text(i, &["hostname"]),
            ip => ip,
        })
        .filter(|a| !a.is_empty())
        .collect();
    let kind = object::text(object, &["spec", "type"]);
    if kind == "ExternalName" {
        return object::text(object, &["spec", "externalName"]).to_owned();
    }
    if kind != "LoadBalancer" {
        addresses.clear();
    }
    addresses.extend(texts(object, &["spec", "externalIPs"]));
    match (addresses.is_empty(), kind) {
        (true, "LoadBalancer") => "<pending>".to_owned(),
        (true, _) => "<none>".to_owned(),
        (false, _) => addresses.join(","),
    }
}

/// The first few of a list, and how many more.
fn shortened(all: &[String]) -> Value {
    if all.is_empty() {
        return "<none>".into();
    }
    let shown = all[..all.len().min(SHOWN)].join(",");
    match all.len().saturating_sub(SHOWN) {
        0 => shown.into(),
        more => format!("{shown} + {more} more...").into(),
    }
}

fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in object::list(object, &["subsets"]) {
        for address in object::list(subset, &["addresses"]) {
            let ip = object::text(address, &["ip"]);
            let ports = object::list(subset, &["ports"]);
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(
                ports
                    .iter()
                    .map(|port| format!("{ip}:{}", object::integer(port, &["port"]).unwrap_or(0))),
            );
        }
    }
    vec![
        object::name(object).into(),
        shortened(&all),
        age(object, now),
    ]
}

fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = object::list(object, &["ports"])
        .iter()
        .map(|port| object::integer(port, &["port"]).map_or("*".to_owned(), |p| p.to_string()))
        .collect();
    let addresses: Vec<String> = object::list(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| texts(endpoint, &["addresses"]))
        .map(str::to_owned)
        .collect();
    let unset = |cell: Value| {
        if cell == "<none>" {
            "<unset>".into()
        } else {
            cell
        }
    };
    vec![
        object::name(object).into(),
        object::text(object, &["addressType"]).into(),
        unset(shortened(&ports)),
        unset(shortened(&addresses)),
        age(object, now),
    ]
}

fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<String> = object::list(object, &["spec", "rules"])
        .iter()
        .map(|rule| object::text(rule, &["host"]).to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let addresses: Vec<&str> = object::list(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|i| match object::text(i, &["ip"]) {
            "" => object::text(i, &["hostname"]),
            ip => ip,
        })
        .collect();
    let secure = !object::list(object, &["spec", "tls"]).is_empty();
    vec![
        object::name(object).into(),
        or_none(object::text(object, &["spec", "ingressClassName"])),
        if hosts.is_empty() {
            "*".into()
        } else {
            shortened(&hosts)
        },
        addresses.join(",").into(),
        if secure { "80, 443" } else { "80" }.into(),
        age(object, now),
    ]
}
