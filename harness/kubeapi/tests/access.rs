//! Who may do what, discovery, tables, and the other forms of answers.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::sync::Arc;

use common::{pod, serve, toy_server, widgets};
use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, PostParams};
use kube::client::Body;
use kube::discovery::{Discovery, Scope};
use kube::{Client, Error};
use kubeapi::{ApiServer, Status, User, VirtualHandler, VirtualResource};
use serde_json::{Value, json};

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

async fn get(client: &Client, path: &str, accept: &str) -> (u16, http::HeaderMap, Value) {
    let request = Request::get(path)
        .header("accept", accept)
        .body(Body::empty())
        .unwrap();
    let response = client.send(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        parts.status.as_u16(),
        parts.headers,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn cells(table: &Value) -> Vec<Vec<String>> {
    let text = |cell: &Value| {
        cell.as_str()
            .map_or_else(|| cell.to_string(), str::to_owned)
    };
    table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["cells"].as_array().unwrap().iter().map(text).collect())
        .collect()
}

#[tokio::test]
async fn rbac_decides() {
    let server = toy_server();
    let admin = server.client("admin");
    let alice = server.client_as(User::new("alice", &["devs"]));
    let maps: Api<ConfigMap> = Api::default_namespaced(alice.clone());
    let Error::Api(status) = maps.list(&ListParams::default()).await.unwrap_err() else {
        panic!("not an API error");
    };
    assert_eq!(
        status.message,
        "configmaps is forbidden: User \"alice\" cannot list resource \"configmaps\" in API group \"\" in the namespace \
         \"default\""
    );
    let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::default_namespaced(admin.clone());
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> =
        Api::default_namespaced(admin.clone());
    roles
        .create(
            &PostParams::default(),
            &from(json!({"metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]})),
        )
        .await
        .unwrap();
    bindings
        .create(
            &PostParams::default(),
            &from(json!({"metadata": {"name": "devs"}, "roleRef": {"kind": "Role", "name": "reader"}, "subjects": [{"kind": "Group", "name": "devs"}]})),
        )
        .await
        .unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    let made = maps
        .create(
            &PostParams::default(),
            &from(json!({"metadata": {"name": "a"}})),
        )
        .await;
    assert!(matches!(made, Err(Error::Api(status)) if status.code == 403));

    let reviews: Api<SelfSubjectAccessReview> = Api::all(alice.clone());
    let ask = |verb: &str| -> SelfSubjectAccessReview {
        from(
            json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "configmaps", "namespace": "default"}}}),
        )
    };
    let answer = reviews
        .create(&PostParams::default(), &ask("list"))
        .await
        .unwrap();
    assert!(answer.status.unwrap().allowed);
    let answer = reviews
        .create(&PostParams::default(), &ask("delete"))
        .await
        .unwrap();
    assert!(!answer.status.unwrap().allowed);
    // Discovery is for everybody who is known.
    Discovery::new(alice).run_aggregated().await.unwrap();
}

#[tokio::test]
async fn certificates_and_impersonation_name_users() {
    let served = serve(toy_server());
    let who = async |client: Client| -> (String, Vec<String>) {
        let reviews: Api<SelfSubjectReview> = Api::all(client);
        let answer = reviews
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await
            .unwrap();
        let info = answer.status.unwrap().user_info.unwrap();
        (info.username.unwrap(), info.groups.unwrap())
    };
    let (name, groups) = who(served.client("carol", &["ops"]).await).await;
    assert_eq!(name, "carol");
    assert!(groups.contains(&"ops".to_owned()));

    let yaml = served
        .pki
        .kubeconfig(&served.url, "test", "admin", &["system:masters"])
        .unwrap()
        .replace("  user:\n    client", "  user:\n    as: dave\n    client");
    let config = kube::config::Kubeconfig::from_yaml(&yaml).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
            .await
            .unwrap();
    let (name, groups) = who(Client::try_from(config).unwrap()).await;
    assert_eq!(name, "dave");
    assert_eq!(groups, ["system:authenticated"]);
}

