//! Create, read, update, patch and delete through the front door.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::{pod, toy_server, widgets};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, PostParams, PropagationPolicy,
};
use kube::{Client, Error, ResourceExt};
use serde_json::{Value, json};

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}, "data": {"key": value}}))
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> kube::core::Status {
    match result.unwrap_err() {
        Error::Api(status) => *status,
        other => panic!("not an API error: {other}"),
    }
}

fn client() -> Client {
    toy_server().client("test")
}

fn widget_api(client: &Client, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("example.com", version, "Widget");
    Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind))
}

fn with_widgets() -> (kubeapi::ApiServer, Client) {
    let server = kubeapi::ApiServer::builder()
        .crd(widgets())
        .build()
        .unwrap();
    let client = server.client("test");
    (server, client)
}

fn widget(name: &str, size: i64) -> DynamicObject {
    from(
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}}),
    )
}

#[tokio::test]
async fn the_life_of_an_object() {
    let server = toy_server();
    let api: Api<ConfigMap> = Api::default_namespaced(server.client("test"));
    let made = api
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    assert!(made.uid().is_some() && made.resource_version().is_some());
    assert_eq!(made.namespace().as_deref(), Some("default"));

    let again = refusal(
        api.create(&PostParams::default(), &config_map("a", "1"))
            .await,
    );
    assert_eq!(again.message, "configmaps \"a\" already exists");
    assert_eq!((again.code, again.reason.as_str()), (409, "AlreadyExists"));

    let mut changed = made.clone();
    changed.data = Some([("key".to_owned(), "2".to_owned())].into());
    let stored = api
        .replace("a", &PostParams::default(), &changed)
        .await
        .unwrap();
    assert_ne!(stored.resource_version(), made.resource_version());
    let stale = refusal(api.replace("a", &PostParams::default(), &changed).await);
    assert_eq!(
        stale.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );

    // Writing the same again changes nothing.
    let same = api
        .replace("a", &PostParams::default(), &stored)
        .await
        .unwrap();
    assert_eq!(same.resource_version(), stored.resource_version());

    let deleted = api.delete("a", &DeleteParams::default()).await.unwrap();
    let status = deleted.right().unwrap();
    assert!(status.is_success());
    assert_eq!(status.details.unwrap().uid, made.uid().unwrap());
    let gone = refusal(api.get("a").await);
    assert_eq!(gone.message, "configmaps \"a\" not found");
    drop(server);
}

#[tokio::test]
async fn dry_runs_leave_nothing() {
    let api: Api<ConfigMap> = Api::default_namespaced(client());
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let made = api.create(&dry, &config_map("a", "1")).await.unwrap();
    assert!(made.uid().is_some());
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn names_are_checked_and_generated() {
    let client = client();
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let bad = refusal(
        api.create(&PostParams::default(), &config_map("Bad_Name", "1"))
            .await,
    );
    assert_eq!(
        bad.message,
        "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must \
         consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
         (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    );
    assert_eq!(bad.details.unwrap().causes[0].field, "metadata.name");
    let generated: ConfigMap = from(json!({"metadata": {"generateName": "web-"}}));
    let made = api
        .create(&PostParams::default(), &generated)
        .await
        .unwrap();
    assert!(made.name_any().starts_with("web-") && made.name_any().len() == 9);
}

#[tokio::test]
async fn a_namespace_must_exist() {
    let api: Api<ConfigMap> = Api::namespaced(client(), "nowhere");
    let status = refusal(
        api.create(&PostParams::default(), &config_map("a", "1"))
            .await,
    );
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "namespaces \"nowhere\" not found")
    );
}

