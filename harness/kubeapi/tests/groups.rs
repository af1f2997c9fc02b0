//! The groups and resources of Kubernetes 1.34: which there are, and what the lesser ones do.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::collections::BTreeMap;

use common::{toy_server, widgets};
use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kubeapi::ApiServer;
use rstest::rstest;
use serde_json::{Value, json};

/// A request and its answer: code, warnings, body.
async fn call(
    client: &Client,
    method: &str,
    path: &str,
    accept: &str,
    body: Value,
) -> (u16, Vec<String>, Value) {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let media = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(ACCEPT, accept)
        .header(CONTENT_TYPE, media)
        .body(Body::from(body))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response
        .headers()
        .get_all(WARNING)
        .iter()
        .map(|w| w.to_str().unwrap().to_owned())
        .collect();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (code, warnings, body)
}

async fn get(client: &Client, path: &str) -> Value {
    let (code, _, body) = call(client, "GET", path, "application/json", Value::Null).await;
    assert_eq!(code, 200, "{path}: {body}");
    body
}

async fn create(client: &Client, path: &str, object: Value) -> Value {
    let (code, _, body) = call(client, "POST", path, "application/json", object).await;
    assert_eq!(code, 201, "{path}: {body}");
    body
}

async fn refused(client: &Client, path: &str, object: Value) -> String {
    let (code, _, body) = call(client, "POST", path, "application/json", object).await;
    assert!(code >= 400, "{path}: {body}");
    body["message"].as_str().unwrap().to_owned()
}

/// Recorded from a kube-apiserver 1.34.4, one resource a line.
const RECORDED: &str = include_str!("data/discovery-1.34.4.jsonl");

/// The recorded resources by group version.
fn recorded() -> BTreeMap<String, Vec<Value>> {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in RECORDED.lines() {
        let mut resource: Value = serde_json::from_str(line).unwrap();
        let group = resource
            .as_object_mut()
            .unwrap()
            .shift_remove("in")
            .unwrap();
        let group = group.as_str().unwrap().to_owned();
        groups.entry(group).or_default().push(resource);
    }
    groups
}

#[tokio::test]
async fn discovery_is_the_recorded_one_resource_by_resource() {
    let client = toy_server().client("test");
    let recorded = recorded();
    let groups = get(&client, "/apis").await;
    let mut served: Vec<&str> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["versions"].as_array().unwrap())
        .map(|version| version["groupVersion"].as_str().unwrap())
        .collect();
    served.push("v1");
    served.sort_unstable();
    assert_eq!(
        served,
        recorded.keys().map(String::as_str).collect::<Vec<_>>()
    );
    for (group, expected) in recorded {
        let path = if group == "v1" {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{group}")
        };
        let list = get(&client, &path).await;
        assert_eq!(list["resources"], Value::from(expected), "{group}");
    }
}

/// Both forms say the same, so what is held against the record in one form holds in the other.
#[tokio::test]
async fn aggregated_discovery_has_the_same_resources() {
    const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let client = toy_server().client("test");
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in ["/api", "/apis"] {
        let (_, _, list) = call(&client, "GET", path, AGGREGATED, Value::Null).await;
        for group in list["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in group["versions"].as_array().unwrap() {
                let version_name = version["version"].as_str().unwrap();
                let key = match name {
                    "" => version_name.to_owned(),
                    name => format!("{name}/{version_name}"),
                };
                let names = seen.entry(key).or_default();
                for resource in version["resources"].as_array().unwrap() {
                    let plural = resource["resource"].as_str().unwrap();
                    names.push(plural.to_owned());
                    for sub in resource["subresources"].as_array().into_iter().flatten() {
                        let sub = sub["subresource"].as_str().unwrap();
                        names.push(format!("{plural}/{sub}"));
                    }
                }
            }
        }
    }
    let expected: BTreeMap<String, Vec<String>> = recorded()
        .into_iter()
        .map(|(group, resources)| {
            let names = resources
                .iter()
                .map(|r| r["name"].as_str().unwrap().to_owned())
                .collect();
            (group, names)
        })
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_nothing_acts_on_is_said() {
    let server = ApiServer::builder()
        .nothing_acts_on("this lab", &[("node.k8s.io", "runtimeclasses")])
        .build()
        .unwrap();
    let client = server.client("test");
    let class = |name: &str| json!({"metadata": {"name": name}, "handler": "runc"});
    let path = "/apis/node.k8s.io/v1/runtimeclasses";
    let (code, warnings, _) = call(&client, "POST", path, "application/json", class("a")).await;
    assert_eq!(code, 201);
    assert_eq!(
        warnings,
        ["299 - \"this lab stores RuntimeClass, but nothing acts on it\""]
    );
    let map = json!({"metadata": {"name": "a"}});
    let path = "/api/v1/namespaces/default/configmaps";
    let (_, warnings, _) = call(&client, "POST", path, "application/json", map).await;
    assert_eq!(warnings, [""; 0]);
}

