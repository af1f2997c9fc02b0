//! Laws of apply and of strategic merge patch, on generated objects.

use jiff::Timestamp;
use kubeapi::patch::{self, ApplyError, ApplyRequest, Writer};
use kubeapi::schema::{Gvk, Schema, builtin};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn service_schema() -> Schema {
    let gvk = Gvk {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Service".to_owned(),
    };
    builtin(&gvk).expect("a built-in kind").as_ref().clone()
}

fn apply(
    schema: &Schema,
    manager: &str,
    live: Option<&Value>,
    applied: &Value,
    force: bool,
) -> Result<Value, ApplyError> {
    patch::apply(&ApplyRequest {
        live,
        applied,
        force,
        writer: Writer {
            manager,
            subresource: None,
            now: Timestamp::UNIX_EPOCH,
            schema: Some(schema),
            reset: &["status"],
        },
    })
    .map(|applied| applied.object)
}

fn small_map() -> impl Strategy<Value = Value> {
    btree_map("[a-c]", "[x-y]", 1..3).prop_map(|map| {
        map.into_iter()
            .map(|(k, v)| (k, Value::from(v)))
            .collect::<Map<_, _>>()
            .into()
    })
}

/// Services with what apply distinguishes: scalars, maps, atomic maps, map lists with a defaulted key, sets.
fn service() -> impl Strategy<Value = Value> {
    let port = (
        80..83_u16,
        prop::option::of(prop_oneof!["TCP", "UDP"]),
        prop::option::of("[a-c]"),
    );
    // Empty lists and maps are left out: Go does not store them.
    let ports = vec(port, 1..4).prop_map(|ports| {
        let mut seen = std::collections::BTreeSet::new();
        ports
            .into_iter()
            .filter(|(port, protocol, _)| {
                seen.insert((*port, protocol.clone().unwrap_or_else(|| "TCP".to_owned())))
            })
            .map(|(port, protocol, name)| {
                let mut item = json!({"port": port});
                if let Some(protocol) = protocol {
                    item["protocol"] = protocol.into();
                }
                if let Some(name) = name {
                    item["name"] = name.into();
                }
                item
            })
            .collect::<Vec<_>>()
    });
    (
        prop::option::of(prop_oneof!["ClusterIP", "NodePort"]),
        prop::option::of(small_map()),
        prop::option::of(small_map()),
        prop::option::of(ports),
        prop::option::of(btree_set("[a-c]/[a-c]", 1..3)),
    )
        .prop_map(|(kind, labels, selector, ports, finalizers)| {
            let mut object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}});
            if let Some(kind) = kind {
                object["spec"]["type"] = kind.into();
            }
            if let Some(labels) = labels {
                object["metadata"]["labels"] = labels;
            }
            if let Some(selector) = selector {
                object["spec"]["selector"] = selector;
            }
            if let Some(ports) = ports {
                object["spec"]["ports"] = ports.into();
            }
            if let Some(finalizers) = finalizers {
                object["metadata"]["finalizers"] = finalizers.into_iter().collect();
            }
            object
        })
}

/// managedFields without the times.
fn owners(object: &Value) -> Value {
    let mut entries = object["metadata"]["managedFields"].clone();
    for entry in entries.as_array_mut().into_iter().flatten() {
        entry["time"] = Value::Null;
    }
    entries
}

/// Whether two ports have the same number, which strategic merge patch cannot tell apart.
fn ambiguous(service: &Value) -> bool {
    let ports = service["spec"]["ports"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    (0..ports.len()).any(|i| ports[..i].iter().any(|p| p["port"] == ports[i]["port"]))
}

/// Every scalar and every key the applied side sets is in the result.
fn contains(result: &Value, applied: &Value) -> bool {
    match (result, applied) {
        (Value::Object(result), Value::Object(applied)) => applied.iter().all(|(name, value)| {
            let hollow = value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty);
            hollow || result.get(name).is_some_and(|r| contains(r, value))
        }),
        (Value::Array(result), Value::Array(applied)) => applied
            .iter()
            .all(|item| result.iter().any(|r| contains(r, item))),
        _ => result == applied,
    }
}

proptest! {
    #[test]
    fn apply_is_idempotent(a in service(), b in service()) {
        let schema = service_schema();
        let live = apply(&schema, "alice", None, &a, false).expect("no other manager");
        let live = apply(&schema, "bob", Some(&live), &b, true).expect("forced");
        let again = apply(&schema, "bob", Some(&live), &b, false).expect("bob owns what he applied");
        prop_assert_eq!(&again, &live);
    }

    #[test]
    fn what_is_applied_is_there(a in service(), b in service()) {
        let schema = service_schema();
        let live = apply(&schema, "alice", None, &a, false).expect("no other manager");
        let live = apply(&schema, "bob", Some(&live), &b, true).expect("forced");
        prop_assert!(contains(&live, &b), "{live} lacks something of {b}");
    }

    #[test]
    fn one_manager_never_conflicts_with_itself(configurations in vec(service(), 1..5)) {
        let schema = service_schema();
        let mut live = None;
        for configuration in &configurations {
            live = Some(apply(&schema, "alice", live.as_ref(), configuration, false).expect("no conflict"));
        }
        let live = live.expect("at least one");
        let last = configurations.last().expect("at least one");
        let fresh = apply(&schema, "alice", None, last, false).expect("no other manager");
        prop_assert_eq!(owners(&live), owners(&fresh));
    }

    #[test]
    fn giving_everything_up_and_applying_it_again_restores_it(a in service(), b in service()) {
        let schema = service_schema();
        let live = apply(&schema, "alice", None, &a, false).expect("no other manager");
        let both = apply(&schema, "bob", Some(&live), &b, true).expect("forced");
        let nothing = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}});
        let without = apply(&schema, "bob", Some(&both), &nothing, false).expect("giving up never conflicts");
        let again = apply(&schema, "bob", Some(&without), &b, true).expect("forced");
        prop_assert!(contains(&again, &b), "{again} lacks something of {b}");
        prop_assert_eq!(owners(&again), owners(&both));
    }

    #[test]
    fn agreeing_never_conflicts(a in service()) {
        let schema = service_schema();
        let live = apply(&schema, "alice", None, &a, false).expect("no other manager");
        let live = apply(&schema, "bob", Some(&live), &a, false).expect("same values");
        prop_assert!(contains(&live, &a));
    }

    #[test]
    fn a_strategic_patch_with_the_whole_object_sets_it(a in service(), b in service()) {
        prop_assume!(!ambiguous(&a) && !ambiguous(&b));
        let schema = service_schema();
        let patched = patch::strategic(&schema, &a, &b).expect("a valid patch");
        prop_assert!(contains(&patched, &b), "{patched} lacks something of {b}");
        let again = patch::strategic(&schema, &patched, &b).expect("a valid patch");
        prop_assert_eq!(again, patched);
    }

    #[test]
    fn a_merge_patch_of_the_difference_gives_the_target(a in service(), b in service()) {
        let patched = patch::merge(&a, &difference(&a, &b)).expect("an object");
        prop_assert_eq!(patched, b);
    }
}

/// The merge patch that turns one value into another.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let mut patch: Map<String, Value> = from
        .keys()
        .filter(|name| !to.contains_key(*name))
        .map(|name| (name.clone(), Value::Null))
        .collect();
    for (name, value) in to {
        match from.get(name) {
            Some(old) if old == value => {}
            Some(old) => {
                patch.insert(name.clone(), difference(old, value));
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    patch.into()
}
