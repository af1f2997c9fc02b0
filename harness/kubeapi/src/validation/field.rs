//! Short forms for building field errors from plain values.

use serde_json::Value;

use crate::schema::FieldError;

/// What is said of a value that must stay as it was.
pub const IMMUTABLE: &str = "field is immutable";

pub fn invalid(path: &str, value: impl Into<Value>, detail: &str) -> FieldError {
    FieldError::invalid(path, &value.into(), detail)
}

pub fn required(path: &str, detail: &str) -> FieldError {
    FieldError::required(path, detail)
}

pub fn forbidden(path: &str, detail: &str) -> FieldError {
    FieldError::forbidden(path, detail)
}

pub fn duplicate(path: &str, value: impl Into<Value>) -> FieldError {
    FieldError::duplicate(path, &value.into())
}

pub fn not_found(path: &str, value: impl Into<Value>) -> FieldError {
    FieldError::not_found(path, &value.into())
}

pub fn not_supported(path: &str, value: impl Into<Value>, supported: &[&str]) -> FieldError {
    FieldError::not_supported(path, &value.into(), supported)
}

/// An error when two values differ.
pub fn immutable(path: &str, new: &Value, old: &Value) -> Option<FieldError> {
    (new != old).then(|| invalid(path, new.clone(), IMMUTABLE))
}
