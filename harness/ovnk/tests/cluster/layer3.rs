//! A secondary layer 3 network with real packets: every node has a subnet of its own.

use crate::rig::{Cluster, talk};

const CONFIG: &str = r#"{"cniVersion": "1.0.0", "name": "routed", "type": "ovn-k8s-cni-overlay", "topology": "layer3", "netAttachDefName": "routed/net", "subnets": "10.128.0.0/16/24"}"#;

pub async fn run(cluster: &Cluster) {
    cluster.namespace("routed").await;
    cluster.nad("routed", "net", CONFIG).await;
    let mut connected = Vec::new();
    for (name, node, number) in [
        ("a", "lab-worker", 40),
        ("b", "lab-worker2", 41),
        ("c", "lab-worker2", 42),
    ] {
        let pod = cluster.pod("routed", name, node, "net").await;
        let (netns, _) = cluster.connect(&pod, number).await.unwrap();
        let key = trunkline_ovnk::Key::new("routed", name);
        let world = cluster.ovnk.world();
        let address = world.pods[&key].networks["routed/net"].addresses[0];
        connected.push((netns, address));
    }
    cluster.ovnk.settled().await.unwrap();
    cluster.fabric.barrier().await.unwrap();
    let [(a, at_a), (b, at_b), (c, at_c)] = connected.as_slice() else {
        panic!("three pods");
    };
    assert_ne!(at_a.trunc(), at_b.trunc(), "a subnet for each node");
    assert_eq!(at_b.trunc(), at_c.trunc());
    for (from, to, address) in [(a, b, at_b), (b, a, at_a), (b, c, at_c), (c, a, at_a)] {
        let answer = talk(from, to, address.addr()).await;
        assert_eq!(answer.as_deref(), Some("hello"), "to {address}");
    }
    // Who is not on the network does not reach it.
    let stranger = cluster.pod("routed", "stranger", "lab-worker", "").await;
    let (stranger, _) = cluster.connect(&stranger, 43).await.unwrap();
    assert_eq!(talk(&stranger, b, at_b.addr()).await, None);
}
