//! What can be added to a server: admission of what clients write, and groups that are answered by code.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::pod;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kubeapi::{
    Admission, AdmissionRequest, AdmissionTarget, AggregatedApi, AggregatedHandler,
    AggregatedRequest, AggregatedVersion, ApiServer, Body, Operation, Reason, ServiceReference,
    Status, User,
};
use serde_json::{Map, Value, json};
use tower::Service;

/// Stamps config maps, pods and widgets, and refuses what says that it is to be refused.
#[derive(Default)]
struct Stamp {
    seen: Mutex<Vec<AdmissionRequest>>,
}

impl Stamp {
    fn taken(&self) -> Vec<AdmissionRequest> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

#[async_trait]
impl Admission for Stamp {
    fn matches(&self, target: &AdmissionTarget<'_>) -> bool {
        matches!(target.resource, "configmaps" | "pods" | "widgets")
    }

    async fn mutate(&self, request: &AdmissionRequest) -> Result<Value, Status> {
        // As if something had to be looked up.
        tokio::task::yield_now().await;
        let mut object = request.object.clone();
        if request.resource == "pods" {
            return Ok(object);
        }
        if object["data"]["late"] == "refused" {
            return Err(Status::bad_request("mutator refuses"));
        }
        object["data"]["stamp"] = match request.operation {
            Operation::Create => "created",
            _ => "updated",
        }
        .into();
        object["unknown"] = true.into();
        // What only the server sets stays as it is.
        object["metadata"]["uid"] = "forged".into();
        Ok(object)
    }

    async fn validate(&self, request: &AdmissionRequest) -> Result<Vec<String>, Status> {
        self.seen.lock().unwrap().push(request.clone());
        let object = if request.operation == Operation::Delete {
            &request.old_object
        } else {
            &request.object
        };
        let says = |key: &str| object["data"].get(key).is_some();
        if says("refuse") || (request.operation == Operation::Delete && says("keep")) {
            let why = Status::new(422, Reason::Invalid, "it says so");
            return Err(Status::denied_by("stamp.example.com", why));
        }
        if request.subresource.as_deref() == Some("eviction") {
            return Err(Status::new(429, Reason::TooManyRequests, "stay"));
        }
        Ok(vec!["a \"stamp\" was put on it".to_owned()])
    }
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Site {
    server: ApiServer,
    stamp: Arc<Stamp>,
}

fn site() -> Site {
    let stamp = Arc::new(Stamp::default());
    let widgets = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "data": {"type": "object", "properties": {
                        "stamp": {"type": "string", "enum": ["created"]}, "color": {"type": "string", "default": "red"},
                    }},
                    "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                }}},
            }],
        },
    });
    let server = ApiServer::builder()
        .admission(stamp.clone())
        .crd(widgets)
        .build()
        .unwrap();
    Site { server, stamp }
}

struct Answer {
    code: u16,
    warnings: Vec<String>,
    body: Value,
}

async fn send(server: &ApiServer, method: Method, path: &str, media: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(Full::from(body))
        .unwrap();
    let mut service = server.service_as(User::master("tester"));
    let response = service.call(request).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.map(|w| w.to_str().unwrap().to_owned()).collect();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
    Answer {
        code,
        warnings,
        body,
    }
}

impl Site {
    async fn send(&self, method: Method, path: &str, media: &str, body: &Value) -> Answer {
        send(&self.server, method, path, media, body).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, "application/json", body)
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "application/json", &Value::Null)
            .await
    }
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn owned(object: &Value) -> String {
    object["metadata"]["managedFields"].to_string()
}

#[tokio::test]
async fn creations_are_changed_and_warned_of() {
    let site = site();
    let answer = site
        .post(CONFIG_MAPS, &config_map("a", &json!({"x": "1"})))
        .await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    assert_eq!(answer.warnings, ["299 - \"a \\\"stamp\\\" was put on it\""]);
    assert_eq!(answer.body["data"], json!({"x": "1", "stamp": "created"}));
    assert_eq!(answer.body.get("unknown"), None);
    assert_ne!(answer.body["metadata"]["uid"], "forged");
    assert!(owned(&answer.body).contains("f:x"));
    assert!(!owned(&answer.body).contains("f:stamp"), "it is nobody's");
    assert_eq!(
        site.get(&format!("{CONFIG_MAPS}/a")).await.body,
        answer.body
    );
    let seen = site.stamp.taken();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (
            seen[0].operation,
            seen[0].name.as_str(),
            seen[0].namespace.as_deref()
        ),
        (Operation::Create, "a", Some("default"))
    );
    assert_eq!(
        (
            seen[0].kind.as_str(),
            seen[0].user.name.as_str(),
            seen[0].dry_run
        ),
        ("ConfigMap", "tester", false)
    );
    assert_eq!(seen[0].object["data"]["stamp"], "created");
    assert_eq!(seen[0].old_object, Value::Null);
}

