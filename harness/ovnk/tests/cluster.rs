//! A whole cluster without kubelets: the API server, three real zones, and pods that are nothing
//! but network namespaces. Its Northbound databases are held against the recorded ones.
#![allow(clippy::unwrap_used)]

mod record;
mod sealed;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, Service};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, ResourceExt};
use libtest_mimic::{Arguments, Trial};
use record::{NODES, case_world, node, step};
use serde_json::{Value, json};
use trunkline_fabric::{Fabric, FabricSpec, NetNs, NodeSpec};
use trunkline_ovnk::northbound::{Placeholders, Table, monitor};
use trunkline_ovnk::{
    ClusterConfig, Northbound, Ovnk, cni, compile, diff, from_replica, nad_resource,
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let skipped = if arguments.list {
        None
    } else {
        sealed::seal().err()
    };
    if let Some(reason) = &skipped {
        eprintln!("skipped: {reason}");
    }
    let trial = Trial::test("cluster", || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::start().await;
            overlay(&cluster).await;
            refusals(&cluster).await;
        });
        Ok(())
    });
    let trial = trial.with_ignored_flag(skipped.is_some());
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

struct Cluster {
    client: Client,
    fabric: Fabric,
    ovnk: Ovnk,
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

impl Cluster {
    async fn start() -> Cluster {
        let server = kubeapi::ApiServer::builder().crd(crd()).build().unwrap();
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
        let dns = json!({
            "metadata": {"name": "kube-dns"},
            "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 53}]},
        });
        create::<Service>(&Api::namespaced(client.clone(), "kube-system"), dns).await;
        Cluster {
            client,
            fabric,
            ovnk,
        }
    }

    async fn namespace(&self, name: &str) {
        create::<Namespace>(
            &Api::all(self.client.clone()),
            json!({"metadata": {"name": name}}),
        )
        .await;
    }

    async fn nad(&self, namespace: &str, name: &str, config: &str) {
        let resource = nad_resource();
        let api = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let nad: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name}, "spec": {"config": config},
        }))
        .unwrap();
        api.create(&PostParams::default(), &nad).await.unwrap();
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn pod(&self, namespace: &str, name: &str, node: &str, networks: &str) -> Pod {
        let pod = json!({
            "metadata": {"name": name, "annotations": {"k8s.v1.cni.cncf.io/networks": networks}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]},
        });
        create(&self.pods(namespace), pod).await
    }

    /// What the kubelet does.
    async fn connect(&self, pod: &Pod, number: u8) -> Result<(NetNs, cni::Added), String> {
        let netns = NetNs::create().await.unwrap();
        let name = pod.spec.as_ref().unwrap().node_name.clone().unwrap();
        let sandbox = format!("{number:064x}");
        let sandbox: String = sandbox.chars().rev().collect();
        let added = cni::add(self.ovnk.cni(), pod, &sandbox, &netns, &node(&name)).await;
        added
            .map(|added| (netns, added))
            .map_err(|error| error.to_string())
    }

    /// Waits until the events about an object are as wanted; fails with what they are instead.
    async fn until_events(
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

    async fn rows(&self, name: &str) -> Northbound {
        let zone = &self.fabric.node(&node(name)).unwrap().zone;
        let nb = ovsdb::Client::connect(&zone.nb, "OVN_Northbound")
            .await
            .unwrap();
        let replica = nb.monitor(monitor(nb.schema())).await.unwrap();
        from_replica(&replica.snapshot()).rows
    }
}

async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

const IPAM: &str = r#"{"cniVersion": "0.3.1", "name": "green-network", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "NS/shared-net", "subnets": "192.168.200.0/24"}"#;

