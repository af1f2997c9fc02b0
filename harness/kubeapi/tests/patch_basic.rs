//! JSON patch, merge patch and strategic merge patch, with the API server's texts.

use kubeapi::patch::{self, PatchError};
use kubeapi::schema::{Gvk, builtin};
use rstest::rstest;
use serde_json::{Value, json};

fn strategic(kind: (&str, &str), doc: &Value, patch: &Value) -> Result<Value, PatchError> {
    let gvk = Gvk {
        group: kind.0.to_owned(),
        version: "v1".to_owned(),
        kind: kind.1.to_owned(),
    };
    let schema = builtin(&gvk).expect("a built-in kind");
    patch::strategic(&schema, doc, patch)
}

#[rstest]
#[case::add(json!([{"op": "add", "path": "/a/x~1y", "value": 1}]), json!({"a": {"x/y": 1}, "l": [1, 2]}))]
#[case::append(json!([{"op": "add", "path": "/l/-", "value": 3}]), json!({"a": {}, "l": [1, 2, 3]}))]
#[case::insert(json!([{"op": "add", "path": "/l/0", "value": 0}]), json!({"a": {}, "l": [0, 1, 2]}))]
#[case::remove(json!([{"op": "remove", "path": "/a"}]), json!({"l": [1, 2]}))]
#[case::replace(json!([{"op": "replace", "path": "/l/1", "value": 9}]), json!({"a": {}, "l": [1, 9]}))]
#[case::replace_nothing(json!([{"op": "replace", "path": "/n", "value": 9}]), json!({"a": {}, "l": [1, 2], "n": 9}))]
#[case::move_(json!([{"op": "move", "from": "/l", "path": "/a/m"}]), json!({"a": {"m": [1, 2]}}))]
#[case::copy(json!([{"op": "copy", "from": "/l/0", "path": "/a/c"}]), json!({"a": {"c": 1}, "l": [1, 2]}))]
#[case::copy_nothing(json!([{"op": "copy", "from": "/n", "path": "/m"}]), json!({"a": {}, "l": [1, 2], "m": null}))]
#[case::test(json!([{"op": "test", "path": "/l/0", "value": 1}, {"op": "test", "path": "/none", "value": null}]),
    json!({"a": {}, "l": [1, 2]}))]
fn json_patch_changes(#[case] ops: Value, #[case] expected: Value) {
    assert_eq!(
        patch::json(&json!({"a": {}, "l": [1, 2]}), &ops),
        Ok(expected)
    );
}

#[rstest]
#[case(json!([{"op": "test", "path": "/l/0", "value": 2}]), "testing value /l/0 failed: test failed")]
#[case(json!([{"op": "add", "path": "/n/x", "value": 2}]),
    r#"add operation does not apply: doc is missing path: "/n/x": missing value"#)]
#[case(json!([{"op": "remove", "path": "/n"}]),
    "error in remove for path: '/n': Unable to remove nonexistent key: n: missing value")]
#[case(json!([{"op": "remove", "path": "/l/7"}]),
    "error in remove for path: '/l/7': Unable to access invalid index: 7: invalid index referenced")]
#[case(json!([{"op": "replace", "path": "/n/x", "value": 1}]),
    "replace operation does not apply: doc is missing path: /n/x: missing value")]
#[case(json!([{"op": "replace", "path": "/l/7", "value": 1}]),
    "replace operation does not apply: doc is missing key: /l/7: missing value")]
#[case(json!([{"op": "hope", "path": "/n"}]), "Unexpected kind: hope")]
fn json_patch_refusals(#[case] ops: Value, #[case] expected: &str) {
    assert_eq!(
        patch::json(&json!({"l": [1, 2]}), &ops),
        Err(PatchError::Unprocessable(expected.to_owned()))
    );
}

#[test]
fn a_json_patch_is_a_list_of_bounded_length() {
    assert!(matches!(
        patch::json(&json!({}), &json!({})),
        Err(PatchError::BadRequest(_))
    ));
    let many = vec![json!({"op": "test", "path": "/a", "value": null}); 10_001];
    assert_eq!(
        patch::json(&json!({}), &many.into()),
        Err(PatchError::TooLarge(
            "The allowed maximum operations in a JSON patch is 10000, got 10001".to_owned()
        ))
    );
}