#[tokio::test]
async fn every_way_of_writing_is_seen() {
    let site = site();
    let path = format!("{CONFIG_MAPS}/a");
    site.post(CONFIG_MAPS, &config_map("a", &json!({"x": "0"})))
        .await;
    site.stamp.taken();
    let applied = config_map("a", &json!({"x": "5"}));
    let forced = format!("{path}?force=true&fieldManager=applier");
    let writes = [
        (
            Method::PUT,
            path.clone(),
            "application/json",
            config_map("a", &json!({"x": "1"})),
            "1",
        ),
        (
            Method::PATCH,
            path.clone(),
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/data/x", "value": "2"}]),
            "2",
        ),
        (
            Method::PATCH,
            path.clone(),
            "application/merge-patch+json",
            json!({"data": {"x": "3"}}),
            "3",
        ),
        (
            Method::PATCH,
            path.clone(),
            "application/strategic-merge-patch+json",
            json!({"data": {"x": "4"}}),
            "4",
        ),
        (
            Method::PATCH,
            forced,
            "application/apply-patch+yaml",
            applied,
            "5",
        ),
    ];
    for (method, path, media, body, x) in writes {
        let answer = site.send(method, &path, media, &body).await;
        assert_eq!(answer.code, 200, "{media}: {}", answer.body);
        assert_eq!(
            answer.body["data"],
            json!({"x": x, "stamp": "updated"}),
            "{media}"
        );
        assert_eq!(answer.warnings.len(), 1);
        let seen = site.stamp.taken();
        assert_eq!(seen.len(), 1, "{media}");
        assert_eq!(seen[0].operation, Operation::Update);
        assert_ne!(seen[0].old_object["data"]["x"], x);
        assert_ne!(seen[0].old_object, Value::Null);
    }
    // An apply that finds nothing creates.
    let path = format!("{CONFIG_MAPS}/new?fieldManager=applier");
    let body = config_map("new", &json!({"x": "1"}));
    let answer = site
        .send(Method::PATCH, &path, "application/apply-patch+yaml", &body)
        .await;
    assert_eq!(
        (answer.code, &answer.body["data"]["stamp"]),
        (201, &json!("created"))
    );
    assert!(!owned(&answer.body).contains("f:stamp"));
    assert_eq!(site.stamp.taken()[0].operation, Operation::Create);
}

#[tokio::test]
async fn refusals_leave_everything_as_it_was() {
    let site = site();
    let refused = json!({"refuse": "me"});
    let answer = site.post(CONFIG_MAPS, &config_map("a", &refused)).await;
    assert_eq!(answer.code, 422);
    assert_eq!(
        answer.body["message"],
        "admission webhook \"stamp.example.com\" denied the request: it says so"
    );
    let late = site
        .post(CONFIG_MAPS, &config_map("a", &json!({"late": "refused"})))
        .await;
    assert_eq!(
        (late.code, &late.body["message"]),
        (400, &json!("mutator refuses"))
    );
    assert_eq!(site.get(&format!("{CONFIG_MAPS}/a")).await.code, 404);

    let path = format!("{CONFIG_MAPS}/b");
    let before = site
        .post(CONFIG_MAPS, &config_map("b", &json!({"keep": "it"})))
        .await
        .body;
    for (method, media, body) in [
        (Method::PUT, "application/json", config_map("b", &refused)),
        (
            Method::PATCH,
            "application/merge-patch+json",
            json!({"data": refused}),
        ),
        (
            Method::PATCH,
            "application/strategic-merge-patch+json",
            json!({"data": refused}),
        ),
    ] {
        assert_eq!(
            site.send(method, &path, media, &body).await.code,
            422,
            "{media}"
        );
    }
    let applied = config_map("b", &refused);
    let forced = format!("{path}?force=true&fieldManager=applier");
    let answer = site
        .send(
            Method::PATCH,
            &forced,
            "application/apply-patch+yaml",
            &applied,
        )
        .await;
    assert_eq!(answer.code, 422);
    let gone = site
        .send(Method::DELETE, &path, "application/json", &Value::Null)
        .await;
    assert_eq!(gone.code, 422);
    let all = site
        .send(
            Method::DELETE,
            CONFIG_MAPS,
            "application/json",
            &Value::Null,
        )
        .await;
    assert_eq!(all.code, 422);
    assert_eq!(site.get(&path).await.body, before);
}

