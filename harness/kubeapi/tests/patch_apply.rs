//! Server-side apply and field ownership.

use jiff::Timestamp;
use kubeapi::patch::{self, Applied, ApplyError, ApplyRequest, Writer};
use kubeapi::schema::{Gvk, Schema, builtin, from_crd};
use rstest::rstest;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("in range")
}

fn schema(group: &str, kind: &str) -> Schema {
    let gvk = Gvk {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
    };
    builtin(&gvk).expect("a built-in kind").as_ref().clone()
}

struct Server {
    schema: Option<Schema>,
    reset: &'static [&'static str],
    second: i64,
}

impl Server {
    fn new(schema: Option<Schema>) -> Self {
        Self {
            schema,
            reset: &["status"],
            second: 0,
        }
    }

    fn writer<'a>(&'a self, manager: &'a str) -> Writer<'a> {
        Writer {
            manager,
            subresource: None,
            now: at(self.second),
            schema: self.schema.as_ref(),
            reset: self.reset,
        }
    }

    fn try_apply(
        &self,
        manager: &str,
        live: Option<&Value>,
        applied: &Value,
        force: bool,
    ) -> Result<Value, ApplyError> {
        patch::apply(&ApplyRequest {
            live,
            applied,
            force,
            writer: self.writer(manager),
        })
        .map(|Applied { object }| object)
    }

    fn apply(&self, manager: &str, live: Option<&Value>, applied: &Value) -> Value {
        self.try_apply(manager, live, applied, false)
            .unwrap_or_else(|e| panic!("{manager} applies {applied}: {e}"))
    }

    fn update(&self, manager: &str, old: Option<&Value>, new: &Value) -> Value {
        let mut new = new.clone();
        if let Some(schema) = &self.schema {
            schema.default(&mut new);
        }
        patch::track_update(old, &mut new, &self.writer(manager));
        new
    }
}

fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": spec})
}

fn config(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}, "data": data})
}

/// `(manager, operation, fieldsV1)` of every entry.
fn owners(object: &Value) -> Vec<(String, String, Value)> {
    let text = |v: &Value, name: &str| v[name].as_str().unwrap_or_default().to_owned();
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            (
                text(entry, "manager"),
                text(entry, "operation"),
                entry["fieldsV1"].clone(),
            )
        })
        .collect()
}

fn owner(manager: &str, operation: &str, fields: Value) -> (String, String, Value) {
    (manager.to_owned(), operation.to_owned(), fields)
}

#[test]
fn apply_owns_what_it_says() {
    let server = Server::new(Some(schema("apps", "Deployment")));
    let applied = deployment(&json!({
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{
                "name": "nginx", "image": "nginx",
                "ports": [{"containerPort": 80}],
                "args": ["a", "b"],
            }]},
        },
    }));
    let object = server.apply("kubectl", None, &applied);
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "kubectl",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2023-11-14T22:13:20Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {"f:containers": {"k:{\"name\":\"nginx\"}": {
                        ".": {},
                        "f:args": {},
                        "f:image": {},
                        "f:name": {},
                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                            ".": {}, "f:containerPort": {},
                        }},
                    }}},
                },
            }},
        }])
    );
    assert_eq!(object["spec"]["template"], applied["spec"]["template"]);
}

#[test]
fn create_by_update_owns_structs_by_their_fields() {
    let server = Server::new(Some(schema("", "Pod")));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": "u", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "restartPolicy": "Always", "securityContext": {}},
        "status": {"phase": "Pending"},
    });
    let object = server.update("kubectl-run", None, &pod);
    assert_eq!(
        owners(&object),
        [owner(
            "kubectl-run",
            "Update",
            json!({
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {"k:{\"name\":\"c\"}": {
                        ".": {},
                        "f:image": {},
                        "f:name": {},
                        "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                            ".": {}, "f:containerPort": {}, "f:protocol": {},
                        }},
                        "f:resources": {},
                    }},
                    "f:restartPolicy": {},
                    "f:securityContext": {},
                },
            })
        )]
    );
}

#[test]
fn changing_what_another_manager_owns_is_a_conflict() {
    let mut server = Server::new(Some(schema("apps", "Deployment")));
    let base = deployment(&json!({"replicas": 2, "paused": true}));
    let live = server.apply("alice", None, &base);
    server.second = 10;
    let other = deployment(&json!({"replicas": 3}));
    match server.try_apply("bob", Some(&live), &other, false) {
        Err(ApplyError::Conflicts { message, causes }) => {
            assert_eq!(
                message,
                "Apply failed with 1 conflict: conflict with \"alice\": .spec.replicas"
            );
            assert_eq!(causes.len(), 1);
            assert_eq!(causes[0].message, "conflict with \"alice\"");
            assert_eq!(causes[0].field, ".spec.replicas");
        }
        other => panic!("no conflict: {other:?}"),
    }
    let forced = server
        .try_apply("bob", Some(&live), &other, true)
        .expect("forced");
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(
        owners(&forced),
        [
            owner("alice", "Apply", json!({"f:spec": {"f:paused": {}}})),
            owner("bob", "Apply", json!({"f:spec": {"f:replicas": {}}})),
        ]
    );
}

