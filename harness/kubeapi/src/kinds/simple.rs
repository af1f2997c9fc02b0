//! Kinds whose rules fit in a line each.

use serde_json::Value;

use super::Strategy;
use crate::schema::FieldError;

/// The rules of such a kind; [`SIMPLE`] has none, the others say what is different.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // independent of each other, as the methods of a strategy are
pub struct Simple {
    pub counts_generation: bool,
    pub returns_deleted: bool,
    /// Whether a change without a resourceVersion is accepted.
    pub unconditional: bool,
    pub creates_on_update: bool,
    pub default: fn(&mut Value),
    pub prepare_create: fn(&mut Value),
    pub validate: fn(&Value) -> Vec<FieldError>,
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
}

pub const SIMPLE: Simple = Simple {
    counts_generation: false,
    returns_deleted: false,
    unconditional: true,
    creates_on_update: false,
    default: |_| {},
    prepare_create: |object| {
        crate::object::remove(object, &["status"]);
    },
    validate: |_| Vec::new(),
    validate_update: |_, _| Vec::new(),
};

impl std::fmt::Debug for Simple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Simple")
    }
}

impl Strategy for Simple {
    fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        (self.prepare_create)(object);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        (self.validate)(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        (self.validate_update)(new, old)
    }

    fn counts_generation(&self) -> bool {
        self.counts_generation
    }

    fn returns_deleted(&self) -> bool {
        self.returns_deleted
    }

    fn allows_unconditional_update(&self) -> bool {
        self.unconditional
    }

    fn allows_create_on_update(&self) -> bool {
        self.creates_on_update
    }
}