#[test]
fn merge_patch_replaces_lists_and_nulls_delete() {
    let doc = json!({"a": {"b": 1, "c": 2}, "l": [1, 2], "x": "y"});
    let patch = json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "l": [3], "x": null});
    assert_eq!(
        patch::merge(&doc, &patch),
        Ok(json!({"a": {"c": 2, "d": {"f": 1}}, "l": [3]}))
    );
    assert!(patch::merge(&doc, &json!([1])).is_err());
}

fn pod(containers: &Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[rstest]
#[case::merges_by_name(
    json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]),
    json!([{"name": "b", "image": "2"}]),
    json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]),
)]
#[case::new_items_go_first(
    json!([{"name": "a"}]),
    json!([{"name": "c"}]),
    json!([{"name": "c"}, {"name": "a"}]),
)]
#[case::delete(
    json!([{"name": "a"}, {"name": "b"}]),
    json!([{"name": "a", "$patch": "delete"}]),
    json!([{"name": "b"}]),
)]
#[case::replace(
    json!([{"name": "a"}, {"name": "b"}]),
    json!([{"name": "c"}, {"$patch": "replace"}]),
    json!([{"name": "c"}]),
)]
#[case::nested(
    json!([{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]),
    json!([{"name": "a", "env": [{"name": "Y", "$patch": "delete"}, {"name": "Z", "value": null}]}]),
    json!([{"name": "a", "env": [{"name": "Z", "value": null}, {"name": "X", "value": "1"}]}]),
)]
#[case::atomic_lists_are_replaced(
    json!([{"name": "a", "args": ["x", "y"]}]),
    json!([{"name": "a", "args": ["z"]}]),
    json!([{"name": "a", "args": ["z"]}]),
)]
#[case::replace_a_map(
    json!([{"name": "a", "resources": {"limits": {"cpu": "1"}}}]),
    json!([{"name": "a", "resources": {"$patch": "replace", "requests": {"cpu": "2"}}}]),
    json!([{"name": "a", "resources": {"requests": {"cpu": "2"}}}]),
)]
fn strategic_merge_of_containers(#[case] old: Value, #[case] patch: Value, #[case] new: Value) {
    assert_eq!(
        strategic(("", "Pod"), &pod(&old), &pod(&patch)),
        Ok(pod(&new))
    );
}

#[test]
fn an_order_places_merged_items() {
    let old = json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]);
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "x"}, {"name": "a"}],
        "containers": [{"name": "x", "image": "i"}],
    }});
    assert_eq!(
        strategic(("", "Pod"), &pod(&old), &patch),
        Ok(pod(
            &json!([{"name": "b"}, {"name": "c"}, {"name": "x", "image": "i"}, {"name": "a"}])
        ))
    );
}

#[test]
fn primitive_lists_merge_and_lose_what_is_named() {
    let doc = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let add = json!({"metadata": {"finalizers": ["d", "a"]}});
    assert_eq!(
        strategic(("", "ConfigMap"), &doc, &add),
        Ok(json!({"metadata": {"finalizers": ["d", "a", "b", "c"]}}))
    );
    let order = json!({"metadata": {
        "$deleteFromPrimitiveList/finalizers": ["b"],
        "$setElementOrder/finalizers": ["c", "a"],
    }});
    assert_eq!(
        strategic(("", "ConfigMap"), &doc, &order),
        Ok(json!({"metadata": {"finalizers": ["c", "a"]}}))
    );
}

#[test]
fn retain_keys_clears_the_rest() {
    let doc =
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(
        strategic(("apps", "Deployment"), &doc, &patch),
        Ok(json!({"spec": {"strategy": {"type": "Recreate"}}}))
    );
}

#[rstest]
#[case::retain(json!({"spec": {"$retainKeys": ["a"], "nodeName": "x"}}),
    PatchError::BadRequest("invalid patch format of retainKeys".to_owned()))]
#[case::no_key(json!({"spec": {"containers": [{"image": "x"}]}}),
    PatchError::Failed("map: map[image:x] does not contain declared merge key: name".to_owned()))]
#[case::directive(json!({"spec": {"$patch": "mend"}}),
    PatchError::Failed("unknown patch type: mend in map: map[$patch:mend]".to_owned()))]
#[case::order(json!({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}}),
    PatchError::BadRequest("invalid patch format of setElementOrder list".to_owned()))]
fn strategic_refusals(#[case] patch: Value, #[case] expected: PatchError) {
    assert_eq!(
        strategic(("", "Pod"), &pod(&json!([{"name": "a"}])), &patch),
        Err(expected)
    );
}