#[test]
fn conflicts_with_updaters_name_the_version_and_are_grouped() {
    let mut server = Server::new(Some(schema("apps", "Deployment")));
    let live = server.apply(
        "alice",
        None,
        &deployment(&json!({"replicas": 2, "minReadySeconds": 1})),
    );
    server.second = 1;
    let mut changed = live.clone();
    changed["spec"]["replicas"] = json!(5);
    changed["spec"]["paused"] = json!(true);
    let live = server.update("kubectl-scale", Some(&live), &changed);
    let applied = deployment(&json!({"replicas": 2, "minReadySeconds": 3, "paused": false}));
    match server.try_apply("carol", Some(&live), &applied, false) {
        Err(ApplyError::Conflicts { message, causes }) => {
            assert_eq!(
                message,
                "Apply failed with 3 conflicts: conflicts with \"alice\":\n- .spec.minReadySeconds\n\
                 conflicts with \"kubectl-scale\" using apps/v1:\n- .spec.paused\n- .spec.replicas"
            );
            let messages: Vec<&str> = causes.iter().map(|c| c.message.as_str()).collect();
            assert_eq!(
                messages,
                [
                    "conflict with \"alice\"",
                    "conflict with \"kubectl-scale\" using apps/v1",
                    "conflict with \"kubectl-scale\" using apps/v1",
                ]
            );
        }
        other => panic!("no conflicts: {other:?}"),
    }
}

#[test]
fn agreeing_shares_a_field_and_giving_up_leaves_it_to_the_other() {
    let mut server = Server::new(Some(schema("", "ConfigMap")));
    let live = server.apply("alice", None, &config(&json!({"a": "1", "b": "2"})));
    server.second = 1;
    let live = server.apply("bob", Some(&live), &config(&json!({"a": "1", "c": "3"})));
    assert_eq!(live["data"], json!({"a": "1", "b": "2", "c": "3"}));
    assert_eq!(
        owners(&live),
        [
            owner("alice", "Apply", json!({"f:data": {"f:a": {}, "f:b": {}}})),
            owner("bob", "Apply", json!({"f:data": {"f:a": {}, "f:c": {}}})),
        ]
    );
    server.second = 2;
    // Alice gives up both: b goes, a stays with bob.
    let live = server.apply("alice", Some(&live), &config(&json!({})));
    assert_eq!(live["data"], json!({"a": "1", "c": "3"}));
}

#[test]
fn a_manager_that_applies_nothing_more_disappears() {
    let mut server = Server::new(Some(schema("", "ConfigMap")));
    let live = server.apply("alice", None, &config(&json!({"a": "1"})));
    server.second = 1;
    let live = server.apply("bob", Some(&live), &config(&json!({"b": "1"})));
    server.second = 2;
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}});
    let live = server.apply("alice", Some(&live), &nothing);
    assert_eq!(live["data"], json!({"b": "1"}));
    assert_eq!(
        owners(&live),
        [owner("bob", "Apply", json!({"f:data": {"f:b": {}}}))]
    );
}

#[test]
fn items_of_map_lists_come_and_go_by_key() {
    let mut server = Server::new(Some(schema("", "Service")));
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let live = server.apply(
        "alice",
        None,
        &service(json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}])),
    );
    server.second = 1;
    let live = server.apply(
        "bob",
        Some(&live),
        &service(json!([{"port": 53, "protocol": "UDP", "name": "dns"}])),
    );
    let names = |object: &Value| -> Vec<String> {
        object["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| p["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names(&live), ["http", "https", "dns"]);
    server.second = 2;
    // The protocol was defaulted; the same port under TCP is the same item.
    let live = server.apply(
        "alice",
        Some(&live),
        &service(json!([{"port": 443, "protocol": "TCP", "name": "https"}])),
    );
    assert_eq!(names(&live), ["https", "dns"]);
}

#[test]
fn sets_are_owned_value_by_value() {
    let mut server = Server::new(Some(schema("", "ConfigMap")));
    let with = |finalizers: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "finalizers": finalizers}});
    let live = server.apply("alice", None, &with(json!(["example.org/a"])));
    server.second = 1;
    let live = server.apply("bob", Some(&live), &with(json!(["example.org/b"])));
    assert_eq!(
        live["metadata"]["finalizers"],
        json!(["example.org/a", "example.org/b"])
    );
    assert_eq!(
        owners(&live)[1],
        owner(
            "bob",
            "Apply",
            json!({"f:metadata": {"f:finalizers": {"v:\"example.org/b\"": {}}}})
        )
    );
    server.second = 2;
    let live = server.apply("alice", Some(&live), &with(json!([])));
    assert_eq!(live["metadata"]["finalizers"], json!(["example.org/b"]));
}

