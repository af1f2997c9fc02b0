//! The kinds of Kubernetes 1.34 itself, from the data file that `examples/derive-schemas.rs` writes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::node::{Arena, NodeId};
use super::parse::Parser;
use super::{Gvk, Schema};

pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(crate) const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
pub(crate) const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";

static DATA: &[u8] = include_bytes!("../../data/kubernetes-1.34.json.zst");

/// The types of the data file by full name (`io.k8s.api.core.v1.Pod`), as documents.
pub(crate) static TYPES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let json = zstd::stream::decode_all(DATA).expect("the embedded data is valid zstd");
    serde_json::from_slice(&json).expect("the embedded data is a JSON object")
});

struct Kinds {
    arena: Arc<Arena>,
    by_kind: HashMap<Gvk, NodeId>,
}

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let mut parser = Parser::new(&TYPES);
    let mut by_kind = HashMap::new();
    for (name, schema) in TYPES.iter() {
        let id = parser.named(name).expect("the name was just listed");
        for gvk in kinds(schema) {
            by_kind.insert(gvk, id);
        }
    }
    Kinds {
        arena: Arc::new(parser.finish()),
        by_kind,
    }
});

/// The kinds a type document stands for.
pub(crate) fn kinds(schema: &Value) -> impl Iterator<Item = Gvk> + '_ {
    let text = |v: &Value, field: &str| v[field].as_str().unwrap_or_default().to_owned();
    schema
        .get("x-kubernetes-group-version-kind")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(move |v| Gvk {
            group: text(v, "group"),
            version: text(v, "version"),
            kind: text(v, "kind"),
        })
}

/// The schema of a kind Kubernetes itself defines; None for anything else.
pub fn builtin(gvk: &Gvk) -> Option<Arc<Schema>> {
    let root = *KINDS.by_kind.get(gvk)?;
    Some(Arc::new(Schema {
        arena: Arc::clone(&KINDS.arena),
        root,
        origin: super::Origin::Builtin,
    }))
}
