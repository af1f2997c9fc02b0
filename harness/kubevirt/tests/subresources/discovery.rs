//! How the API appears in the cluster.

use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use kubeapi::ApiServer;
use serde_json::{Value, json};
use trunkline_kubevirt::subresources::Late;

use crate::site::{BASE, call, site};

async fn get(client: &kube::Client, path: &str) -> Value {
    let (code, answer) = call(client, Method::GET, path, &Value::Null).await;
    assert_eq!(code, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test]
async fn both_versions_list_what_the_real_one_lists() {
    let site = site().await;
    for version in ["v1", "v1alpha3"] {
        let path = format!("/apis/subresources.kubevirt.io/{version}");
        let list = get(&site.admin, &path).await;
        assert_eq!(list["kind"], "APIResourceList");
        assert_eq!(
            list["groupVersion"],
            format!("subresources.kubevirt.io/{version}")
        );
        let resources = list["resources"].as_array().unwrap();
        assert_eq!(resources.len(), 31);
        assert_eq!(
            resources[3],
            json!({
                "name": "virtualmachineinstances/console", "singularName": "", "namespaced": true, "kind": "",
                "verbs": null,
            })
        );
    }
    let group = get(&site.admin, "/apis/subresources.kubevirt.io").await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let groups = get(&site.admin, "/apis").await;
    let names = groups["groups"].as_array().unwrap().iter();
    let ours = names.filter(|group| group["name"] == "subresources.kubevirt.io");
    assert_eq!(ours.count(), 1);
    let (code, _) = call(
        &site.admin,
        Method::GET,
        "/apis/subresources.kubevirt.io/v2",
        &Value::Null,
    )
    .await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn aggregated_discovery_puts_subresources_below_resources() {
    let site = site().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let request = Request::get("/apis")
        .header("accept", accept)
        .body(Body::empty())
        .unwrap();
    let response = site.admin.send(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let groups: Value = serde_json::from_slice(&body).unwrap();
    let items = groups["items"].as_array().unwrap();
    let group = items
        .iter()
        .find(|item| item["metadata"]["name"] == "subresources.kubevirt.io")
        .unwrap();
    let version = &group["versions"][0];
    assert_eq!(
        (&version["version"], &version["freshness"]),
        (&json!("v1"), &json!("Current"))
    );
    let resources = version["resources"].as_array().unwrap();
    let names: Vec<&str> = resources
        .iter()
        .map(|resource| resource["resource"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "expand-vm-spec",
            "virtualmachineinstances",
            "virtualmachines"
        ]
    );
    assert_eq!(resources[1]["scope"], "Namespaced");
    assert_eq!(
        resources[1]["subresources"][1],
        json!({
            "subresource": "vnc/screenshot", "responseKind": {"group": "", "version": "", "kind": ""}, "verbs": null,
        })
    );
}

#[tokio::test]
async fn its_services_name_who_answers() {
    let site = site().await;
    for version in ["v1", "v1alpha3"] {
        let path = format!(
            "/apis/apiregistration.k8s.io/v1/apiservices/{version}.subresources.kubevirt.io"
        );
        let service = get(&site.admin, &path).await;
        assert_eq!(
            service["spec"]["service"],
            json!({"namespace": "kubevirt", "name": "virt-api", "port": 443})
        );
        let condition = &service["status"]["conditions"][0];
        assert_eq!(
            (
                &condition["type"],
                &condition["status"],
                &condition["reason"]
            ),
            (&json!("Available"), &json!("True"), &json!("Passed"))
        );
    }
    let local = get(
        &site.admin,
        "/apis/apiregistration.k8s.io/v1/apiservices/v1.kubevirt.io",
    )
    .await;
    assert_eq!(local["spec"].get("service"), None);
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_the_one_who_answers() {
    let site = site().await;
    site.running("tiny").await;
    for path in [
        "virtualmachineinstances/tiny/nosuch",
        "virtualmachineinstances/tiny",
        "virtualmachineinstances",
        "virtualmachineinstances/tiny/console/more",
        "virtualmachines/tiny/console",
    ] {
        let answer = site.read(path).await;
        assert_eq!(answer, (404, "404: Page Not Found".to_owned()), "{path}");
    }
    let answer = site.put("virtualmachineinstances/tiny/console", "").await;
    assert_eq!(answer, (405, "405: Method Not Allowed".to_owned()));
    let answer = site.read("virtualmachineinstances/tiny/pause").await;
    assert_eq!(answer, (405, "405: Method Not Allowed".to_owned()));
}

#[tokio::test]
async fn before_there_are_machines_it_is_unavailable() {
    let late = Late::default();
    let server = ApiServer::builder().aggregated(late.api()).build().unwrap();
    let client = server.client("somebody");
    let path = format!("{BASE}/virtualmachineinstances/tiny/guestosinfo");
    let (code, answer) = call(&client, Method::GET, &path, &Value::Null).await;
    assert_eq!(code, 503, "{answer}");
}
