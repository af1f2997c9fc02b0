//! NetworkPolicies and RBAC bindings.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Strategy, fixed};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

#[derive(Debug)]
pub struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        for (rules, _) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec
                .get_mut(rules)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                for port in rule
                    .get_mut("ports")
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    object::default(port, "protocol", "TCP");
                }
            }
        }
        if object::list(spec, &["policyTypes"]).is_empty() {
            let mut types = vec!["Ingress"];
            if !object::list(spec, &["egress"]).is_empty() {
                types.push("Egress");
            }
            spec["policyTypes"] = types.into();
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
            for (r, rule) in object::list(object, &["spec", rules]).iter().enumerate() {
                for (p, peer) in object::list(rule, &[peers]).iter().enumerate() {
                    errors.extend(peer_errors(
                        peer,
                        &format!("spec.{rules}[{r}].{peers}[{p}]"),
                    ));
                }
            }
        }
        errors
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

fn peer_errors(peer: &Value, path: &str) -> Vec<FieldError> {
    let has = |key: &str| !object::at(peer, &[key]).is_null();
    let selects = has("podSelector") || has("namespaceSelector");
    let mut errors = Vec::new();
    if has("ipBlock") {
        let cidr = object::text(peer, &["ipBlock", "cidr"]);
        let path = format!("{path}.ipBlock.cidr");
        if cidr.is_empty() {
            errors.push(field::required(&path, ""));
        } else if !is_cidr(cidr) {
            errors.push(field::invalid(
                &path,
                cidr,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ));
        }
    }
    if selects && has("ipBlock") {
        errors.push(field::forbidden(
            path,
            "may not specify both ipBlock and another peer",
        ));
    } else if !selects && !has("ipBlock") {
        errors.push(field::required(path, "must specify a peer"));
    }
    errors
}

/// A network. Zeros in front of a number are an old habit that is still accepted.
fn is_cidr(cidr: &str) -> bool {
    let Some((address, prefix)) = cidr.split_once('/') else {
        return false;
    };
    let plain: Vec<&str> = address
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0",
            rest => rest,
        })
        .collect();
    let longest = match plain.join(".").parse().or_else(|_| address.parse()) {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest)
}

/// Roles, of a namespace or of the cluster.
#[derive(Debug)]
pub struct Role;

impl Strategy for Role {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let rules = object::list(object, &["rules"]).iter().enumerate();
        rules
            .flat_map(|(at, rule)| {
                let cluster = object::namespace(object).is_empty();
                rule_errors(rule, &format!("rules[{at}]"), cluster)
            })
            .collect()
    }

    fn says_what_is_required(&self) -> bool {
        true
    }
}

fn rule_errors(rule: &Value, path: &str, cluster: bool) -> Vec<FieldError> {
    let has = |key: &str| !object::list(rule, &[key]).is_empty();
    let mut errors = Vec::new();
    if !has("verbs") {
        let why = "verbs must contain at least one value";
        errors.push(field::required(&format!("{path}.verbs"), why));
    }
    if has("nonResourceURLs") {
        let why = if !cluster {
            "namespaced rules cannot apply to non-resource URLs"
        } else if has("apiGroups") || has("resources") || has("resourceNames") {
            "rules cannot apply to both regular resources and non-resource URLs"
        } else {
            return errors;
        };
        errors.push(field::invalid(
            &format!("{path}.nonResourceURLs"),
            object::at(rule, &["nonResourceURLs"]).clone(),
            why,
        ));
        return errors;
    }
    for (key, what) in [("apiGroups", "api group"), ("resources", "resource")] {
        if !has(key) {
            let why = format!("resource rules must supply at least one {what}");
            errors.push(field::required(&format!("{path}.{key}"), &why));
        }
    }
    errors
}

#[derive(Debug)]
pub struct RoleBinding;

impl Strategy for RoleBinding {
    fn default(&self, object: &mut Value) {
        const GROUP: &str = "rbac.authorization.k8s.io";
        if let Some(role) = object.get_mut("roleRef") {
            object::default(role, "apiGroup", GROUP);
        }
        for subject in object
            .get_mut("subjects")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if matches!(object::text(subject, &["kind"]), "User" | "Group") {
                object::default(subject, "apiGroup", GROUP);
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let kinds: &[&str] = if object::namespace(object).is_empty() {
            &["ClusterRole"]
        } else {
            &["Role", "ClusterRole"]
        };
        let mut errors = Vec::new();
        let kind = object::text(object, &["roleRef", "kind"]);
        if !kinds.contains(&kind) {
            errors.push(field::not_supported("roleRef.kind", kind, kinds));
        }
        if object::text(object, &["roleRef", "name"]).is_empty() {
            errors.push(field::required("roleRef.name", ""));
        }
        let subjects = object::list(object, &["subjects"]).iter().enumerate();
        errors.extend(subjects.filter_map(|(at, subject)| {
            let named = !object::text(subject, &["name"]).is_empty();
            (!named).then(|| field::required(&format!("subjects[{at}].name"), ""))
        }));
        errors
    }

    fn says_what_is_required(&self) -> bool {
        true
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let path = ["roleRef"];
        fixed(new, old, &path)
            .map(|_| {
                {
                // Upstream prints the Go value.
                let text = |key: &str| object::text(new, &["roleRef", key]).to_owned();
                let role = json!({"APIGroup": text("apiGroup"), "Kind": text("kind"), "Name": text("name")});
                field::invalid("roleRef", role, "cannot change roleRef")
            }
            })
            .into_iter()
            .collect()
    }
}
