//! Reaching a cluster through a kubeconfig, and being told exactly what is in the way.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure of a test"
)]

mod support;

use std::{path::Path, sync::Arc};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace},
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trunkline_cluster::{ClusterSite, ConnectOptions, ContextError};
use trunkline_engine::{
    CaseOutcome, RunOptions, Site as _,
    events::{self, EventKind, RunId},
};

use support::Cluster;

async fn refused(kubeconfig: &Path, context: Option<&str>) -> ContextError {
    let options = ConnectOptions {
        kubeconfig: Some(kubeconfig.to_owned()),
        context: context.map(str::to_owned),
        ..ConnectOptions::default()
    };
    ClusterSite::connect(options).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_kubeconfig_is_told() {
    let cluster = Cluster::new();
    let file = |name: &str, text: &str| {
        let path = cluster.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let missing = refused(&cluster.folder.path().join("nothing"), None).await;
    assert!(
        matches!(missing, ContextError::Unreadable { .. }),
        "{missing}"
    );
    let broken = refused(&file("broken", "a: [b"), None).await;
    assert!(
        matches!(broken, ContextError::NotAKubeconfig { .. }),
        "{broken}"
    );
    let empty = refused(&file("empty", "apiVersion: v1\nkind: Config\n"), None).await;
    assert!(
        matches!(empty, ContextError::NoCurrentContext { .. }),
        "{empty}"
    );

    let good = cluster.kubeconfig("root", &["system:masters"]);
    let unknown = refused(&good, Some("elsewhere")).await;
    let ContextError::NoSuchContext { known, .. } = &unknown else {
        panic!("{unknown}")
    };
    assert_eq!(known.len(), 1);
    assert!(
        unknown
            .to_string()
            .ends_with(&format!("it has {}", known[0])),
        "{unknown}"
    );
}

fn pointing_at(cluster: &Cluster, url: &str) -> std::path::PathBuf {
    let path = cluster.folder.path().join("other");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url, "insecure-skip-tls-verify": true}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_is_told_from_one_that_does_not_let_us() {
    let cluster = Cluster::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("https://{}", free.local_addr().unwrap());
    drop(free);
    let nobody = refused(&pointing_at(&cluster, &closed), None).await;
    assert!(
        matches!(nobody, ContextError::Unreachable { .. }),
        "{nobody}"
    );
    assert!(
        nobody.to_string().contains("Connection refused"),
        "{nobody}"
    );

    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = format!("http://{}", other.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let page = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            let _ = stream.write_all(page).await;
        }
    });
    let page = refused(&pointing_at(&cluster, &web), None).await;
    assert!(matches!(page, ContextError::NotKubernetes { .. }), "{page}");

    // Without credentials it is anybody who asks, who may not even know what is served.
    let anybody = refused(&pointing_at(&cluster, &cluster.url), None).await;
    assert!(
        anybody.to_string().contains("system:anonymous"),
        "{anybody}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_offers_is_found_out() {
    let cluster = Cluster::new();
    let site = cluster.administrator().await;
    assert_eq!(site.name(), "staging");
    let discovered = site.discovered();
    assert_eq!(
        (discovered.version.major, discovered.version.minor),
        (1, 34)
    );
    assert_eq!(discovered.capabilities.sdn, None);
    assert_eq!(discovered.capabilities.workers, 0);
    assert!(discovered.hidden.is_empty());

    // Definitions without what acts on them.
    let crds: Api<kube::api::DynamicObject> = Api::all_with(
        cluster.admin.clone(),
        &kube::core::ApiResource {
            group: "apiextensions.k8s.io".into(),
            version: "v1".into(),
            api_version: "apiextensions.k8s.io/v1".into(),
            kind: "CustomResourceDefinition".into(),
            plural: "customresourcedefinitions".into(),
        },
    );
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "nodenetworkconfigurationpolicies.nmstate.io"},
        "spec": {"group": "nmstate.io", "scope": "Cluster",
            "names": {"plural": "nodenetworkconfigurationpolicies", "singular": "nncp", "kind": "NodeNetworkConfigurationPolicy"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    crds.create(
        &PostParams::default(),
        &serde_json::from_value(crd).unwrap(),
    )
    .await
    .unwrap();
    let half = cluster.administrator().await;
    assert!(half.capabilities().nmstate);
    let scenario = cluster.scenario(
        "  requires: {nmstate: true}\n  steps:\n  - title: Nothing\n    expect: ['a is a']\n",
        "",
    );
    let words = half.admit(&scenario).await.unwrap_err().to_string();
    assert!(words.starts_with("nmstate is only half there: "), "{words}");
    let other = cluster.scenario("  steps:\n  - title: Nothing\n    expect: ['a is a']\n", "");
    assert_eq!(
        half.admit(&other).await.unwrap(),
        Vec::<String>::new(),
        "who does not need it is not bothered"
    );
}

const ALL: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: shared, namespace: default}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: x}
spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}
";

