//! Field errors in the words of the Kubernetes API server.

use std::fmt;

use serde_json::Value;

use super::go;

/// Why a field was refused; `reason()` is the machine-readable name in `Status.details.causes[].reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TypeInvalid,
    Internal,
}

impl ErrorKind {
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    /// The words a message begins with.
    pub fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One violation. `Display` is `path: message`, as in the text of a 422 answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `spec.ports[0].port`; `<nil>` for the object as a whole.
    pub path: String,
    pub kind: ErrorKind,
    /// The text without the path: `Invalid value: "x": must be …`. This is `causes[].message`.
    pub message: String,
}

impl FieldError {
    /// `Title: VALUE: detail`, without the value where it is None.
    fn new(path: impl Into<String>, kind: ErrorKind, value: Option<&Value>, detail: &str) -> Self {
        let mut message = kind.title().to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            message.push_str(&go::shown(value));
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        let path = path.into();
        Self {
            path: if path.is_empty() {
                "<nil>".to_owned()
            } else {
                path
            },
            kind,
            message,
        }
    }

    pub fn invalid(path: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(path, ErrorKind::Invalid, Some(value), detail)
    }

    pub fn type_invalid(path: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(path, ErrorKind::TypeInvalid, Some(value), detail)
    }

    pub fn required(path: impl Into<String>, detail: &str) -> Self {
        Self::new(path, ErrorKind::Required, None, detail)
    }

    pub fn forbidden(path: impl Into<String>, detail: &str) -> Self {
        Self::new(path, ErrorKind::Forbidden, None, detail)
    }

    pub fn duplicate(path: impl Into<String>, value: &Value) -> Self {
        Self::new(path, ErrorKind::Duplicate, Some(value), "")
    }

    pub fn not_found(path: impl Into<String>, value: &Value) -> Self {
        Self::new(path, ErrorKind::NotFound, Some(value), "")
    }

    /// The supported values are listed in the order given.
    pub fn not_supported<S: AsRef<str>>(
        path: impl Into<String>,
        value: &Value,
        supported: &[S],
    ) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| go::quoted(s.as_ref())).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(path, ErrorKind::NotSupported, Some(value), &detail)
    }

    pub fn too_long(path: impl Into<String>, max_bytes: u64) -> Self {
        let unit = if max_bytes == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max_bytes} {unit}");
        Self::new(path, ErrorKind::TooLong, None, &detail)
    }

    pub fn too_many(path: impl Into<String>, actual: u64, max: u64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self::new(path, ErrorKind::TooMany, Some(&actual.into()), &detail)
    }

    /// The value of `Status.details.causes[].reason`.
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for FieldError {}

/// A JSON value that a built-in kind cannot take; answered as 400 BadRequest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);
