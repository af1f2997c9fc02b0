//! Everything that changes objects.

pub mod admit;
pub mod binding;
pub mod create;
pub mod delete;
pub mod metadata;
pub mod patch;
pub mod scale;
pub mod update;

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::convert;
use crate::object;
use crate::registry::Served;
use crate::registry::builtin::CERTIFICATE_REQUESTS;
use crate::request::WriteOptions;
use crate::schema::FieldError;
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::Entry;
use admit::Requester;

/// Where a write goes and how it is made.
#[derive(Debug)]
pub struct Write<'a> {
    pub core: &'a Core,
    pub served: &'a Served,
    pub namespace: Option<&'a str>,
    pub options: &'a WriteOptions,
    pub requester: Option<Requester<'a>>,
}

/// Which part of an object an endpoint writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Main,
    Status,
    /// The whole object through a special subresource, by its name.
    View(&'static str),
}

impl Part {
    pub fn subresource(self) -> Option<&'static str> {
        match self {
            Self::Main => None,
            Self::Status => Some("status"),
            Self::View(name) => Some(name),
        }
    }
}

/// What a write left behind.
#[derive(Debug)]
pub enum Outcome {
    Stored(Arc<Entry>),
    /// A dry run: what would have been stored.
    Dry(Value),
}

impl Outcome {
    /// As stored.
    pub fn object(&self) -> &Value {
        match self {
            Self::Stored(entry) => &entry.object,
            Self::Dry(object) => object,
        }
    }

    /// In the version of the request.
    pub fn shown(&self, served: &Served) -> Cow<'_, Value> {
        convert::from_stored(served, self.object())
    }
}

impl Write<'_> {
    fn group(&self) -> &str {
        &self.served.resource.group
    }

    fn plural(&self) -> &str {
        &self.served.resource.plural
    }

    /// The namespace of the objects this writes.
    fn own_namespace(&self) -> Option<&str> {
        self.namespace.filter(|_| self.served.resource.namespaced)
    }

    fn invalid(&self, object: &Value, mut errors: Vec<FieldError>) -> Result<(), Status> {
        let mut seen = Vec::with_capacity(errors.len());
        errors.retain(|error| {
            let new = !seen.contains(error);
            if new {
                seen.push(error.clone());
            }
            new
        });
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(
            self.group(),
            &self.served.resource.kind,
            object::name(object),
            &errors,
        ))
    }

    /// Defaults of the schema and of the kind.
    fn default(&self, object: &mut Value) {
        if let Some(schema) = &self.served.version().schema {
            schema.default(object);
        }
        self.served.strategy().default(object);
    }

    /// Violations of the schema and of the kind's own rules.
    fn violations(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = match &self.served.version().schema {
            Some(_) if self.served.strategy().says_what_is_required() => Vec::new(),
            Some(schema) => schema.validate(new, old),
            None => Vec::new(),
        };
        errors.extend(self.served.strategy().validate(new));
        if let Some(old) = old {
            errors.extend(self.served.strategy().validate_update(new, old));
        }
        errors
    }

    /// Who owns the fields of this write, for managedFields.
    fn writer<'a>(&'a self, part: Part, reset: &'a [&'a str]) -> crate::patch::Writer<'a> {
        crate::patch::Writer {
            manager: &self.options.manager,
            subresource: part.subresource(),
            now: Timestamp::now(),
            schema: self.served.version().schema.as_deref(),
            reset,
        }
    }

    /// The paths an endpoint resets and so never owns.
    fn reset(&self, part: Part) -> &'static [&'static str] {
        let custom = self.served.resource.is_custom();
        match part {
            Part::Main if &*self.served.resource.storage == CERTIFICATE_REQUESTS => {
                &["spec", "status"]
            }
            Part::Main if self.served.version().has_status() => &["status"],
            Part::Main | Part::View(_) => &[],
            Part::Status if custom => &["metadata", "spec"],
            Part::Status if self.plural() == "deployments" => &["spec", "metadata.labels"],
            Part::Status if self.plural() == "pods" => &[
                "spec",
                "metadata.deletionTimestamp",
                "metadata.ownerReferences",
            ],
            Part::Status => &["spec"],
        }
    }
}
