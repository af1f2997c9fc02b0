//! ConfigMaps and Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Strategy, fixed};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

const LIMIT: usize = 1024 * 1024;

#[derive(Debug)]
pub struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = keys(object, "data");
        errors.extend(keys(object, "binaryData"));
        errors.extend(size(object, &["data", "binaryData"], ""));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        frozen(new, old, &["data", "binaryData"])
    }
}

#[derive(Debug)]
pub struct Secret;

impl Strategy for Secret {
    /// `stringData` is write-only: its texts become entries of `data`.
    fn default(&self, object: &mut Value) {
        object::default(object, "type", "Opaque");
        if object["type"] == "" {
            object["type"] = "Opaque".into();
        }
        if let Some(Value::Object(texts)) = object::remove(object, &["stringData"]) {
            for (key, text) in texts {
                let text = STANDARD.encode(text.as_str().unwrap_or_default());
                object::child(object, "data")[&key] = text.into();
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = keys(object, "data");
        errors.extend(size(object, &["data"], "data"));
        let needs: &[&str] = match object::text(object, &["type"]) {
            "kubernetes.io/tls" => &["tls.crt", "tls.key"],
            "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
            "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
            _ => &[],
        };
        for key in needs {
            if object::at(object, &["data", key]).is_null() {
                errors.push(field::required(&format!("data[{key}]"), ""));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors: Vec<FieldError> = fixed(new, old, &["type"]).into_iter().collect();
        errors.extend(frozen(new, old, &["data"]));
        errors
    }
}

fn entries<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object::map(object, &[key]).into_iter().flat_map(Map::iter)
}

fn keys(object: &Value, map: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, _) in entries(object, map) {
        for complaint in config_key(key) {
            errors.push(field::invalid(
                &format!("{map}[{key}]"),
                key.as_str(),
                &complaint,
            ));
        }
    }
    errors
}

/// A key that can be a file name.
fn config_key(key: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if key.len() > 253 {
        complaints.push("must be no more than 253 characters".to_owned());
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if key.is_empty() || !key.chars().all(fine) {
        complaints.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  \
             or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    if key == "." || key == ".." {
        complaints.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        complaints.push("must not start with '..'".to_owned());
    }
    complaints
}

fn size(object: &Value, maps: &[&str], path: &str) -> Option<FieldError> {
    let total: usize = maps
        .iter()
        .flat_map(|map| entries(object, map))
        .map(|(_, value)| value.as_str().map_or(0, str::len))
        .sum();
    (total > LIMIT).then(|| FieldError::too_long(path, LIMIT as u64))
}

/// An object marked immutable stays so, with its data.
fn frozen(new: &Value, old: &Value, data: &[&str]) -> Vec<FieldError> {
    const FROZEN: &str = "field is immutable when `immutable` is set";
    if object::at(old, &["immutable"]) != &Value::Bool(true) {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if object::at(new, &["immutable"]) != &Value::Bool(true) {
        errors.push(field::forbidden("immutable", FROZEN));
    }
    for key in data {
        if object::at(new, &[key]) != object::at(old, &[key]) {
            errors.push(field::forbidden(key, FROZEN));
        }
    }
    errors
}
