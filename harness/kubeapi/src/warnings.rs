//! What the server says about objects that it accepts all the same: what is out of date, and what hardly does what its
//! author thinks.

mod other;
mod pods;

use serde_json::Value;

use crate::object;
use crate::registry::Served;

/// The warnings about an object that was written. Of an update, they are about what it changes: nothing is said when
/// `before`, the generation before, is the generation still.
pub fn of(served: &Served, object: &Value, before: Option<i64>) -> Vec<String> {
    if before.is_some() && before == generation(object) {
        return Vec::new();
    }
    let resource = &served.resource;
    let spec = object::at(object, &["spec"]);
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => {
            let mut warnings = pods::name(object);
            warnings.extend(pods::template(object, ""));
            warnings
        }
        ("", "podtemplates") => pods::template(object::at(object, &["template"]), "template"),
        ("", "replicationcontrollers") | ("apps", _) | ("batch", "jobs") => {
            let mut warnings = other::workload(&resource.plural, spec);
            warnings.extend(pods::template(
                object::at(spec, &["template"]),
                "spec.template",
            ));
            warnings
        }
        ("batch", "cronjobs") => pods::template(
            object::at(spec, &["jobTemplate", "spec", "template"]),
            "spec.jobTemplate.spec.template",
        ),
        ("", "services") => other::service(object),
        ("", "nodes") => other::node(object),
        ("", "persistentvolumes") => other::volume(object),
        ("", "persistentvolumeclaims") => other::claim(object),
        ("networking.k8s.io", "ingresses") => other::ingress(object),
        ("networking.k8s.io", "networkpolicies") => other::network_policy(spec),
        _ => Vec::new(),
    }
}

/// What counts the changes of an object.
pub fn generation(object: &Value) -> Option<i64> {
    object::integer(object, &["metadata", "generation"])
}

/// A quantity of bytes that is no whole number.
fn fraction(quantities: &Value, resource: &str, path: &str) -> Option<String> {
    let quantity = object::text(quantities, &[resource]);
    quantity.ends_with('m').then(|| {
        format!(
            "{path}[{resource}]: fractional byte value {quantity:?} is invalid, must be an integer"
        )
    })
}