const STEPS: &str = "  namespaces: [x]
  steps:
  - title: Both are created
    apply: all.yaml
    until: deployment/x/web exists
";

async fn run(site: &ClusterSite, cluster: &Cluster) -> (CaseOutcome, Vec<EventKind>) {
    let scenario = cluster.scenario(STEPS, ALL);
    let (sender, mut receiver) = events::channel(RunId::random());
    let site = Arc::new(site.clone());
    let outcome = trunkline_engine::run(&scenario, site, RunOptions::default(), &sender).await;
    drop(sender);
    let mut events = Vec::new();
    while let Some(event) = receiver.recv().await {
        events.push(event.kind);
    }
    (outcome, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_account_is_told_exactly_what_it_lacks() {
    let cluster = Cluster::new();
    let roles: Api<ClusterRole> = Api::all(cluster.admin.clone());
    let everything = ["get", "list", "watch", "create", "patch", "delete"];
    let may = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let role = |rules: Vec<serde_json::Value>| -> ClusterRole {
        serde_json::from_value(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "tester"}, "rules": rules}))
        .unwrap()
    };
    let nearly = role(vec![
        may("", "namespaces", &everything),
        may("", "configmaps", &everything),
        may("", "pods", &everything),
        may("apps", "deployments", &["get", "list", "watch", "patch"]),
    ]);
    roles.create(&PostParams::default(), &nearly).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.admin.clone());
    let binding = json!({"metadata": {"name": "tester"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tester"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tina"}]});
    bindings
        .create(
            &PostParams::default(),
            &serde_json::from_value(binding).unwrap(),
        )
        .await
        .unwrap();

    let site = cluster.site("tina", &[]).await;
    assert!(site.discovered().is_hidden("nodes"));
    let (outcome, events) = run(&site, &cluster).await;
    assert_eq!(
        outcome,
        CaseOutcome::Broken {
            reason:
                "nothing was created on staging: tina cannot create deployments.apps in namespace x"
                    .into()
        }
    );
    let namespaces: Api<Namespace> = Api::all(cluster.admin.clone());
    assert!(namespaces.get_opt("x").await.unwrap().is_none());
    let configs: Api<ConfigMap> = Api::namespaced(cluster.admin.clone(), "default");
    assert!(configs.get_opt("shared").await.unwrap().is_none());
    let created = |event: &EventKind| {
        matches!(
            event,
            EventKind::NamespaceCreated { .. } | EventKind::ObjectApplied { .. }
        )
    };
    assert!(!events.iter().any(created));

    // With exactly that right added it runs, and says what it had to do without.
    let enough = role(vec![
        may("", "namespaces", &everything),
        may("", "configmaps", &everything),
        may("", "pods", &everything),
        may(
            "apps",
            "deployments",
            &["get", "list", "watch", "patch", "create"],
        ),
    ]);
    let params = PatchParams::apply("test").force();
    roles
        .patch("tester", &params, &Patch::Apply(&enough))
        .await
        .unwrap();
    let (outcome, events) = run(&site, &cluster).await;
    assert_eq!(outcome, CaseOutcome::Passed, "{events:#?}");
    let warnings: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Warning { message, .. } => Some(message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        warnings,
        ["reports have less to tell: we cannot list, watch events in namespace x"]
    );
    assert!(
        configs.get_opt("shared").await.unwrap().is_none(),
        "cleared up"
    );
    assert!(namespaces.get_opt("x").await.unwrap().is_none());
}
