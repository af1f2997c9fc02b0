//! Removal of fields a schema does not know.

use serde_json::{Map, Value};

use super::node::{Additional, Arena, Node, NodeId};
use super::path;

const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Prunes `object` and returns the paths removed, in the order of the document.
pub(super) fn prune(arena: &Arena, root: NodeId, object: &mut Value) -> Vec<String> {
    let mut pruner = Pruner {
        arena,
        removed: Vec::new(),
    };
    pruner.value(object, Some(root), "");
    pruner.removed
}

struct Pruner<'a> {
    arena: &'a Arena,
    removed: Vec<String>,
}

impl Pruner<'_> {
    fn value(&mut self, value: &mut Value, id: Option<NodeId>, at: &str) {
        let node = id.map(|id| &self.arena[id]);
        match value {
            Value::Object(map) => {
                if let Some(node) = node {
                    self.map(map, node, at);
                } else {
                    self.removed.extend(map.keys().map(|k| path::child(at, k)));
                    map.clear();
                }
            }
            Value::Array(items) => {
                let element = node.and_then(|n| n.items);
                let keep = node.is_some_and(|n| n.preserve_unknown) && element.is_none();
                if keep {
                    return;
                }
                for (i, item) in items.iter_mut().enumerate() {
                    self.value(item, element, &path::index(at, i));
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, map: &mut Map<String, Value>, node: &Node, at: &str) {
        // In the order of the document, as a decoder comes upon them.
        let names: Vec<String> = map.keys().cloned().collect();
        for name in names {
            let known = match (node.properties.get(&name), node.additional) {
                (Some(id), _) => Some(Some(*id)),
                (None, Additional::Schema(id)) => Some(Some(id)),
                (None, Additional::Anything) if !node.preserve_unknown => Some(None),
                _ => None,
            };
            let kept = node.preserve_unknown
                || node.additional == Additional::Anything
                || (node.embedded && META_FIELDS.contains(&name.as_str()));
            let place = path::child(at, &name);
            match (known, map.get_mut(&name)) {
                (Some(id), Some(value)) => self.value(value, id, &place),
                _ if kept => {}
                _ => {
                    map.shift_remove(&name);
                    self.removed.push(place);
                }
            }
        }
    }
}
