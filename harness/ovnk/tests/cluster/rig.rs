//! The cluster: an API server, a fabric and the controllers. Pods are network namespaces.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, Service};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use serde_json::{Value, json};
use trunkline_fabric::{Fabric, FabricSpec, NetNs, NodeSpec};
use trunkline_ovnk::northbound::monitor;
use trunkline_ovnk::{ClusterConfig, Northbound, Ovnk, cni, from_replica, nad_resource};

use crate::record::{self, NODES, node};

pub struct Cluster {
    pub client: Client,
    pub fabric: Fabric,
    pub ovnk: Ovnk,
}

fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
        "spec": {
            "group": "k8s.cni.cncf.io", "scope": "Namespaced",
            "names": {
                "plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition", "shortNames": ["net-attach-def"],
            },
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"config": {"type": "string"}}}},
            }}}],
        },
    })
}

/// A kind of which the API server knows nothing but the name.
fn any_crd((group, version): (&str, &str), kind: &str, plural: &str, namespaced: bool) -> Value {
    let scope = if namespaced { "Namespaced" } else { "Cluster" };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": scope,
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                },
            }}],
        },
    })
}

impl Cluster {
    pub async fn start() -> Cluster {
        let mut server = kubeapi::ApiServer::builder().crd(crd());
        for (group, kind, plural, namespaced) in crate::parity::KINDS {
            server = server.crd(any_crd(group, kind, plural, namespaced));
        }
        let server = server.build().unwrap();
        let client = server.client("test");
        let nodes = NODES.iter().zip([4, 3, 2]).map(|(name, last)| {
            let address = format!("172.18.0.{last}/16").parse().unwrap();
            NodeSpec::new(node(name), address)
        });
        let began = Instant::now();
        let fabric = Fabric::start(FabricSpec::new(nodes.collect()))
            .await
            .unwrap();
        println!("fabric after {:?}", began.elapsed());
        for name in NODES {
            create::<Node>(
                &Api::all(client.clone()),
                json!({"metadata": {"name": name}}),
            )
            .await;
        }
        let began = Instant::now();
        let gateway = "172.18.0.1".parse().unwrap();
        let ovnk = Ovnk::start(
            client.clone(),
            fabric.clone(),
            ClusterConfig::default(),
            gateway,
        );
        let ovnk = ovnk.await.unwrap();
        ovnk.ready().await.unwrap();
        println!("controllers ready after {:?}", began.elapsed());
        let dns = record::service("kube-system", "kube-dns");
        create::<Service>(&Api::namespaced(client.clone(), "kube-system"), dns).await;
        ovnk.settled().await.unwrap();
        Cluster {
            client,
            fabric,
            ovnk,
        }
    }

    pub async fn namespace(&self, name: &str) {
        create::<Namespace>(
            &Api::all(self.client.clone()),
            json!({"metadata": {"name": name}}),
        )
        .await;
    }

    pub async fn nad(&self, namespace: &str, name: &str, config: &str) {
        let resource = nad_resource();
        let api = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let nad: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name}, "spec": {"config": config},
        }))
        .unwrap();
        api.create(&PostParams::default(), &nad).await.unwrap();
    }

    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub async fn pod(&self, namespace: &str, name: &str, node: &str, networks: &str) -> Pod {
        let pod = json!({
            "metadata": {"name": name, "annotations": {"k8s.v1.cni.cncf.io/networks": networks}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]},
        });
        create(&self.pods(namespace), pod).await
    }

    /// What the kubelet does.
    pub async fn connect(&self, pod: &Pod, number: u8) -> Result<(NetNs, cni::Added), String> {
        let netns = NetNs::create().await.unwrap();
        let name = pod.spec.as_ref().unwrap().node_name.clone().unwrap();
        let sandbox = sandbox(number);
        let added = cni::add(self.ovnk.cni(), pod, &sandbox, &netns, &node(&name)).await;
        added
            .map(|added| (netns, added))
            .map_err(|error| error.to_string())
    }

    /// Waits until the events about an object are as wanted; fails with what they are instead.
    pub async fn until_events(
        &self,
        namespace: &str,
        about: &str,
        wanted: impl Fn(&[(String, String, i32)]) -> bool,
    ) {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let changes = watcher(api.clone(), watcher::Config::default()).touched_objects();
        let mut changes = std::pin::pin!(changes);
        loop {
            let events = api.list(&ListParams::default()).await.unwrap();
            let mut events: Vec<_> = events
                .into_iter()
                .filter(|event| event.involved_object.name.as_deref() == Some(about))
                .map(|event| {
                    let text = |text: Option<String>| text.unwrap_or_default();
                    (
                        text(event.reason),
                        text(event.message),
                        event.count.unwrap_or(0),
                    )
                })
                .collect();
            events.sort();
            if wanted(&events) {
                return;
            }
            let change = tokio::time::timeout(Duration::from_secs(5), changes.next()).await;
            assert!(change.is_ok(), "events about {about}: {events:#?}");
        }
    }

    pub async fn rows(&self, name: &str) -> Northbound {
        let zone = &self.fabric.node(&node(name)).unwrap().zone;
        let nb = ovsdb::Client::connect(&zone.nb, "OVN_Northbound")
            .await
            .unwrap();
        let replica = nb.monitor(monitor(nb.schema())).await.unwrap();
        from_replica(&replica.snapshot()).rows
    }
}

/// Differs in its first characters, which interfaces are named after.
pub fn sandbox(number: u8) -> String {
    format!("{number:064x}").chars().rev().collect()
}

pub async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

/// Connects from one namespace to a listener in the other; what it says, or `None` if nothing
/// comes through.
pub async fn talk(from: &NetNs, to: &NetNs, address: IpAddr) -> Option<String> {
    let listener = to
        .run(|| TcpListener::bind("0.0.0.0:0").unwrap())
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        listener.set_nonblocking(false).unwrap();
        if let Ok((mut stream, _)) = listener.accept() {
            stream.write_all(b"hello").unwrap();
        }
    });
    let target = SocketAddr::new(address, port);
    let said = from
        .run(move || {
            let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(2)).ok()?;
            let mut said = String::new();
            stream.read_to_string(&mut said).ok()?;
            Some(said)
        })
        .await
        .unwrap();
    if said.is_some() {
        server.join().unwrap();
    }
    said
}
