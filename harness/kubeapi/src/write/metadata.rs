//! The metadata that the server sets itself.

use rand::Rng;
use serde_json::Value;

use crate::object;
use crate::status::Status;

/// Letters and digits of generated name suffixes: no vowels, no look-alikes.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `generateName` with five random characters.
pub fn generate_name(prefix: &str) -> String {
    let mut rng = rand::rng();
    let room = 63 - 5;
    let mut name: String = prefix.chars().take(room).collect();
    for _ in 0..5 {
        name.push(char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    }
    name
}

/// The object's namespace must be the request's, or absent.
pub fn match_namespace(object: &mut Value, namespace: Option<&str>) -> Result<(), Status> {
    check_namespace(object, namespace)?;
    match namespace {
        Some(namespace) => object::set(object, &["metadata", "namespace"], namespace),
        None => drop(object::remove(object, &["metadata", "namespace"])),
    }
    Ok(())
}

/// An object that names its namespace must name that of the request.
pub fn check_namespace(object: &Value, namespace: Option<&str>) -> Result<(), Status> {
    let given = object::namespace(object);
    match namespace {
        Some(namespace) if !given.is_empty() && given != namespace => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ => Ok(()),
    }
}

/// An object that replaces another must say which: the one in the path.
pub fn require_name(object: &mut Value, name: &str) -> Result<(), Status> {
    if object::name(object).is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    match_name(object, name)
}

/// The object's name must be the one in the path.
pub fn match_name(object: &mut Value, name: &str) -> Result<(), Status> {
    let given = object::name(object);
    if given.is_empty() {
        object::set(object, &["metadata", "name"], name);
    } else if given != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}

/// Takes away what only the server sets.
pub fn wipe_system_fields(object: &mut Value) {
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        object::remove(object, &["metadata", key]);
    }
}

/// Owner references that name one owner twice are merged, as upstream does.
pub fn dedup_owners(object: &mut Value) {
    if let Some(owners) = object
        .pointer_mut("/metadata/ownerReferences")
        .and_then(Value::as_array_mut)
    {
        let mut seen: Vec<Value> = Vec::with_capacity(owners.len());
        owners.retain(|owner| {
            let new = !seen.contains(owner);
            if new {
                seen.push(owner.clone());
            }
            new
        });
    }
}

/// Whether everything but metadata (and, where it has its own endpoint, the status) is the same.
pub fn same_content(new: &Value, old: &Value, ignore_status: bool) -> bool {
    let keep = |key: &str| key != "metadata" && !(ignore_status && key == "status");
    let count = |value: &Value| {
        value
            .as_object()
            .map_or(0, |map| map.keys().filter(|k| keep(k)).count())
    };
    count(new) == count(old)
        && new
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| keep(key))
            .all(|(key, value)| old.get(key) == Some(value))
}
