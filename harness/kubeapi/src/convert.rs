//! Between the version a request uses and the version objects are stored in.

use std::borrow::Cow;

use serde_json::Value;

use crate::kinds::{autoscaling, events};
use crate::registry::Served;
use crate::registry::builtin::{AUTOSCALERS, EVENTS};

/// An object as stored, from the version of the request.
pub fn to_stored(served: &Served, mut object: Value) -> Value {
    if served.is_storage_version() {
        return object;
    }
    if &*served.resource.storage == EVENTS {
        return events::to_core(object);
    }
    if &*served.resource.storage == AUTOSCALERS {
        return autoscaling::to_second(object);
    }
    object["apiVersion"] = served.resource.stored_api_version.as_str().into();
    object
}

/// A stored object in the version of the request.
pub fn from_stored<'a>(served: &Served, object: &'a Value) -> Cow<'a, Value> {
    if served.is_storage_version() {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    if &*served.resource.storage == EVENTS {
        return Cow::Owned(events::from_core(object));
    }
    if &*served.resource.storage == AUTOSCALERS {
        return Cow::Owned(autoscaling::to_first(object));
    }
    object["apiVersion"] = served.api_version().into();
    Cow::Owned(object)
}