#[tokio::test]
async fn deletions_and_dry_runs_are_seen() {
    let site = site();
    let dry = format!("{CONFIG_MAPS}?dryRun=All");
    let answer = site.post(&dry, &config_map("a", &json!({}))).await;
    assert_eq!(
        (answer.code, &answer.body["data"]["stamp"]),
        (201, &json!("created"))
    );
    assert!(site.stamp.taken()[0].dry_run);
    assert_eq!(site.get(&format!("{CONFIG_MAPS}/a")).await.code, 404);
    site.post(CONFIG_MAPS, &config_map("a", &json!({"x": "1"})))
        .await;
    site.stamp.taken();
    let path = format!("{CONFIG_MAPS}/a");
    let answer = site
        .send(
            Method::DELETE,
            &format!("{path}?dryRun=All"),
            "application/json",
            &Value::Null,
        )
        .await;
    assert_eq!(answer.code, 200);
    assert!(site.stamp.taken()[0].dry_run);
    let answer = site
        .send(Method::DELETE, &path, "application/json", &Value::Null)
        .await;
    assert_eq!(answer.code, 200);
    let seen = site.stamp.taken();
    assert_eq!(
        (seen[0].operation, &seen[0].object),
        (Operation::Delete, &Value::Null)
    );
    assert_eq!(seen[0].old_object["data"]["x"], "1");
    assert_eq!(site.get(&path).await.code, 404);
}

#[tokio::test]
async fn custom_resources_are_pruned_defaulted_and_checked_again() {
    let site = site();
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let widget =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}});
    let answer = site.post(widgets, &widget).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    // The mutation made the object to which the default belongs.
    assert_eq!(
        answer.body["data"],
        json!({"stamp": "created", "color": "red"})
    );
    assert_eq!(answer.body.get("unknown"), None);
    assert_eq!(answer.body["metadata"]["generation"], 1);
    // What updates are stamped with is not in the schema, which is noticed.
    let path = format!("{widgets}/w");
    let blue = json!({"data": {"color": "blue"}});
    let answer = site
        .send(Method::PATCH, &path, "application/merge-patch+json", &blue)
        .await;
    assert_eq!(answer.code, 422, "{}", answer.body);
    assert_eq!(answer.body["details"]["causes"][0]["field"], "data.stamp");
    // The status is another endpoint, and what is done to it there does not reach the rest.
    site.stamp.taken();
    let status = json!({"status": {"phase": "Ready"}});
    let path = format!("{path}/status");
    let answer = site
        .send(
            Method::PATCH,
            &path,
            "application/merge-patch+json",
            &status,
        )
        .await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    assert_eq!(answer.body["data"]["stamp"], "created");
    assert_eq!(answer.body["metadata"]["generation"], 1);
    assert_eq!(site.stamp.taken()[0].subresource.as_deref(), Some("status"));
}

#[tokio::test]
async fn evictions_are_creations_of_their_own() {
    let site = site();
    let pods = "/api/v1/namespaces/default/pods";
    let object = pod("p");
    let answer = site.post(pods, &object).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    site.stamp.taken();
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let answer = site.post(&format!("{pods}/p/eviction"), &eviction).await;
    assert_eq!(
        (answer.code, &answer.body["message"]),
        (429, &json!("stay"))
    );
    let seen = site.stamp.taken();
    assert_eq!(seen[0].operation, Operation::Create);
    assert_eq!(seen[0].object["kind"], "Eviction");
    let answer = site.get(&format!("{pods}/p")).await;
    assert_eq!(answer.body["metadata"].get("deletionTimestamp"), None);
}

#[tokio::test]
async fn what_does_not_match_is_not_seen() {
    let site = site();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"refuse": "eA=="}});
    let answer = site
        .post("/api/v1/namespaces/default/secrets", &secret)
        .await;
    assert_eq!((answer.code, answer.warnings.len()), (201, 0));
    assert!(site.stamp.taken().is_empty());
}

/// Tells what it is asked.
struct Echo;

#[async_trait]
impl AggregatedHandler for Echo {
    async fn handle(&self, mut request: AggregatedRequest) -> Response<Body> {
        let told = json!({
            "verb": request.verb, "version": request.version, "namespace": request.namespace,
            "resource": request.resource, "name": request.name, "subresource": request.subresource,
            "rest": request.rest, "query": request.query("q"), "user": request.user.name,
            "body": String::from_utf8_lossy(&request.body), "upgrade": request.upgrade().is_some(),
        });
        Response::new(Body::from(told.to_string()))
    }
}

fn aggregating() -> ApiServer {
    let version = |name: &str| AggregatedVersion {
        name: name.to_owned(),
        resources: vec![
            json!({"name": "things/turn", "singularName": "", "namespaced": true, "kind": "Turn", "verbs": ["update"]}),
            json!({
                "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get"],
                "shortNames": ["th"],
            }),
        ],
        group_priority_minimum: 1000,
        version_priority: 15,
    };
    ApiServer::builder()
        .aggregated(AggregatedApi {
            group: "things.example.com".to_owned(),
            versions: vec![version("v2"), version("v1")],
            service: ServiceReference {
                namespace: "things".to_owned(),
                name: "api".to_owned(),
                port: 443,
            },
            labels: Map::from_iter([("made".to_owned(), "here".into())]),
            annotations: Map::new(),
            handler: Arc::new(Echo),
        })
        .build()
        .unwrap()
}

