use std::sync::Arc;

use serde_json::{Value, json};

use super::{ChangeKind, Entry, HISTORY, Key, Refused, Store};

fn object(namespace: &str, name: &str, n: u64) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "n": n})
}

fn revision(entry: &Entry) -> u64 {
    entry.object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

fn names(entries: &[Arc<Entry>]) -> Vec<String> {
    entries
        .iter()
        .map(|e| {
            format!(
                "{}/{}={}",
                e.object["metadata"]["namespace"].as_str().unwrap(),
                e.object["metadata"]["name"].as_str().unwrap(),
                e.object["n"]
            )
        })
        .collect()
}

#[test]
fn one_revision_counts_all_resources() {
    let store = Store::default();
    let (pods, nodes): (Arc<str>, Arc<str>) = ("pods".into(), "nodes".into());
    let a = store.create(&pods, object("x", "a", 1)).unwrap();
    let b = store.create(&nodes, object("", "b", 1)).unwrap();
    assert_eq!(revision(&a) + 1, revision(&b));
    assert_eq!(
        a.object["metadata"]["resourceVersion"],
        revision(&a).to_string()
    );
    assert_eq!(store.list("pods", None).revision, revision(&b));
}

#[test]
fn a_commit_based_on_an_old_state_is_refused() {
    let store = Store::default();
    let pods: Arc<str> = "pods".into();
    let first = store.create(&pods, object("x", "a", 1)).unwrap();
    assert_eq!(
        store.create(&pods, object("x", "a", 1)).unwrap_err(),
        Refused::Exists
    );
    store.update(&pods, &first, object("x", "a", 2)).unwrap();
    assert_eq!(
        store
            .update(&pods, &first, object("x", "a", 3))
            .unwrap_err(),
        Refused::Stale
    );
    assert_eq!(
        store.delete(&pods, &first, None).unwrap_err(),
        Refused::Stale
    );
}

#[test]
fn a_list_at_a_past_revision_is_what_was_there() {
    let store = Store::default();
    let pods: Arc<str> = "pods".into();
    let a = store.create(&pods, object("x", "a", 1)).unwrap();
    let b = store.create(&pods, object("y", "b", 1)).unwrap();
    let then = revision(&b);
    store.update(&pods, &a, object("x", "a", 2)).unwrap();
    store.delete(&pods, &b, None).unwrap();
    store.create(&pods, object("x", "c", 1)).unwrap();
    assert_eq!(names(&store.list("pods", None).entries), ["x/a=2", "x/c=1"]);
    assert_eq!(
        names(&store.list_at("pods", None, then).unwrap().entries),
        ["x/a=1", "y/b=1"]
    );
    assert_eq!(
        names(&store.list_at("pods", Some("x"), then).unwrap().entries),
        ["x/a=1"]
    );
}

#[test]
fn changes_are_ordered_and_a_deletion_has_a_revision_of_its_own() {
    let store = Store::default();
    let pods: Arc<str> = "pods".into();
    let a = store.create(&pods, object("x", "a", 1)).unwrap();
    let gone = store.delete(&pods, &a, None).unwrap();
    let since = store.since("pods", 1).unwrap();
    let kinds: Vec<_> = since.changes.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Deleted]);
    assert!(revision(&gone) > revision(&a));
    assert!(
        store
            .since("pods", since.revision)
            .unwrap()
            .changes
            .is_empty()
    );
    assert!(store.get("pods", &Key::new("x", "a")).is_none());
}

#[test]
fn forgotten_history_is_too_old() {
    let store = Store::default();
    let pods: Arc<str> = "pods".into();
    let mut entry = store.create(&pods, object("x", "a", 0)).unwrap();
    let first = revision(&entry);
    for n in 0..HISTORY as u64 {
        entry = store.update(&pods, &entry, object("x", "a", n)).unwrap();
    }
    assert!(store.since("pods", first).is_ok());
    assert_eq!(store.since("pods", first - 1).unwrap_err().oldest, first);
    assert!(store.list_at("pods", None, first - 1).is_err());
    assert!(store.since("pods", revision(&entry)).is_ok());
}