#[tokio::test]
async fn pods_get_defaults_and_keep_their_spec() {
    let api: Api<Pod> = Api::default_namespaced(client());
    let made = api
        .create(&PostParams::default(), &from(pod("a")))
        .await
        .unwrap();
    let spec = made.spec.clone().unwrap();
    assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
    assert_eq!(spec.termination_grace_period_seconds, Some(30));
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(
        spec.containers[0].image_pull_policy.as_deref(),
        Some("IfNotPresent")
    );
    assert_eq!(spec.tolerations.unwrap().len(), 2);
    let status = made.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(made.metadata.generation, Some(1));

    // The status has its own endpoint.
    let sneaky = json!({"status": {"phase": "Running"}, "metadata": {"labels": {"x": "y"}}});
    let patched = api
        .patch("a", &PatchParams::default(), &Patch::Merge(&sneaky))
        .await
        .unwrap();
    assert_eq!(patched.status.unwrap().phase.as_deref(), Some("Pending"));
    let patched = api
        .patch_status("a", &PatchParams::default(), &Patch::Merge(&sneaky))
        .await
        .unwrap();
    assert_eq!(patched.status.unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(patched.metadata.generation, Some(1));

    let moved = json!({"spec": {"hostname": "elsewhere"}});
    let status = refusal(
        api.patch("a", &PatchParams::default(), &Patch::Merge(&moved))
            .await,
    );
    assert_eq!(status.code, 422);
    assert!(status.message.starts_with(
        "Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields other than"
    ));
}

#[tokio::test]
async fn pods_are_deleted_gracefully() {
    let api: Api<Pod> = Api::default_namespaced(client());
    api.create(&PostParams::default(), &from(pod("a")))
        .await
        .unwrap();
    let going = api
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(30));
    assert!(going.metadata.deletion_timestamp.is_some());
    // The kubelet confirms.
    api.delete("a", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let api: Api<ConfigMap> = Api::default_namespaced(client());
    let held: ConfigMap =
        from(json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}}));
    api.create(&PostParams::default(), &held).await.unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(
        api.get("a")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let release = json!({"metadata": {"finalizers": null}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn services_get_addresses() {
    let api: Api<Service> = Api::default_namespaced(client());
    let service = |name: &str, address: Option<&str>| -> Service {
        from(
            json!({"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}}),
        )
    };
    let made = api
        .create(&PostParams::default(), &service("a", None))
        .await
        .unwrap();
    let spec = made.spec.unwrap();
    let address = spec.cluster_ip.unwrap();
    assert!(address.starts_with("10.96."));
    assert_eq!(spec.cluster_ips.unwrap(), std::slice::from_ref(&address));
    let taken = refusal(
        api.create(&PostParams::default(), &service("b", Some(&address)))
            .await,
    );
    assert!(
        taken.message.ends_with("provided IP is already allocated"),
        "{}",
        taken.message
    );
    let headless = api
        .create(&PostParams::default(), &service("c", Some("None")))
        .await
        .unwrap();
    assert_eq!(headless.spec.unwrap().cluster_ip.as_deref(), Some("None"));
    assert_eq!(
        api.get("kubernetes")
            .await
            .unwrap()
            .spec
            .unwrap()
            .cluster_ip
            .as_deref(),
        Some("10.96.0.1")
    );
}

#[tokio::test]
async fn applies_conflict_over_fields() {
    let api: Api<ConfigMap> = Api::default_namespaced(client());
    let applied = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": value}});
    let one = PatchParams::apply("one");
    let two = PatchParams::apply("two");
    api.patch("a", &one, &Patch::Apply(applied("1")))
        .await
        .unwrap();
    let status = refusal(api.patch("a", &two, &Patch::Apply(applied("2"))).await);
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"one\": .data.key"
    );
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(cause.reason, "FieldManagerConflict");
    assert_eq!(cause.field, ".data.key");
    let forced = api
        .patch("a", &two.clone().force(), &Patch::Apply(applied("2")))
        .await
        .unwrap();
    assert_eq!(forced.data.unwrap()["key"], "2");
    // Applying the same again is no change.
    let before = api.get("a").await.unwrap().resource_version();
    let same = api
        .patch("a", &two, &Patch::Apply(applied("2")))
        .await
        .unwrap();
    assert_eq!(same.resource_version(), before);
}

#[tokio::test]
async fn all_patch_kinds() {
    let api: Api<Deployment> = Api::default_namespaced(client());
    let deployment: Deployment = from(json!({
        "metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "one", "image": "one:1"}]}}},
    }));
    let made = api
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    assert_eq!(made.spec.unwrap().replicas, Some(1));
    let strategic = json!({"spec": {"template": {"spec": {"containers": [{"name": "two", "image": "two:1"}]}}}});
    let patched = api
        .patch("a", &PatchParams::default(), &Patch::Strategic(strategic))
        .await
        .unwrap();
    assert_eq!(
        patched
            .spec
            .unwrap()
            .template
            .spec
            .unwrap()
            .containers
            .len(),
        2
    );
    assert_eq!(patched.metadata.generation, Some(2));
    let json_patch: json_patch::Patch =
        from(json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]));
    let patched = api
        .patch("a", &PatchParams::default(), &Patch::Json::<()>(json_patch))
        .await
        .unwrap();
    assert_eq!(patched.spec.unwrap().replicas, Some(3));

    let scale = api.get_scale("a").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let scaled = api
        .patch_scale(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 5}})),
        )
        .await
        .unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(5));
    assert_eq!(scaled.status.unwrap().selector.as_deref(), Some("app=a"));
    assert_eq!(api.get("a").await.unwrap().metadata.generation, Some(4));

    let other = json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}});
    let status = refusal(
        api.patch("a", &PatchParams::default(), &Patch::Merge(other))
            .await,
    );
    assert!(
        status.message.contains("field is immutable"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn unknown_fields_are_dropped_warned_about_or_refused() {
    let client = client();
    let api: Api<DynamicObject> = Api::default_namespaced_with(
        client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Service")),
    );
    let odd = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"clusterIP": "None", "colour": "red"}});
    let apply = PatchParams::apply("test");
    let status = refusal(api.patch("a", &apply, &Patch::Apply(&odd)).await);
    assert!(
        status
            .message
            .ends_with(".spec.colour: field not declared in schema"),
        "{}",
        status.message
    );
    let strict = "/api/v1/namespaces/default/services?fieldValidation=Strict";
    let request = http::Request::post(strict)
        .body(odd.to_string().into_bytes())
        .unwrap();
    let status = refusal(client.request::<Value>(request).await);
    assert_eq!(
        status.message,
        "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \"spec.colour\""
    );
    let made: DynamicObject = api
        .create(&PostParams::default(), &from(odd))
        .await
        .unwrap();
    assert!(made.data["spec"].get("colour").is_none());
}