const AUTOSCALERS: &str = "namespaces/default/horizontalpodautoscalers";

#[tokio::test]
async fn autoscalers_have_two_versions() {
    let client = toy_server().client("test");
    let first = format!("/apis/autoscaling/v1/{AUTOSCALERS}");
    let second = format!("/apis/autoscaling/v2/{AUTOSCALERS}");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let object = json!({
        "metadata": {"name": "a"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 30},
    });
    create(&client, &first, object).await;
    let shown = get(&client, &format!("{second}/a")).await;
    assert_eq!(shown["apiVersion"], "autoscaling/v2");
    assert_eq!(
        shown["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 30}}}])
    );
    let object = json!({
        "metadata": {"name": "b"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [{"type": "Resource", "resource": {
            "name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}]},
    });
    create(&client, &second, object).await;
    let shown = get(&client, &format!("{first}/b")).await;
    let noted = &shown["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"];
    assert_eq!(
        noted,
        "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageValue\":\"1Gi\"}}]"
    );
    let wrong = json!({
        "metadata": {"name": "c"}, "spec": {"scaleTargetRef": target, "minReplicas": 5, "maxReplicas": 3}});
    let why = refused(&client, &second, wrong).await;
    assert!(
        why.contains(
            "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"
        ),
        "{why}"
    );
}

#[tokio::test]
async fn priorities_come_from_classes() {
    let client = toy_server().client("test");
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let system = get(&client, &format!("{classes}/system-node-critical")).await;
    assert_eq!(system["value"], 2_000_001_000);
    create(
        &client,
        classes,
        json!({"metadata": {"name": "high"}, "value": 1000}),
    )
    .await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, class: &str| {
        let mut pod = common::pod(name);
        pod["spec"]["priorityClassName"] = class.into();
        pod
    };
    let made = create(&client, pods, pod("a", "high")).await;
    assert_eq!(made["spec"]["priority"], 1000);
    let why = refused(&client, pods, pod("b", "none")).await;
    assert_eq!(
        why,
        "pods \"b\" is forbidden: no PriorityClass with name none was found"
    );
    let too_much = json!({"metadata": {"name": "top"}, "value": 1_000_000_001});
    let why = refused(&client, classes, too_much).await;
    assert!(
        why.contains("maximum allowed value of a user defined priority is 1000000000"),
        "{why}"
    );
    let default =
        |name: &str| json!({"metadata": {"name": name}, "value": 7, "globalDefault": true});
    create(&client, classes, default("usual")).await;
    let made = create(&client, pods, common::pod("c")).await;
    assert_eq!(made["spec"]["priorityClassName"], "usual");
    assert_eq!(made["spec"]["priority"], 7);
    let why = refused(&client, classes, default("other")).await;
    assert!(
        why.contains("PriorityClass usual is already marked as default"),
        "{why}"
    );
}

async fn eventually(client: &Client, path: &str, code: u16) {
    let found = async {
        loop {
            let answer = call(client, "GET", path, "application/json", Value::Null).await;
            if answer.0 == code {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), found)
        .await
        .unwrap_or_else(|_| panic!("{path} does not become {code}"));
}

#[tokio::test]
async fn services_have_their_addresses_written_down() {
    let server = toy_server();
    let client = server.client("test");
    let addresses = "/apis/networking.k8s.io/v1/ipaddresses";
    eventually(&client, &format!("{addresses}/10.96.0.1"), 200).await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({
        "metadata": {"name": "a"}, "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}});
    create(&client, services, service).await;
    let address = format!("{addresses}/10.96.7.7");
    eventually(&client, &address, 200).await;
    let parent = &get(&client, &address).await["spec"]["parentRef"];
    assert_eq!(
        *parent,
        json!({"resource": "services", "namespace": "default", "name": "a"})
    );
    call(
        &client,
        "DELETE",
        &format!("{services}/a"),
        "application/json",
        Value::Null,
    )
    .await;
    eventually(&client, &address, 404).await;
}

#[tokio::test]
async fn api_services_follow_what_is_served() {
    let server = toy_server();
    let client = server.client("test");
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    let local = get(&client, &format!("{services}/v1.apps")).await;
    assert_eq!(local["status"]["conditions"][0]["reason"], "Local");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    create(&client, definitions, widgets()).await;
    eventually(&client, &format!("{services}/v1.example.com"), 200).await;
    call(
        &client,
        "DELETE",
        &format!("{definitions}/widgets.example.com"),
        "application/json",
        Value::Null,
    )
    .await;
    eventually(&client, &format!("{services}/v1.example.com"), 404).await;
    get(&client, &format!("{services}/v1.apps")).await;
}

#[tokio::test]
async fn requests_for_certificates_are_approved_apart() {
    let server = toy_server();
    let client = server.client("alice");
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    // "-----BEGIN CERTIFICATE REQUEST-----"
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let request = |name: &str, pem: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "signerName": "example.com/x", "usages": ["client auth"], "request": pem, "username": "mallory"}})
    };
    let made = create(&client, requests, request("a", pem)).await;
    assert_eq!(made["spec"]["username"], "alice");
    let why = refused(&client, requests, request("b", "bm9uZQ==")).await;
    assert!(
        why.contains("PEM block type must be CERTIFICATE REQUEST"),
        "{why}"
    );
    let mut approved = made.clone();
    approved["spec"]["signerName"] = "example.com/other".into();
    approved["status"]["conditions"] =
        json!([{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]);
    let path = format!("{requests}/a/approval");
    let (code, _, body) = call(&client, "PUT", &path, "application/json", approved).await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(body["status"]["conditions"][0]["type"], "Approved");
    assert_eq!(body["spec"]["signerName"], "example.com/x");
}

#[rstest]
#[case("apiregistration.k8s.io/v1/apiservices", &["Name", "Service", "Available", "Age"])]
#[case("scheduling.k8s.io/v1/priorityclasses", &["Name", "Value", "Global-Default", "Age", "PreemptionPolicy"])]
#[case("networking.k8s.io/v1/servicecidrs", &["Name", "CIDRs", "Age"])]
#[tokio::test]
async fn lesser_kinds_are_printed(#[case] path: &str, #[case] columns: &[&str]) {
    let client = toy_server().client("test");
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (_, _, table) = call(
        &client,
        "GET",
        &format!("/apis/{path}"),
        accept,
        Value::Null,
    )
    .await;
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, columns);
    let row = &table["rows"][0]["cells"];
    assert_eq!(row.as_array().unwrap().len(), columns.len());
}

#[tokio::test]
async fn the_kubernetes_service_leads_to_the_advertised_address() {
    let address = "172.18.0.9:6555".parse().unwrap();
    let server = ApiServer::builder().advertise(address).build().unwrap();
    let client = server.client("test");
    let endpoints = get(&client, "/api/v1/namespaces/default/endpoints/kubernetes").await;
    assert_eq!(
        endpoints["subsets"],
        json!([{"addresses": [{"ip": "172.18.0.9"}], "ports": [{"name": "https", "port": 6555, "protocol": "TCP"}]}])
    );
    let slice = get(
        &client,
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
    )
    .await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["172.18.0.9"]));
    assert_eq!(slice["endpoints"][0]["conditions"], json!({"ready": true}));
    let service = get(&client, "/api/v1/namespaces/default/services/kubernetes").await;
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 6555);
}

#[tokio::test]
async fn components_are_listed_with_a_warning() {
    let client = toy_server().client("test");
    let path = "/api/v1/componentstatuses";
    let (code, warnings, list) = call(&client, "GET", path, "application/json", Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(
        warnings,
        ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]
    );
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let (code, _, _) = call(&client, "POST", path, "application/json", json!({})).await;
    assert_eq!(code, 405);
}
