//! From objects to the names they have in a scenario and in events.

use kube::api::DynamicObject;
use trunkline_scenario::model;

use crate::{convert, events::ObjectRef};

/// How scenarios and reports call this object.
pub(crate) fn reference(object: &DynamicObject) -> ObjectRef {
    let kind = object
        .types
        .as_ref()
        .map_or("object", |types| types.kind.as_str());
    convert::object(&model::ObjectRef {
        kind: kind.to_ascii_lowercase(),
        namespace: object.metadata.namespace.clone(),
        name: object.metadata.name.clone().unwrap_or_default(),
    })
}

/// Stands for the name where a whole group of objects is meant.
pub(crate) const GROUP: &str = "*";

/// The command that shows an object with its events.
pub(crate) fn describe_command(object: &ObjectRef) -> String {
    let place = match &object.namespace {
        Some(namespace) => format!("kubectl -n {namespace}"),
        None => "kubectl".to_owned(),
    };
    match object.name.as_str() {
        GROUP => format!("{place} get {}", object.kind),
        name => format!("{place} describe {} {name}", object.kind),
    }
}
