//! A stand-in for the cluster: an API server with nodes, and controllers that make everything ready at once.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use kubeapi::{ApiServer, Pki};
use serde_json::{Value, json};
use trunkline_cluster::component::{self, Ready};

pub struct Cluster {
    pub client: Client,
    /// Objects, as they are called in messages, that never become ready.
    pub never: Arc<Mutex<BTreeSet<String>>>,
}

impl Cluster {
    /// Serves, and writes the kubeconfig that the stand-in for kind hands out.
    pub async fn start(directory: &Path) -> Self {
        let server = ApiServer::builder().build().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let pki = Pki::generate(&["127.0.0.1".to_owned()]).unwrap();
        let kubeconfig = pki
            .kubeconfig(&url, "c", "admin", &["system:masters"])
            .unwrap();
        std::fs::write(directory.join("kubeconfig"), kubeconfig).unwrap();
        let client = server.client("admin");
        tokio::spawn(async move {
            server
                .serve(listener, &pki, std::future::pending())
                .await
                .unwrap();
        });
        for (index, name) in ["c-control-plane", "c-worker", "c-worker2"]
            .iter()
            .enumerate()
        {
            node(&client, name, index + 2).await;
        }
        let never = Arc::default();
        tokio::spawn(controllers(client.clone(), Arc::clone(&never)));
        Self { client, never }
    }

    pub async fn create(&self, object: Value) {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let types = object.types.clone().unwrap();
        let (group, version) = types
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", &types.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
        let namespace = object.metadata.namespace.clone().unwrap();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &namespace, &resource);
        let status = object.data["status"].clone();
        api.create(&PostParams::default(), &object).await.unwrap();
        if !status.is_null() {
            let name = object.metadata.name.unwrap();
            set_status(&api, &name, status).await;
        }
    }
}

async fn node(client: &Client, name: &str, last: usize) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Node"));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "spec": {"podCIDR": format!("10.244.{last}.0/24")},
    });
    api.create(
        &PostParams::default(),
        &serde_json::from_value(node).unwrap(),
    )
    .await
    .unwrap();
    let status = json!({
        "addresses": [{"type": "InternalIP", "address": format!("172.18.0.{last}")}],
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    set_status(&api, name, status).await;
}

async fn set_status(api: &Api<DynamicObject>, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    // What was deleted meanwhile needs no status.
    let _ = api
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
}

/// Whatever a component waits for appears and is ready, unless it never is.
async fn controllers(client: Client, never: Arc<Mutex<BTreeSet<String>>>) {
    loop {
        for ready in component::all()
            .iter()
            .flat_map(|component| &component.ready)
        {
            if !never.lock().unwrap().contains(&ready.to_string()) {
                make_ready(&client, ready).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn make_ready(client: &Client, ready: &Ready) {
    let built_in = matches!(ready.kind.as_str(), "Deployment" | "DaemonSet");
    if !built_in && ready.condition.is_none() {
        return;
    }
    let version = ready.api.as_deref().unwrap_or("apps/v1");
    let (group, version) = version.rsplit_once('/').unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &ready.kind));
    let name = ready.name.as_deref().unwrap();
    let api: Api<DynamicObject> = match &ready.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let found = match api.get_opt(name).await {
        Ok(Some(found)) => found,
        Ok(None) if built_in => {
            let labels = json!({"app": name});
            let object = json!({
                "apiVersion": "apps/v1", "kind": ready.kind, "metadata": {"name": name, "namespace": ready.namespace},
                "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "c", "image": "x"}]}}},
            });
            if let Some(namespace) = &ready.namespace {
                let namespaces: Api<k8s_openapi::api::core::v1::Namespace> =
                    Api::all(client.clone());
                let namespace =
                    serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
                let _ = namespaces.create(&PostParams::default(), &namespace).await;
            }
            let _ = api
                .create(
                    &PostParams::default(),
                    &serde_json::from_value(object).unwrap(),
                )
                .await;
            return;
        }
        _ => return,
    };
    let generation = found.metadata.generation.unwrap_or(1);
    let status = match &ready.condition {
        Some(condition) => json!({"conditions": [{"type": condition, "status": "True"}]}),
        None => json!({
            "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1,
            "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1,
            "desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1,
        }),
    };
    if ready.condition.is_some() || found.data["status"]["observedGeneration"] != json!(generation)
    {
        set_status(&api, name, status).await;
    }
}