/// The recorded case 01, with real packets.
async fn overlay(cluster: &Cluster) {
    for namespace in ["tenantblue", "tenantyellow"] {
        cluster.namespace(namespace).await;
        // Settled means also what was made just now.
        cluster.ovnk.settled().await.unwrap();
        assert!(cluster.ovnk.world().namespaces.contains(namespace));
        cluster
            .nad(namespace, "shared-net", &IPAM.replace("NS", namespace))
            .await;
    }
    let began = Instant::now();
    let wanted = [
        ("tenantblue", "podclient", "lab-worker"),
        ("tenantblue", "blue-server", "lab-worker2"),
        ("tenantyellow", "yellow-server", "lab-worker2"),
    ];
    let mut pods = Vec::new();
    for (namespace, name, node) in wanted {
        pods.push(cluster.pod(namespace, name, node, "shared-net").await);
    }
    let connecting = pods.iter().zip(1..).map(|(pod, n)| cluster.connect(pod, n));
    let connected: Vec<_> = futures::future::try_join_all(connecting).await.unwrap();
    println!("three pods connected after {:?}", began.elapsed());
    cluster.ovnk.settled().await.unwrap();
    cluster.fabric.barrier().await.unwrap();
    println!("and settled after {:?}", began.elapsed());

    let addresses = cluster.addresses(&pods);
    for ((pod, (_, added)), (own, _)) in pods.iter().zip(&connected).zip(&addresses) {
        assert_eq!(added.pod_ips, [*own], "{}", pod.name_any());
    }
    held_against_the_record(cluster).await;
    cluster.status_and_events().await;

    // Client to both servers, over both networks; one is another tenant's.
    for server in [1, 2] {
        let (default, overlay) = addresses[server];
        for address in [default, overlay] {
            let answer = talk(&connected[0].0, &connected[server].0, address).await;
            assert_eq!(answer.as_deref(), Some("hello"), "to {address}");
        }
    }
    // Out through the gateway to the node of another zone, and from a node to a pod.
    let outside = cluster.fabric.node(&node("lab-worker2")).unwrap();
    let answer = talk(&connected[0].0, &outside.netns, outside.ip.addr().into()).await;
    assert_eq!(answer.as_deref(), Some("hello"), "to another node");
    let own = cluster.fabric.node(&node("lab-worker")).unwrap();
    let answer = talk(&own.netns, &connected[0].0, addresses[0].0).await;
    assert_eq!(answer.as_deref(), Some("hello"), "from the node to its pod");

    // A pod that is not attached does not reach the overlay.
    let stranger = cluster
        .pod("tenantyellow", "stranger", "lab-worker", "")
        .await;
    let (stranger, _) = cluster.connect(&stranger, 9).await.unwrap();
    let answer = talk(&stranger, &connected[1].0, addresses[1].1).await;
    assert_eq!(answer, None);

    // Deleting one pod leaves the others alone.
    let gone = &pods[2];
    cluster
        .pods("tenantyellow")
        .delete(&gone.name_any(), &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    let sandbox: String = format!("{:064x}", 3).chars().rev().collect();
    cni::del(cluster.ovnk.cni(), &sandbox, &node("lab-worker2"))
        .await
        .unwrap();
    cni::del(cluster.ovnk.cni(), &sandbox, &node("lab-worker2"))
        .await
        .unwrap();
    cluster
        .until_gone("tenantyellow.shared.net_tenantyellow_yellow-server")
        .await;
    let answer = talk(&connected[0].0, &connected[1].0, addresses[1].1).await;
    assert_eq!(answer.as_deref(), Some("hello"));
}

impl Cluster {
    /// Of the default network and of the overlay.
    fn addresses(&self, pods: &[Pod]) -> Vec<(IpAddr, IpAddr)> {
        let world = self.ovnk.world();
        pods.iter()
            .map(|pod| {
                let key = trunkline_ovnk::Key::new(pod.namespace().unwrap(), pod.name_any());
                let networks = &world.pods[&key].networks;
                let of = |network: &str| networks[network].addresses[0].addr();
                (of("default"), of(&format!("{}/shared-net", key.namespace)))
            })
            .collect()
    }

    async fn status_and_events(&self) {
        let pod = self.pods("tenantblue").get("podclient").await.unwrap();
        let status = &pod.annotations()["k8s.v1.cni.cncf.io/network-status"];
        assert!(
            status.starts_with("[{\n    \"name\": \"ovn-kubernetes\",\n"),
            "{status}"
        );
        let status: Value = serde_json::from_str(status).unwrap();
        let recorded = record::read("01-overlay-ipam", "objects.json");
        let recorded = recorded["objects"]
            .as_array()
            .unwrap()
            .iter()
            .find(|object| object["kind"] == "Pod" && object["metadata"]["name"] == "podclient");
        let recorded = &recorded.unwrap()["metadata"]["annotations"];
        let expected = &recorded["k8s.v1.cni.cncf.io/network-status (json)"];
        let shape = |status: &Value| -> Vec<(Value, Value, Vec<String>)> {
            let entries = status.as_array().unwrap().iter();
            entries
                .map(|e| {
                    let keys = e.as_object().unwrap().keys().cloned().collect();
                    (e["name"].clone(), e["interface"].clone(), keys)
                })
                .collect()
        };
        assert_eq!(shape(&status), shape(expected));
        assert_eq!(status[1]["mac"], "0a:58:c0:a8:c8:01");

        let world = self.ovnk.world();
        let key = trunkline_ovnk::Key::new("tenantblue", "podclient");
        let default = world.pods[&key].networks["default"].addresses[0];
        let expected = [
            (
                "AddedInterface".to_owned(),
                format!("Add eth0 [{default}] from ovn-kubernetes"),
                1,
            ),
            (
                "AddedInterface".to_owned(),
                "Add net1 [192.168.200.1/24] from tenantblue/shared-net".to_owned(),
                1,
            ),
        ];
        let wanted = |events: &[_]| events == expected.as_slice();
        self.until_events("tenantblue", "podclient", wanted).await;
    }

    async fn until_gone(&self, port: &str) {
        for name in NODES {
            let zone = &self.fabric.node(&node(name)).unwrap().zone;
            let nb = ovsdb::Client::connect(&zone.nb, "OVN_Northbound")
                .await
                .unwrap();
            let replica = nb.monitor(monitor(nb.schema())).await.unwrap();
            let gone = replica.wait_for(|db| {
                let there = db.find("Logical_Switch_Port", "name", port).is_some();
                (!there).then_some(())
            });
            tokio::time::timeout(Duration::from_secs(5), gone)
                .await
                .unwrap()
                .unwrap();
        }
    }
}

async fn held_against_the_record(cluster: &Cluster) {
    let world = cluster.ovnk.world();
    let recorded = case_world("01-overlay-ipam");
    let (here, there) = (Placeholders::new(&world), Placeholders::new(&recorded));
    for name in NODES {
        let live = here.normalise(cluster.rows(name).await);
        // The whole database, against what stands for the record (`recorded.rs` sees to that)…
        let expected = there.normalise(compile(&recorded, &node(name)));
        let differences = diff(&expected, &live);
        assert!(differences.is_empty(), "{name}: {differences:#?}");
        // … and what the case added, against the record itself.
        let added = there.normalise(step("01-overlay-ipam", 0, name).added);
        assert!(added.table(Table::LogicalSwitchPort).count() >= 3);
        for (reference, row) in added.rows() {
            assert_eq!(live.get(reference), Some(row), "{name}: {reference}");
        }
    }
}

/// Connects from one namespace to a listener in the other; what it says, or `None` if nothing
/// comes through.
async fn talk(from: &NetNs, to: &NetNs, address: IpAddr) -> Option<String> {
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

/// What users see when they ask for something that cannot be (recorded case 13).
async fn refusals(cluster: &Cluster) {
    cluster.namespace("err").await;
    let absent = cluster.pod("err", "absent", "lab-worker", "nosuch").await;
    let error = cluster.connect(&absent, 20).await.unwrap_err();
    let uid = absent.uid().unwrap();
    let missing = "cannot find a network-attachment-definition (nosuch) in namespace (err): network-attachment-definitions.k8s.cni.cncf.io \"nosuch\" not found";
    assert_eq!(
        error,
        format!(
            "plugin type=\"multus\" name=\"multus-cni-network\" failed (add): Multus: [err/absent/{uid}]: error loading k8s delegates k8s args: TryLoadPodDelegates: error in getting k8s network for pod: GetNetworkDelegates: failed getting the delegate: getKubernetesDelegate: {missing}"
        )
    );
    let broken = cluster
        .pod("err", "badjson", "lab-worker", r#"[{"name":"ipam""#)
        .await;
    let error = cluster.connect(&broken, 21).await.unwrap_err();
    let uid = broken.uid().unwrap();
    assert_eq!(
        error,
        format!(
            "plugin type=\"multus\" name=\"multus-cni-network\" failed (add): Multus: [err/badjson/{uid}]: error loading k8s delegates k8s args: parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: unexpected end of JSON input"
        )
    );
    let config = r#"{"name": "nomap", "type": "ovn-k8s-cni-overlay", "topology": "localnet", "netAttachDefName": "err/loc"}"#;
    cluster.nad("err", "loc", config).await;
    let unmapped = cluster.pod("err", "nomap", "lab-worker", "loc").await;
    let error = cluster.connect(&unmapped, 22).await.unwrap_err();
    let (uid, sandbox) = (unmapped.uid().unwrap(), format!("{:064x}", 22));
    let sandbox: String = sandbox.chars().rev().collect();
    let who = format!("[err/nomap {sandbox} network nomap NAD err/loc]");
    assert_eq!(
        error,
        format!(
            "plugin type=\"multus\" name=\"multus-cni-network\" failed (add): [err/nomap/{uid}:nomap]: error adding container to network \"nomap\": CNI request failed with status 400: '{who} {who} failed bridge mapping validation: failed to find OVN bridge-mapping for network: \"nomap\"\n'"
        )
    );
    cluster
        .nad("err", "wrongname", &IPAM.replace("NS", "other"))
        .await;
    let config = r#"{"name": "mac", "type": "macvlan"}"#;
    cluster.nad("err", "mac", config).await;
    let foreign = cluster.pod("err", "foreign", "lab-worker", "mac").await;
    let error = cluster.connect(&foreign, 23).await.unwrap_err();
    assert!(error.ends_with("error adding container to network \"mac\": failed to find plugin \"macvlan\" in path [/opt/cni/bin]"), "{error}");

    let expected = ("NoNetworkFound".to_owned(), missing.to_owned(), 1);
    cluster
        .until_events("err", "absent", |events| events.contains(&expected))
        .await;
    let reason = "Failed to parse network config: net-attach-def name (err/wrongname) is inconsistent with config (other/shared-net)";
    let expected = [("InvalidConfig".to_owned(), reason.to_owned(), 1)];
    cluster
        .until_events("err", "wrongname", |events| events == expected)
        .await;
    let count = |events: &[(String, String, i32)], reason: &str| {
        events.iter().find(|e| e.0 == reason).map(|e| e.2)
    };
    let told = |events: &[_]| {
        count(events, "ErrorAllocatingPod") == Some(1)
            && count(events, "ErrorReconcilingPod") == Some(3)
    };
    cluster.until_events("err", "badjson", told).await;
}