#[tokio::test]
async fn nobody_sees_little() {
    let server = toy_server();
    let nobody = server.client_as(User::anonymous());
    let (code, _, version) = get(&nobody, "/version", "*/*").await;
    assert_eq!(
        (code, version["gitVersion"].as_str()),
        (200, Some("v1.34.4"))
    );
    let (code, _, status) = get(&nobody, "/api/v1/pods", "*/*").await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope"
    );
}

#[tokio::test]
async fn both_discoveries_agree() {
    let server = ApiServer::builder().crd(widgets()).build().unwrap();
    let client = server.client("test");
    let old = Discovery::new(client.clone()).run().await.unwrap();
    let new = Discovery::new(client).run_aggregated().await.unwrap();
    for discovery in [old, new] {
        let gvk = kube::core::GroupVersionKind::gvk("example.com", "v1", "Widget");
        let (resource, capabilities) = discovery.resolve_gvk(&gvk).unwrap();
        assert_eq!(resource.plural, "widgets");
        assert_eq!(capabilities.scope, Scope::Namespaced);
        let subresources: Vec<&str> = capabilities
            .subresources
            .iter()
            .map(|(resource, _)| resource.plural.as_str())
            .collect();
        assert!(
            subresources.iter().any(|s| s.ends_with("scale")),
            "{subresources:?}"
        );
        let gvk = kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment");
        assert!(discovery.resolve_gvk(&gvk).is_some());
        assert_eq!(
            discovery
                .get("example.com")
                .unwrap()
                .preferred_version_or_latest(),
            "v1"
        );
    }
}

#[tokio::test]
async fn tables_show_what_kubectl_prints() {
    let server = ApiServer::builder().crd(widgets()).build().unwrap();
    let client = server.client("test");
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &from(pod("a")))
        .await
        .unwrap();
    let status = json!({"status": {"phase": "Running", "podIPs": [{"ip": "10.244.0.3"}], "containerStatuses": [
        {"name": "main", "ready": true, "restartCount": 2, "image": "", "imageID": "", "state": {"running": {}}}]}});
    pods.patch_status(
        "a",
        &kube::api::PatchParams::default(),
        &kube::api::Patch::Merge(status),
    )
    .await
    .unwrap();
    let (_, _, table) = get(&client, "/api/v1/namespaces/default/pods", TABLE).await;
    let row = &cells(&table)[0];
    assert_eq!(row[..4], ["a", "1/1", "Running", "2"]);
    assert_eq!(row[5..7], ["10.244.0.3", "node"]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, _, bare) = get(
        &client,
        "/api/v1/namespaces/default/pods?includeObject=None",
        TABLE,
    )
    .await;
    assert!(bare["rows"][0]["object"].is_null());

    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 4}});
    let request = Request::post("/apis/example.com/v1/namespaces/default/widgets")
        .body(widget.to_string().into_bytes())
        .unwrap();
    let _: Value = client.request(request).await.unwrap();
    let (_, _, table) = get(
        &client,
        "/apis/example.com/v1/namespaces/default/widgets/w",
        TABLE,
    )
    .await;
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Name", "Size", "Ready"]);
    assert_eq!(cells(&table)[0], ["w", "4", "null"]);
}

#[tokio::test]
async fn other_forms() {
    let server = ApiServer::builder().crd(widgets()).build().unwrap();
    let client = server.client("test");
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let (_, _, list) = get(&client, "/api/v1/namespaces", metadata).await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["items"][0].get("spec").is_none());
    let (code, _, _) = get(&client, "/api/v1/namespaces", "image/png").await;
    assert_eq!(code, 406);
    let (_, headers, _) = get(
        &client,
        "/apis/example.com/v1alpha1/namespaces/default/widgets",
        "*/*",
    )
    .await;
    assert_eq!(
        headers["warning"],
        "299 - \"example.com/v1alpha1 Widget is deprecated; use example.com/v1 Widget\""
    );
    let (code, _, _) = get(&client, "/apis/nothing.example.com/v1/things", "*/*").await;
    assert_eq!(code, 404);
    let (code, _, status) = get(&client, "/apis/example.com/v1/things", "*/*").await;
    assert_eq!(code, 404);
    // A group of definitions has no resources of its own: the answer is the plain page for paths that lead nowhere.
    assert!(status.is_null());
    let (code, _, status) = get(&client, "/apis/apps/v1/things", "*/*").await;
    assert_eq!(code, 404);
    assert_eq!(
        status["message"],
        "the server could not find the requested resource"
    );
    let (code, headers, _) = get(&client, "/api/v1/namespaces/default", "application/yaml").await;
    assert_eq!(code, 200);
    assert_eq!(headers["content-type"], "application/yaml");
}

