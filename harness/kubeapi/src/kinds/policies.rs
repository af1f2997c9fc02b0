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
        let fine = cidr.split_once('/').is_some_and(|(address, prefix)| {
            let longest = match address.parse() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return false,
            };
            prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest)
        });
        if !fine {
            errors.push(field::invalid(
                &format!("{path}.ipBlock.cidr"),
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
