//! The four patch types, and the ownership of fields. Pure: documents in, documents out.

use jiff::Timestamp;
use serde_json::Value;

use crate::schema::Schema;

mod fields_v1;
mod fieldset;
mod jsonpatch;
mod managed;
mod merging;
mod ownership;
mod strategic;
mod typed;
mod walk;

/// A patch that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed: 400 BadRequest.
    #[error("{0}")]
    BadRequest(String),
    /// The patch is well formed but does not fit the object: 422 Invalid.
    #[error("{0}")]
    Unprocessable(String),
    /// The patch has too many operations: 413 RequestEntityTooLarge.
    #[error("{0}")]
    TooLarge(String),
    /// Everything else, which upstream answers with 500 and no reason.
    #[error("{0}")]
    Failed(String),
}

/// What Go's decoder says of a patch that should be an object.
fn not_an_object(patch: &Value) -> String {
    let kind = match patch {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Null | Value::Object(_) => "null",
    };
    format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
}

/// RFC 6902; `ops` is the array of operations.
pub fn json(doc: &Value, ops: &Value) -> Result<Value, PatchError> {
    jsonpatch::json(doc, ops)
}

/// RFC 7386.
pub fn merge(doc: &Value, patch: &Value) -> Result<Value, PatchError> {
    jsonpatch::merge(doc, patch)
}

/// Strategic merge patch: lists merge by the schema's patch strategy and merge key. Nulls in what the patch adds are
/// dropped.
pub fn strategic(schema: &Schema, doc: &Value, patch: &Value) -> Result<Value, PatchError> {
    strategic::strategic(schema, doc, patch)
}

/// Who writes, when, and through which endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    pub manager: &'a str,
    pub subresource: Option<&'a str>,
    pub now: Timestamp,
    /// None: an object without a schema; ownership is deduced from its shape.
    pub schema: Option<&'a Schema>,
    /// Dotted paths this endpoint resets and so never owns: `["status"]` at the main endpoint of a kind with a status
    /// subresource, `["spec"]` at `/status`.
    pub reset: &'a [&'a str],
}

/// A server-side apply.
#[derive(Debug, Clone, Copy)]
pub struct ApplyRequest<'a> {
    /// The stored object with its managedFields; None when apply creates.
    pub live: Option<&'a Value>,
    /// What the manager sent.
    pub applied: &'a Value,
    pub force: bool,
    pub writer: Writer<'a>,
}

/// The merged object, managedFields included. Not defaulted, not validated. Equal to the live object when nothing
/// changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub object: Value,
}

/// One field another manager owns with a different value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `conflict with "manager" using v1` (`with subresource "status"` when it has one).
    pub message: String,
    /// `.spec.replicas`
    pub field: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// 409 Conflict; the text is the Status message, `causes` are `FieldManagerConflict`s.
    #[error("{message}")]
    Conflicts {
        message: String,
        causes: Vec<Conflict>,
    },
    /// 400 BadRequest.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not fit the schema, which upstream answers with 500 and no reason.
    #[error("{0}")]
    Invalid(String),
}

/// Server-side apply.
pub fn apply(request: &ApplyRequest<'_>) -> Result<Applied, ApplyError> {
    ownership::apply(request)
}

/// Bookkeeping of every other write (create, update, the other patches): sets `metadata.managedFields` of `new`.
///
/// Call it with defaults filled in and before the server sets fields of its own (cluster IPs, status): those belong
/// to nobody.
pub fn track_update(old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    ownership::track(old, new, writer);
}