#[tokio::test]
async fn documents_of_open_api() {
    let server = ApiServer::builder().crd(widgets()).build().unwrap();
    let client = server.client("test");
    let (_, _, index) = get(&client, "/openapi/v3", "application/json").await;
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let (code, _, document) = get(&client, &url, "application/json").await;
    assert_eq!(code, 200);
    let path = "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}";
    assert_eq!(
        document["paths"][path]["patch"]["x-kubernetes-group-version-kind"]["kind"],
        "Widget"
    );
}

struct Echo;

#[async_trait::async_trait]
impl VirtualHandler for Echo {
    async fn create(
        &self,
        namespace: Option<&str>,
        mut object: Value,
        user: &User,
    ) -> Result<Value, Status> {
        if object["spec"]["fail"] == true {
            return Err(Status::bad_request("asked to fail"));
        }
        object["status"] = json!({"namespace": namespace, "user": user.name});
        Ok(object)
    }
}

#[tokio::test]
async fn virtual_resources_are_answered() {
    let server = ApiServer::builder()
        .virtual_resource(VirtualResource {
            group: "lab.example.com".into(),
            version: "v1".into(),
            plural: "traces".into(),
            singular: "trace".into(),
            kind: "Trace".into(),
            namespaced: true,
            handler: Arc::new(Echo),
        })
        .build()
        .unwrap();
    let client = server.client("alice");
    let post = |body: Value| {
        Request::post("/apis/lab.example.com/v1/namespaces/default/traces")
            .body(body.to_string().into_bytes())
            .unwrap()
    };
    let answer: Value = client.request(post(json!({"spec": {}}))).await.unwrap();
    assert_eq!(answer["kind"], "Trace");
    assert_eq!(
        answer["status"],
        json!({"namespace": "default", "user": "alice"})
    );
    let refused = client
        .request::<Value>(post(json!({"spec": {"fail": true}})))
        .await;
    assert!(matches!(refused, Err(Error::Api(status)) if status.message == "asked to fail"));
    let (code, _, _) = get(
        &client,
        "/apis/lab.example.com/v1/namespaces/default/traces",
        "*/*",
    )
    .await;
    assert_eq!(code, 405);
}

#[tokio::test]
async fn events_are_one_thing_in_two_groups() {
    let server = toy_server();
    let client = server.client("test");
    let recorder = kube::runtime::events::Recorder::new(
        client.clone(),
        kube::runtime::events::Reporter {
            controller: "tester".into(),
            instance: None,
        },
    );
    let about = k8s_openapi::api::core::v1::ObjectReference {
        kind: Some("Pod".into()),
        name: Some("a".into()),
        namespace: Some("default".into()),
        ..Default::default()
    };
    recorder
        .publish(
            &kube::runtime::events::Event {
                type_: kube::runtime::events::EventType::Normal,
                reason: "Tested".into(),
                note: Some("all well".into()),
                action: "Test".into(),
                secondary: None,
            },
            &about,
        )
        .await
        .unwrap();
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::default_namespaced(client.clone());
    let found = events
        .list(&ListParams::default().fields("involvedObject.name=a,reason=Tested"))
        .await
        .unwrap();
    assert_eq!(found.items[0].message.as_deref(), Some("all well"));
    let (_, _, table) = get(&client, "/api/v1/namespaces/default/events", TABLE).await;
    assert_eq!(cells(&table)[0][1..4], ["Normal", "Tested", "pod/a"]);
}