#[tokio::test]
async fn aggregated_requests_reach_their_handler_whole() {
    let server = aggregating();
    let path = "/apis/things.example.com/v2/namespaces/n/things/t%2D1/turn/left/twice?q=a%20b";
    // What is accepted is for the handler to say.
    let answer = send(&server, Method::PUT, path, "text/strange", &json!("b")).await;
    assert_eq!(
        answer.body,
        json!({
            "verb": "update", "version": "v2", "namespace": "n", "resource": "things", "name": "t-1",
            "subresource": "turn", "rest": ["left", "twice"], "query": "a b", "user": "tester", "body": "\"b\"",
            "upgrade": false,
        })
    );
    let request = Request::get("/apis/things.example.com/v1/anything")
        .header("accept", "image/png")
        .body(Full::from(String::new()))
        .unwrap();
    let response = server
        .service_as(User::master("m"))
        .call(request)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let other = send(
        &server,
        Method::GET,
        "/apis/things.example.com/v3/anything",
        "",
        &Value::Null,
    )
    .await;
    assert_eq!(other.code, 404);
}

#[tokio::test]
async fn aggregated_requests_are_authorised_first() {
    let server = aggregating();
    let request = Request::put("/apis/things.example.com/v2/namespaces/n/things/t/turn/left")
        .body(Full::from(String::new()))
        .unwrap();
    let mut service = server.service_as(User::new("someone", &[]));
    let response = service.call(request).await.unwrap();
    assert_eq!(response.status(), 403);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        body["message"],
        "things.things.example.com \"t\" is forbidden: User \"someone\" cannot update resource \"things/turn\" in API group \
         \"things.example.com\" in the namespace \"n\""
    );
}

#[tokio::test]
async fn aggregated_groups_are_discovered() {
    let server = aggregating();
    let group = send(
        &server,
        Method::GET,
        "/apis/things.example.com",
        "",
        &Value::Null,
    )
    .await;
    assert_eq!(
        group.body["preferredVersion"]["groupVersion"],
        "things.example.com/v2"
    );
    let list = send(
        &server,
        Method::GET,
        "/apis/things.example.com/v1",
        "",
        &Value::Null,
    )
    .await;
    assert_eq!(list.body["resources"][0]["name"], "things/turn");
    let request = Request::get("/apis")
        .header(
            "accept",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        )
        .body(Full::from(String::new()))
        .unwrap();
    let response = server
        .service_as(User::master("m"))
        .call(request)
        .await
        .unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let groups: Value = serde_json::from_slice(&bytes).unwrap();
    let things = groups["items"].as_array().unwrap().last().unwrap();
    assert_eq!(
        things["versions"][0]["resources"],
        json!([{
            "resource": "things", "responseKind": {"group": "", "version": "", "kind": "Thing"}, "scope": "Namespaced",
            "singularResource": "thing", "verbs": ["get"], "shortNames": ["th"],
            "subresources": [{
                "subresource": "turn", "responseKind": {"group": "", "version": "", "kind": "Turn"}, "verbs": ["update"],
            }],
        }])
    );
    let path = "/apis/apiregistration.k8s.io/v1/apiservices/v2.things.example.com";
    let service = send(&server, Method::GET, path, "", &Value::Null).await;
    assert_eq!(service.body["metadata"]["labels"], json!({"made": "here"}));
    assert_eq!(service.body["spec"]["service"]["name"], "api");
}

#[tokio::test]
async fn who_administers_may_what_is_added_for_editors() {
    let server = aggregating();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let turner = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "turner", "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}},
        "rules": [{"apiGroups": ["things.example.com"], "resources": ["things/turn"], "verbs": ["update"]}],
    });
    let path = format!("{rbac}/clusterroles");
    let answer = send(&server, Method::POST, &path, "application/json", &turner).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    for (role, allowed) in [("admin", 200), ("edit", 200), ("view", 403)] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
        });
        let path = format!("{rbac}/namespaces/default/rolebindings");
        let answer = send(&server, Method::POST, &path, "application/json", &binding).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
        let request = Request::put("/apis/things.example.com/v1/namespaces/default/things/t/turn")
            .body(Full::from(String::new()))
            .unwrap();
        let mut service = server.service_as(User::new(role, &[]));
        let response = service.call(request).await.unwrap();
        assert_eq!(response.status(), allowed, "{role}");
    }
}
