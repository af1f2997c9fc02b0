//! A recorded case as it happens in a live cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use serde_json::{Value, json};
use trunkline_fabric::NetNs;
use trunkline_ovnk::{Key, cni};

use super::KINDS;
use crate::record::{Case, as_recorded, node};
use crate::rig::{Cluster, create, sandbox};

/// How long a pod may take that will be connected. Those that wait for ever are given up then.
const LIMIT: Duration = Duration::from_secs(3);

/// How it went for a pod.
pub struct Connected {
    pub pod: Pod,
    pub sandbox: String,
    /// Nothing while it still waits; else its addresses, or what the kubelet would be told.
    pub outcome: Option<Result<Vec<String>, String>>,
    /// Goes when nobody holds it.
    #[allow(dead_code, reason = "held, not read")]
    netns: Option<NetNs>,
}

pub struct Live<'a> {
    pub cluster: &'a Cluster,
    pub case: &'a Case,
    /// The recorded objects of the steps that are compared.
    pub compared: Vec<Value>,
    pub pods: BTreeMap<Key, Connected>,
    namespaces: Vec<String>,
    others: Vec<DynamicObject>,
}

impl<'a> Live<'a> {
    pub fn new(cluster: &'a Cluster, case: &'a Case) -> Live<'a> {
        Live {
            cluster,
            case,
            compared: Vec::new(),
            pods: BTreeMap::new(),
            namespaces: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Applies a step, and connects its pods if it is compared.
    pub async fn apply(&mut self, step: &[Value], compared: bool) {
        let (pods, others): (Vec<_>, Vec<_>) =
            step.iter().partition(|object| object["kind"] == "Pod");
        for object in others {
            self.apply_one(object, compared).await;
        }
        self.cluster.ovnk.settled().await.unwrap();
        let mut created = Vec::new();
        for object in pods {
            if compared {
                self.compared
                    .extend(as_recorded(object, &self.case.objects()));
            }
            let namespace = object["metadata"]["namespace"].as_str().unwrap();
            let pod: Pod = create(&self.cluster.pods(namespace), object.clone()).await;
            created.push((
                pod,
                u8::try_from(100 + self.pods.len() + created.len()).unwrap(),
            ));
        }
        let connecting = created
            .into_iter()
            .map(|(pod, number)| self.connect(pod, number, compared));
        let connected = futures::future::join_all(connecting).await;
        for connected in connected {
            let pod = &connected.pod;
            let key = Key::new(pod.namespace().unwrap(), pod.name_any());
            self.pods.insert(key, connected);
        }
        self.cluster.ovnk.settled().await.unwrap();
    }

    async fn connect(&self, pod: Pod, number: u8, compared: bool) -> Connected {
        let mut connected = Connected {
            pod,
            sandbox: sandbox(number),
            outcome: None,
            netns: None,
        };
        if !compared {
            return connected;
        }
        let connecting = self.cluster.connect(&connected.pod, number);
        match tokio::time::timeout(LIMIT, connecting).await {
            Ok(Ok((netns, added))) => {
                let addresses = added.pod_ips.iter().map(ToString::to_string).collect();
                connected.outcome = Some(Ok(addresses));
                connected.netns = Some(netns);
            }
            Ok(Err(error)) => connected.outcome = Some(Err(error)),
            Err(_) => {}
        }
        connected
    }

    async fn apply_one(&mut self, object: &Value, compared: bool) {
        let kind = object["kind"].as_str().unwrap();
        if kind == "Namespace" {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            if !self.namespaces.contains(&name) {
                self.namespaces.push(name);
            }
        }
        // What an API server that knows the kind refuses is not compared here.
        let name = object["metadata"]["name"].as_str().unwrap();
        let (api, params) = (self.api(object), PatchParams::apply("test").force());
        let patch = Patch::Apply(object);
        let applied = api.patch(name, &params, &patch).await.unwrap();
        if kind == "ClusterUserDefinedNetwork" {
            self.others.push(applied);
        }
        if !compared {
            return;
        }
        let recorded = as_recorded(object, &self.case.objects());
        if kind.ends_with("UserDefinedNetwork") {
            for made in &recorded {
                self.stand_in(made).await;
            }
        }
        self.compared.extend(recorded);
    }

    /// The lab makes no definitions of user-defined networks yet.
    async fn stand_in(&self, recorded: &Value) {
        self.cluster.ovnk.settled().await.unwrap();
        let name = recorded["metadata"]["name"].as_str().unwrap();
        let api = self.api(recorded);
        let there = api.get_opt(name).await.unwrap();
        assert!(there.is_none(), "{name} is made by itself now: compare it");
        let object = json!({
            "apiVersion": recorded["apiVersion"], "kind": recorded["kind"],
            "metadata": {"name": name}, "spec": recorded["spec"],
        });
        create(&api, object).await;
    }

    pub fn api(&self, object: &Value) -> Api<DynamicObject> {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let kind = text("kind");
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", "v1"));
        let plural = match kind {
            "NetworkAttachmentDefinition" => "network-attachment-definitions",
            "NetworkPolicy" => "networkpolicies",
            "Namespace" => "namespaces",
            "Pod" => "pods",
            _ => {
                KINDS
                    .iter()
                    .find(|(_, other, ..)| *other == kind)
                    .unwrap()
                    .2
            }
        };
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let client = self.cluster.client.clone();
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    /// Takes everything away, so that the next case begins as this one did.
    pub async fn clean_up(self) {
        let now = DeleteParams::default().grace_period(0);
        for (key, connected) in &self.pods {
            let pods = self.cluster.pods(&key.namespace);
            pods.delete(&key.name, &now).await.unwrap();
            let spec = connected.pod.spec.as_ref().unwrap();
            let node = node(spec.node_name.as_ref().unwrap());
            cni::del(self.cluster.ovnk.cni(), &connected.sandbox, &node)
                .await
                .unwrap();
        }
        for other in &self.others {
            let object = serde_json::to_value(other).unwrap();
            let name = other.name_any();
            self.api(&object).delete(&name, &now).await.unwrap();
        }
        let api: Api<Namespace> = Api::all(self.cluster.client.clone());
        for namespace in &self.namespaces {
            api.delete(namespace, &DeleteParams::default())
                .await
                .unwrap();
        }
        let changes = watcher(api.clone(), watcher::Config::default()).touched_objects();
        let mut changes = std::pin::pin!(changes);
        loop {
            let left = api.list(&ListParams::default()).await.unwrap();
            let mut left = left.iter().map(ResourceExt::name_any);
            if !left.any(|name| self.namespaces.contains(&name)) {
                break;
            }
            let change = tokio::time::timeout(Duration::from_secs(10), changes.next()).await;
            assert!(change.is_ok(), "{} leaves something behind", self.case.name);
        }
        self.cluster.ovnk.settled().await.unwrap();
    }
}