#[tokio::test]
async fn custom_resources() {
    let (_server, client) = with_widgets();
    let api = widget_api(&client, "v1");
    let made = api
        .create(&PostParams::default(), &widget("a", 3))
        .await
        .unwrap();
    assert_eq!(made.data["spec"]["color"], "red");
    assert_eq!(made.metadata.generation, Some(1));
    let zero = refusal(api.create(&PostParams::default(), &widget("b", 0)).await);
    assert_eq!(
        zero.message,
        "Widget.example.com \"b\" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"
    );
    let big = refusal(api.create(&PostParams::default(), &widget("b", 200)).await);
    assert!(big.message.contains("too big"), "{}", big.message);

    // Another version shows the same object.
    let old = widget_api(&client, "v1alpha1").get("a").await.unwrap();
    assert_eq!(old.types.unwrap().api_version, "example.com/v1alpha1");

    // The status does not count as a generation, the spec does.
    let status = json!({"status": {"ready": true}, "spec": {"size": 9}});
    let patched = api
        .patch_status("a", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    assert_eq!(patched.data["status"]["ready"], true);
    assert_eq!(patched.data["spec"]["size"], 3);
    assert_eq!(patched.metadata.generation, Some(1));
    let patched = api
        .patch("a", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    assert_eq!(patched.data["spec"]["size"], 9);
    assert_eq!(patched.metadata.generation, Some(2));
}

#[tokio::test]
async fn selectors_and_pages() {
    let api: Api<Pod> = Api::default_namespaced(client());
    for n in 0..7 {
        api.create(&PostParams::default(), &from(pod(&format!("p{n}"))))
            .await
            .unwrap();
    }
    let names = |list: kube::core::ObjectList<Pod>| -> Vec<String> {
        list.items.iter().map(ResourceExt::name_any).collect()
    };
    let selected = api
        .list(&ListParams::default().labels("app in (p1,p3),!other"))
        .await
        .unwrap();
    assert_eq!(names(selected), ["p1", "p3"]);
    let selected = api
        .list(&ListParams::default().fields("metadata.name=p2,status.phase=Pending"))
        .await
        .unwrap();
    assert_eq!(names(selected), ["p2"]);
    let odd = refusal(api.list(&ListParams::default().fields("spec.odd=1")).await);
    assert_eq!(odd.code, 400);

    let first = api.list(&ListParams::default().limit(3)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(4));
    let token = first.metadata.continue_.clone().unwrap();
    // What happens between pages does not show.
    api.create(&PostParams::default(), &from(pod("p9")))
        .await
        .unwrap();
    api.delete("p5", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    let mut rest = ListParams::default().limit(10);
    rest.continue_token = Some(token);
    let second = api.list(&rest).await.unwrap();
    assert_eq!(
        second.metadata.resource_version,
        first.metadata.resource_version
    );
    assert_eq!(names(second), ["p3", "p4", "p5", "p6"]);
}

#[tokio::test]
async fn deletecollection_takes_what_is_selected() {
    let api: Api<ConfigMap> = Api::default_namespaced(client());
    for name in ["a", "b"] {
        let labelled: ConfigMap =
            from(json!({"metadata": {"name": name, "labels": {"which": name}}}));
        api.create(&PostParams::default(), &labelled).await.unwrap();
    }
    api.delete_collection(
        &DeleteParams::default(),
        &ListParams::default().labels("which=a"),
    )
    .await
    .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
    assert!(api.get_opt("b").await.unwrap().is_some());
}

async fn until<F, T>(mut check: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never came true");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn garbage_is_collected() {
    let client = client();
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let owner = api
        .create(&PostParams::default(), &config_map("owner", "1"))
        .await
        .unwrap();
    let belonging = |name: &str| -> ConfigMap {
        from(
            json!({"metadata": {"name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
            "name": "owner", "uid": owner.uid().unwrap(), "blockOwnerDeletion": true}]}}),
        )
    };
    api.create(&PostParams::default(), &belonging("child"))
        .await
        .unwrap();
    api.delete("owner", &DeleteParams::default()).await.unwrap();
    until(async || api.get_opt("child").await.unwrap().is_none().then_some(())).await;
    // One whose owner never was goes too.
    api.create(&PostParams::default(), &belonging("late"))
        .await
        .unwrap();
    until(async || api.get_opt("late").await.unwrap().is_none().then_some(())).await;
}

#[tokio::test]
async fn orphans_and_foreground() {
    let api: Api<ConfigMap> = Api::default_namespaced(client());
    for (policy, survives) in [
        (PropagationPolicy::Orphan, true),
        (PropagationPolicy::Foreground, false),
    ] {
        let owner = api
            .create(&PostParams::default(), &config_map("owner", "1"))
            .await
            .unwrap();
        let child: ConfigMap = from(
            json!({"metadata": {"name": "child", "ownerReferences": [{"apiVersion": "v1",
            "kind": "ConfigMap", "name": "owner", "uid": owner.uid().unwrap(), "blockOwnerDeletion": true}]}}),
        );
        api.create(&PostParams::default(), &child).await.unwrap();
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        api.delete("owner", &params).await.unwrap();
        until(async || api.get_opt("owner").await.unwrap().is_none().then_some(())).await;
        let child = api.get_opt("child").await.unwrap();
        assert_eq!(child.is_some(), survives);
        if let Some(child) = child {
            assert!(child.owner_references().is_empty());
            api.delete("child", &DeleteParams::default()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn namespaces_come_furnished_and_go_with_their_content() {
    let client = client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let space: Namespace = from(json!({"metadata": {"name": "space"}}));
    let made = namespaces
        .create(&PostParams::default(), &space)
        .await
        .unwrap();
    assert_eq!(
        made.labels().get("kubernetes.io/metadata.name").unwrap(),
        "space"
    );
    assert_eq!(made.spec.unwrap().finalizers.unwrap(), ["kubernetes"]);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "space");
    assert!(maps.get_opt("kube-root-ca.crt").await.unwrap().is_some());
    let held: ConfigMap =
        from(json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}));
    maps.create(&PostParams::default(), &held).await.unwrap();

    namespaces
        .delete("space", &DeleteParams::default())
        .await
        .unwrap();
    let status = until(async || {
        let status = namespaces.get("space").await.unwrap().status.unwrap();
        status.conditions.is_some().then_some(status)
    })
    .await;
    assert_eq!(status.phase.as_deref(), Some("Terminating"));
    let refused = refusal(
        maps.create(&PostParams::default(), &config_map("late", "1"))
            .await,
    );
    assert_eq!(
        refused.message,
        "configmaps \"late\" is forbidden: unable to create new content in namespace space because it is being terminated"
    );
    let release = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    until(async || {
        namespaces
            .get_opt("space")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    let kept = refusal(namespaces.delete("default", &DeleteParams::default()).await);
    assert_eq!(
        kept.message,
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}

#[tokio::test]
async fn definitions_take_their_instances_along() {
    let (_server, client) = with_widgets();
    let api = widget_api(&client, "v1");
    api.create(&PostParams::default(), &widget("a", 3))
        .await
        .unwrap();
    let definitions: Api<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    > = Api::all(client.clone());
    let found = definitions.get("widgets.example.com").await.unwrap();
    let conditions = found.status.unwrap().conditions.unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c.type_ == "Established" && c.status == "True")
    );
    definitions
        .delete("widgets.example.com", &DeleteParams::default())
        .await
        .unwrap();
    until(async || {
        definitions
            .get_opt("widgets.example.com")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    let gone = refusal(api.list(&ListParams::default()).await);
    assert_eq!(gone.code, 404);
}