#[test]
fn atomic_values_have_one_owner() {
    let mut server = Server::new(Some(schema("apps", "Deployment")));
    let selector = |labels: Value| deployment(&json!({"selector": {"matchLabels": labels}}));
    let live = server.apply("alice", None, &selector(json!({"a": "1"})));
    server.second = 1;
    match server.try_apply("bob", Some(&live), &selector(json!({"b": "1"})), false) {
        Err(ApplyError::Conflicts { causes, .. }) => assert_eq!(causes[0].field, ".spec.selector"),
        other => panic!("no conflict: {other:?}"),
    }
    let live = server
        .try_apply("bob", Some(&live), &selector(json!({"b": "1"})), true)
        .expect("forced");
    assert_eq!(live["spec"]["selector"], json!({"matchLabels": {"b": "1"}}));
    assert_eq!(
        owners(&live),
        [owner("bob", "Apply", json!({"f:spec": {"f:selector": {}}}))]
    );
}

#[test]
fn kubectl_takes_over_what_client_side_apply_had_set() {
    let mut server = Server::new(Some(schema("", "ConfigMap")));
    let mut object = config(&json!({"a": "1", "b": "1"}));
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration":
        r#"{"apiVersion":"v1","data":{"a":"1"},"kind":"ConfigMap","metadata":{"name":"c","namespace":"default"}}"#});
    let live = server.update("kubectl-client-side-apply", None, &object);
    server.second = 1;
    let applied = config(&json!({"a": "2"}));
    assert!(matches!(
        server.try_apply("someone", Some(&live), &applied, false),
        Err(ApplyError::Conflicts { .. })
    ));
    let live = server.apply("kubectl", Some(&live), &applied);
    assert_eq!(live["data"], json!({"a": "2", "b": "1"}));
    assert_eq!(
        live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"],
        "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"namespace\":\"default\"}}\n"
    );
    // What differs from the annotation is a conflict for kubectl, too.
    assert!(matches!(
        server.try_apply("kubectl", Some(&live), &config(&json!({"b": "2"})), false),
        Err(ApplyError::Conflicts { .. })
    ));
}

#[test]
fn the_first_apply_finds_an_owner_for_what_was_there() {
    let server = Server::new(Some(schema("", "ConfigMap")));
    let mut live = config(&json!({"a": "1"}));
    live["metadata"]["uid"] = json!("u");
    let object = server.apply("alice", Some(&live), &config(&json!({"b": "2"})));
    assert_eq!(
        owners(&object),
        [
            owner("alice", "Apply", json!({"f:data": {"f:b": {}}})),
            owner(
                "before-first-apply",
                "Update",
                json!({"f:data": {".": {}, "f:a": {}}})
            ),
        ]
    );
}

#[test]
fn updates_take_over_what_they_change_and_nothing_else() {
    let mut server = Server::new(Some(schema("", "ConfigMap")));
    let live = server.apply("alice", None, &config(&json!({"a": "1", "b": "1"})));
    server.second = 5;
    let mut new = live.clone();
    new["data"]["a"] = json!("2");
    let changed = server.update("editor", Some(&live), &new);
    assert_eq!(
        owners(&changed),
        [
            owner("alice", "Apply", json!({"f:data": {"f:b": {}}})),
            owner("editor", "Update", json!({"f:data": {"f:a": {}}})),
        ]
    );
    server.second = 9;
    let same = server.update("editor", Some(&changed), &changed);
    assert_eq!(
        same, changed,
        "an update that changes nothing leaves the times alone"
    );
}

#[test]
fn an_update_without_managed_fields_keeps_them_and_an_empty_list_clears_them() {
    let server = Server::new(Some(schema("", "ConfigMap")));
    let live = server.apply("alice", None, &config(&json!({"a": "1"})));
    let kept = server.update("editor", Some(&live), &config(&json!({"a": "1"})));
    assert_eq!(owners(&kept), owners(&live));
    let mut cleared = live.clone();
    cleared["metadata"]["managedFields"] = json!([{}]);
    let cleared = server.update("editor", Some(&live), &cleared);
    assert_eq!(cleared["metadata"].get("managedFields"), None);
}

