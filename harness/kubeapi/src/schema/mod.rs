//! Structural schemas: what an object of a kind may hold, for built-in kinds (from the data file) and for custom
//! resources (from their definition).

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub(crate) mod builtin;
mod cel_value;
mod checks;
mod correlate;
mod decode;
mod default_values;
mod defaulting;
mod embedded;
mod error;
mod formats;
pub(crate) mod go;
mod go_form;
mod lists;
pub(crate) mod node;
mod parse;
pub(crate) mod path;
mod prune;
mod quantity;
mod required;
mod rules;
mod structural;
mod validate;

pub use builtin::builtin;
pub use error::{DecodeError, ErrorKind, FieldError};

use node::{Arena, NodeId};

/// Group, version and kind; the core group is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvk {
    pub group: String,
    pub version: String,
    pub kind: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Builtin,
    Custom,
}

/// The structural schema of one kind. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    arena: Arc<Arena>,
    root: NodeId,
    origin: Origin,
}

/// Builds the schema of a custom resource version from its `openAPIV3Schema`.
///
/// Error paths are relative to that document (`properties[spec].type`, empty for the document itself); the caller
/// puts `spec.validation.openAPIV3Schema` or `spec.versions[0].schema.openAPIV3Schema` in front.
pub fn from_crd(open_api_v3_schema: &Value) -> Result<Schema, Vec<FieldError>> {
    let errors = structural::check(open_api_v3_schema);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut parser = parse::Parser::new(&builtin::TYPES);
    let root = parser.schema(open_api_v3_schema);
    let mut node = parser.node_mut(root).clone();
    if !node.embedded {
        node.embedded = true;
        parser.imply_metadata(&mut node);
    }
    *parser.node_mut(root) = node;
    let arena = parser.finish();
    let errors = default_values::check(&arena, root);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Schema {
        arena: Arc::new(arena),
        root,
        origin: Origin::Custom,
    })
}

/// The tree is too large to be of use in a log.
impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("name", &self.arena[self.root].name)
            .finish_non_exhaustive()
    }
}

impl Schema {
    /// Removes what the schema does not know. Returns the paths removed (`spec.foo`), for
    /// `unknown field "spec.foo"`: of built-in kinds in the order of the document, of custom resources sorted,
    /// those of the metadata first.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut removed = prune::prune(&self.arena, self.root, object);
        if self.origin == Origin::Custom {
            // Metadata is looked at first.
            removed.sort_by_key(|path| (!path.starts_with("metadata."), path.clone()));
        }
        removed
    }

    /// Drops nulls that stand for nothing and fills in defaults.
    ///
    /// For built-in kinds this also writes what Go always writes (empty structs that are not behind a pointer, as in
    /// `status: {}`, and zeroes of fields without `omitempty`), leaves out what it does not (empty lists and maps,
    /// zeroes of fields with `omitempty`), and brings quantities into their canonical form.
    pub fn default(&self, object: &mut Value) {
        defaulting::default(&self.arena, self.root, object);
        if self.origin == Origin::Builtin {
            go_form::normalise(&self.arena, self.root, object);
        }
    }

    /// Checks that JSON types fit, as decoding into the Go type would; call before `prune`. Of custom resources that
    /// is their metadata, and that of resources embedded in them.
    pub fn decode(&self, object: &Value) -> Result<(), DecodeError> {
        match self.origin {
            Origin::Builtin => decode::check(&self.arena, self.root, object),
            Origin::Custom => decode::check_metadata(&self.arena, self.root, object),
        }
    }

    /// All violations by an object that was pruned and defaulted; `old` is what it replaces (for transition rules,
    /// and because what did not change is not held against an update).
    ///
    /// For built-in kinds only required fields are checked.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        if self.origin == Origin::Builtin {
            return required::validate(&self.arena, self.root, new);
        }
        let (arena, root) = (&*self.arena, self.root);
        let mut errors = validate::validate(arena, root, new, old);
        errors.extend(embedded::validate(arena, root, new));
        // A list that had duplicates before may keep them.
        if old.is_none_or(|old| lists::validate(arena, root, old).is_empty()) {
            errors.extend(lists::validate(arena, root, new));
        }
        if !arena[root].has_rules {
            return errors;
        }
        let blocking = errors.iter().any(|e| {
            matches!(
                e.kind,
                ErrorKind::NotSupported
                    | ErrorKind::Required
                    | ErrorKind::TooLong
                    | ErrorKind::TooMany
                    | ErrorKind::TypeInvalid
            )
        });
        if blocking {
            errors.push(FieldError::invalid(
                "",
                &Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing errors \
                 to complete validation",
            ));
        } else {
            errors.extend(rules::evaluate(arena, root, new, old));
        }
        errors
    }

    /// Makes of `{apiVersion, kind}` the object before anybody wrote to it.
    pub(crate) fn fill_empty(&self, object: &mut Value) {
        if self.origin == Origin::Builtin {
            self.default(object);
        }
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    pub(crate) fn root(&self) -> NodeId {
        self.root
    }
}
