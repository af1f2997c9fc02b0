//! Whether the defaults of a custom resource's schema are values of that schema.

use super::error::FieldError;
use super::node::{Arena, NodeId};
use super::{path, prune, rules, validate};

/// All violations; paths are the document's (`properties[spec].default`).
pub(super) fn check(arena: &Arena, root: NodeId) -> Vec<FieldError> {
    let mut errors = Vec::new();
    visit(arena, root, "", &mut errors);
    errors
}

fn visit(arena: &Arena, id: NodeId, at: &str, errors: &mut Vec<FieldError>) {
    let node = &arena[id];
    if let Some(default) = &node.default {
        let place = path::child(at, "default");
        if !prune::prune(arena, id, &mut default.clone()).is_empty() {
            errors.push(FieldError::invalid(
                place.clone(),
                default,
                "must not have unknown fields",
            ));
        }
        let mut found = validate::validate(arena, id, default, None);
        if found.is_empty() {
            found = rules::evaluate(arena, id, default, None);
        }
        errors.extend(found.into_iter().map(|error| FieldError {
            path: if error.path == "<nil>" {
                place.clone()
            } else {
                path::child(&place, &error.path)
            },
            ..error
        }));
    }
    if let Some(items) = node.items {
        visit(arena, items, &path::child(at, "items"), errors);
    }
    for (name, property) in &node.properties {
        // Metadata is the server's own.
        if node.embedded && name == "metadata" {
            continue;
        }
        let properties = path::child(at, "properties");
        visit(arena, *property, &path::key(&properties, name), errors);
    }
}