#[test]
fn the_status_endpoint_owns_status_only() {
    let mut server = Server::new(Some(schema("apps", "Deployment")));
    let live = server.apply("alice", None, &deployment(&json!({"replicas": 1})));
    server.second = 1;
    let mut new = live.clone();
    new["spec"]["replicas"] = json!(7);
    new["status"] = json!({"replicas": 1});
    let writer = Writer {
        subresource: Some("status"),
        reset: &["spec"],
        ..server.writer("controller")
    };
    patch::track_update(Some(&live), &mut new, &writer);
    let entries = new["metadata"]["managedFields"]
        .as_array()
        .expect("entries");
    assert_eq!(entries[0]["manager"], "alice");
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}}})
    );
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(
        entries[1]
            .as_object()
            .expect("an object")
            .keys()
            .collect::<Vec<_>>(),
        [
            "manager",
            "operation",
            "apiVersion",
            "time",
            "fieldsType",
            "fieldsV1",
            "subresource"
        ]
    );
    assert_eq!(entries[1]["fieldsV1"]["f:status"]["f:replicas"], json!({}));
}

#[test]
fn too_many_updaters_are_put_together() {
    let mut server = Server::new(Some(schema("", "ConfigMap")));
    let mut live = server.update("editor-0", None, &config(&json!({"k0": "v"})));
    for i in 1..14 {
        server.second = i;
        let mut new = live.clone();
        new["data"][format!("k{i}")] = json!("v");
        live = server.update(&format!("editor-{i}"), Some(&live), &new);
    }
    let managers: Vec<String> = owners(&live).into_iter().map(|(m, _, _)| m).collect();
    assert_eq!(managers.len(), 10);
    assert_eq!(managers[0], "ancient-changes");
    assert_eq!(managers[9], "editor-13");
}

fn crd() -> Schema {
    from_crd(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"},
            "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "value": {"type": "string"}}}},
            "plain": {"type": "array", "items": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}))
    .expect("structural")
}

fn thing(spec: &Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec})
}

#[test]
fn custom_resources_follow_their_schema() {
    let mut server = Server::new(Some(crd()));
    let live = server.apply(
        "alice",
        None,
        &thing(&json!({"size": 1, "rules": [{"name": "a", "value": "1"}], "plain": ["x"], "free": {"deep": {"er": 1}}})),
    );
    assert_eq!(
        owners(&live)[0].2,
        json!({"f:spec": {
            "f:free": {"f:deep": {".": {}, "f:er": {}}},
            "f:plain": {},
            "f:rules": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:value": {}}},
            "f:size": {},
        }})
    );
    server.second = 1;
    let live = server.apply(
        "bob",
        Some(&live),
        &thing(&json!({"rules": [{"name": "b"}], "free": {"other": 2}})),
    );
    assert_eq!(
        live["spec"],
        json!({"size": 1, "rules": [{"name": "a", "value": "1"}, {"name": "b"}], "plain": ["x"],
            "free": {"deep": {"er": 1}, "other": 2}})
    );
}

#[test]
fn creating_a_custom_resource_owns_its_parts_as_a_whole_too() {
    let server = Server::new(Some(crd()));
    let object = server.update("editor", None, &thing(&json!({"size": 1})));
    assert_eq!(
        owners(&object)[0].2,
        json!({"f:spec": {".": {}, "f:size": {}}})
    );
}

#[test]
fn without_a_schema_lists_are_atomic_and_maps_are_not() {
    let mut server = Server::new(None);
    let live = server.apply(
        "alice",
        None,
        &thing(&json!({"list": [{"name": "a"}], "map": {"x": 1}})),
    );
    assert_eq!(
        owners(&live)[0].2,
        json!({"f:spec": {".": {}, "f:list": {}, "f:map": {".": {}, "f:x": {}}}})
    );
    server.second = 1;
    let live = server.apply("bob", Some(&live), &thing(&json!({"map": {"y": 2}})));
    assert_eq!(
        live["spec"],
        json!({"list": [{"name": "a"}], "map": {"x": 1, "y": 2}})
    );
}

#[rstest]
#[case(
    deployment(&json!({"replicaz": 1})),
    "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema",
)]
#[case(
    deployment(&json!({"replicas": "one"})),
    "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string",
)]
#[case(
    deployment(&json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}})),
    "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
)]
fn configurations_that_do_not_fit(#[case] applied: Value, #[case] expected: &str) {
    let server = Server::new(Some(schema("apps", "Deployment")));
    assert_eq!(
        server.try_apply("alice", None, &applied, false),
        Err(ApplyError::Invalid(expected.to_owned()))
    );
}

#[test]
fn managed_fields_may_not_be_applied() {
    let server = Server::new(Some(schema("", "ConfigMap")));
    let mut applied = config(&json!({}));
    applied["metadata"]["managedFields"] = json!([]);
    assert_eq!(
        server.try_apply("alice", None, &applied, false),
        Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".to_owned()
        ))
    );
}
