//! NetworkPolicies and RBAC bindings.

use serde_json::Value;

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
                    errors.extend(peer_errors(peer, &format!("spec.{rules}[{r}].{peers}[{p}]")));
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
    if selects && has("ipBlock") {
        errors.push(field::forbidden(path, "may not specify both ipBlock and another peer"));
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
                field::invalid("roleRef", object::at(new, &path).clone(), "cannot change roleRef")
            })
            .into_iter()
            .collect()
    }
}
