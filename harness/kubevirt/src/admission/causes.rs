//! Paths of fields and the causes of refusals, in KubeVirt's words.

use std::fmt;

use kubeapi::{Cause, Reason, Status};

/// A path such as `spec.template.spec.domain.devices.disks[0].name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(String);

impl Path {
    pub(super) fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    /// `names` are separated by dots.
    pub(super) fn child(&self, names: &str) -> Self {
        Self(format!("{}.{names}", self.0))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn interface(&self, index: usize) -> Self {
        self.child("domain.devices.interfaces").index(index)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What is wrong with an object.
#[derive(Debug, Default)]
pub(super) struct Causes(Vec<Cause>);

impl Causes {
    pub(super) fn invalid(&mut self, field: &Path, message: impl Into<String>) {
        self.add("FieldValueInvalid", field, message);
    }

    pub(super) fn required(&mut self, field: &Path, message: impl Into<String>) {
        self.add("FieldValueRequired", field, message);
    }

    pub(super) fn duplicate(&mut self, field: &Path, message: impl Into<String>) {
        self.add("FieldValueDuplicate", field, message);
    }

    pub(super) fn not_found(&mut self, field: &Path, message: impl Into<String>) {
        self.add("FieldValueNotFound", field, message);
    }

    pub(super) fn unsupported(&mut self, field: &Path, message: impl Into<String>) {
        self.add("FieldValueNotSupported", field, message);
    }

    pub(super) fn forbidden(&mut self, field: &Path, message: impl Into<String>) {
        self.add("FieldValueForbidden", field, message);
    }

    /// About the object as a whole.
    pub(super) fn unsupported_object(&mut self, message: impl Into<String>) {
        self.push("FieldValueNotSupported", String::new(), message.into());
    }

    pub(super) fn required_somewhere(&mut self, message: impl Into<String>) {
        self.push("FieldValueRequired", String::new(), message.into());
    }

    fn add(&mut self, reason: &str, field: &Path, message: impl Into<String>) {
        self.push(reason, field.to_string(), message.into());
    }

    fn push(&mut self, reason: &str, field: String, message: String) {
        self.0.push(Cause {
            reason: reason.to_owned(),
            message,
            field,
        });
    }

    /// The refusal, if there is any cause for one. No more than ten causes are told.
    pub(super) fn refuse(mut self) -> Result<(), Status> {
        const TOLD: usize = 10;
        if self.0.is_empty() {
            return Ok(());
        }
        let more = self.0.len().saturating_sub(TOLD);
        self.0.truncate(TOLD);
        let mut messages: Vec<String> = self.0.iter().map(|cause| cause.message.clone()).collect();
        if more > 0 {
            messages.push(format!("and {more} more validation errors"));
        }
        Err(Status::new(422, Reason::Invalid, messages.join(", ")).with_causes(self.0))
    }
}

/// What KubeVirt answers when it fails before it has looked at the fields.
pub(super) fn failure(message: impl Into<String>) -> Status {
    Status::new(400, Reason::Unknown, message)
}
