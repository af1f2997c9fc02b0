//! The recorded case 01, with real packets.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::Value;
use trunkline_ovnk::northbound::{Placeholders, Table, monitor};
use trunkline_ovnk::{cni, compile, diff};

use crate::record::{self, NODES, case_world, node, step};
use crate::rig::{Cluster, talk};

pub const IPAM: &str = r#"{"cniVersion": "0.3.1", "name": "green-network", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "NS/shared-net", "subnets": "192.168.200.0/24"}"#;

pub async fn run(cluster: &Cluster) {
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
