//! Decisions about small worlds.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use trunkline_fabric::NodeName;

use super::{Action, Manager};
use crate::events::Subject;
use crate::start::NodeFacts;
use crate::world::{POD_NETWORKS, PodNetworks, World};

const NODES: [&str; 3] = ["lab-control-plane", "lab-worker", "lab-worker2"];

/// A cluster whose objects obey what the manager decides.
struct Cluster {
    manager: Manager,
    objects: Vec<Value>,
    world: World,
    events: Vec<(String, String, String)>,
}

impl Cluster {
    fn new() -> Cluster {
        let facts = NODES.iter().zip(2_u8..).map(|(name, last)| NodeFacts {
            name: NodeName::new(*name).unwrap(),
            chassis: format!("chassis-{name}"),
            address: format!("172.18.0.{last}/16").parse().unwrap(),
            mac: format!("02:42:ac:12:00:{last:02x}").parse().unwrap(),
            next_hop: Ipv4Addr::new(172, 18, 0, 1),
        });
        let mut cluster = Cluster {
            manager: Manager::new(facts.collect()),
            objects: Vec::new(),
            world: World::default(),
            events: Vec::new(),
        };
        for name in NODES {
            cluster.put(json!({"kind": "Node", "metadata": {"name": name}}));
        }
        cluster.settle();
        cluster
    }

    fn put(&mut self, object: Value) {
        self.objects.retain(|other| {
            other["kind"] != object["kind"]
                || other["metadata"]["name"] != object["metadata"]["name"]
        });
        self.objects.push(object);
    }

    fn nad(&mut self, name: &str, network: &str, more: &str) {
        let config = format!(
            r#"{{"name": "{network}", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "ns/{name}"{more}}}"#
        );
        self.put(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"namespace": "ns", "name": name}, "spec": {"config": config},
        }));
    }

    fn nad_of(&mut self, name: &str, topology: &str, more: &str) {
        let config = format!(
            r#"{{"name": "{name}", "type": "ovn-k8s-cni-overlay", "topology": "{topology}", "netAttachDefName": "ns/{name}"{more}}}"#
        );
        self.put(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"namespace": "ns", "name": name}, "spec": {"config": config},
        }));
    }

    fn pod(&mut self, name: &str, node: &str, selection: &str) {
        let mut annotations = json!({});
        if !selection.is_empty() {
            annotations["k8s.v1.cni.cncf.io/networks"] = json!(selection);
        }
        self.put(json!({
            "kind": "Pod",
            "metadata": {"namespace": "ns", "name": name, "uid": format!("uid-{name}"), "annotations": annotations},
            "spec": {"nodeName": node, "containers": []},
        }));
    }

    fn delete(&mut self, name: &str) {
        self.objects
            .retain(|object| object["metadata"]["name"] != name);
    }

    fn observe(&mut self) {
        let mut world = World::default();
        for (object, order) in self.objects.iter().zip(0..) {
            let object = object.clone();
            match object["kind"].as_str().unwrap() {
                "Node" => world.observe_node(&serde_json::from_value(object).unwrap()),
                "Pod" => world.observe_pod(&serde_json::from_value(object).unwrap(), order),
                _ => world.observe_nad(&serde_json::from_value(object).unwrap()),
            }
        }
        self.world = world;
    }

    /// Until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..10 {
            self.observe();
            let actions = self.manager.reconcile(&self.world);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.obey(action);
            }
        }
        panic!("never settles");
    }

    fn obey(&mut self, action: Action) {
        let (name, annotations): (String, Vec<(String, String)>) = match action {
            Action::AnnotateNode { name, annotations } => {
                let annotations = annotations.into_iter().map(|(k, v)| (k.to_owned(), v));
                (name.to_string(), annotations.collect())
            }
            Action::AnnotateNad { key, network, id } => (
                key.name,
                vec![
                    (crate::nad::NETWORK_ID.to_owned(), id.to_string()),
                    (crate::nad::NETWORK_NAME.to_owned(), network),
                    (crate::nad::TUNNEL_KEYS.to_owned(), "[]".to_owned()),
                ],
            ),
            Action::AnnotatePod { key, networks, .. } => {
                let text = serde_json::to_string(&networks).unwrap();
                (key.name, vec![(POD_NETWORKS.to_owned(), text)])
            }
            Action::Tell(subject, happening) => {
                let (Subject::Pod { key, .. } | Subject::Nad { key }) = subject;
                let event = (key.name, happening.reason.to_owned(), happening.message);
                return self.events.push(event);
            }
        };
        let object = self
            .objects
            .iter_mut()
            .find(|o| o["metadata"]["name"] == *name);
        let object = object.unwrap();
        if object["metadata"]["annotations"].is_null() {
            object["metadata"]["annotations"] = json!({});
        }
        for (key, value) in annotations {
            object["metadata"]["annotations"][key] = json!(value);
        }
    }

    fn networks(&self, pod: &str) -> PodNetworks {
        let object = self.objects.iter().find(|o| o["metadata"]["name"] == pod);
        let text = &object.unwrap()["metadata"]["annotations"][POD_NETWORKS];
        text.as_str()
            .map(|text| serde_json::from_str(text).unwrap())
            .unwrap_or_default()
    }

    fn address(&self, pod: &str, network: &str) -> String {
        self.networks(pod)
            .get(network)
            .and_then(|attachment| attachment.addresses.first().map(ToString::to_string))
            .unwrap_or_default()
    }

    fn said(&self, name: &str) -> Vec<(&str, &str)> {
        let events = self.events.iter().filter(|(who, ..)| who == name);
        events
            .map(|(_, reason, message)| (reason.as_str(), message.as_str()))
            .collect()
    }
}

#[test]
fn nodes_get_numbers_and_subnets() {
    let cluster = Cluster::new();
    let nodes: Vec<_> = cluster
        .world
        .nodes
        .values()
        .map(|node| (node.id, node.subnet.to_string(), node.transit.to_string()))
        .collect();
    assert_eq!(
        nodes,
        [
            (2, "10.244.0.0/24".to_owned(), "100.88.0.2/16".to_owned()),
            (3, "10.244.1.0/24".to_owned(), "100.88.0.3/16".to_owned()),
            (4, "10.244.2.0/24".to_owned(), "100.88.0.4/16".to_owned()),
        ]
    );
}

#[test]
fn the_overlay_with_ipam() {
    let mut cluster = Cluster::new();
    cluster.nad("blue", "green", r#", "subnets": "192.168.200.0/24""#);
    cluster.nad("yellow", "green", r#", "subnets": "192.168.200.0/24""#);
    cluster.pod("a", "lab-worker", "blue");
    cluster.pod("b", "lab-worker2", "yellow");
    cluster.pod("c", "lab-worker2", "");
    cluster.settle();
    let text = serde_json::to_string(&cluster.networks("a")).unwrap();
    assert_eq!(
        text,
        r#"{"default":{"ip_addresses":["10.244.1.3/24"],"mac_address":"0a:58:0a:f4:01:03","gateway_ips":["10.244.1.1"],"routes":[{"dest":"10.244.0.0/16","nextHop":"10.244.1.1"},{"dest":"10.96.0.0/16","nextHop":"10.244.1.1"},{"dest":"169.254.0.5/32","nextHop":"10.244.1.1"},{"dest":"100.64.0.0/16","nextHop":"10.244.1.1"}],"ip_address":"10.244.1.3/24","gateway_ip":"10.244.1.1","role":"primary"},"ns/blue":{"ip_addresses":["192.168.200.1/24"],"mac_address":"0a:58:c0:a8:c8:01","ip_address":"192.168.200.1/24","tunnel_id":1,"role":"secondary"}}"#
    );
    assert_eq!(cluster.address("b", "ns/yellow"), "192.168.200.2/24");
    assert_eq!(cluster.networks("b")["ns/yellow"].tunnel_id, Some(2));
    assert_eq!(cluster.networks("c").len(), 1);
    // One network, one number.
    let ids: Vec<_> = cluster
        .world
        .nads
        .values()
        .map(|nad| nad.network_id)
        .collect();
    assert_eq!(ids, [Some(1), Some(1)]);
    assert!(cluster.events.is_empty());
}

#[test]
fn freed_addresses_wait_their_turn() {
    let mut cluster = Cluster::new();
    cluster.nad("n", "n", r#", "subnets": "10.1.0.0/24""#);
    cluster.pod("a", "lab-worker", "n");
    cluster.settle();
    cluster.delete("a");
    cluster.settle();
    cluster.pod("b", "lab-worker", "n");
    cluster.settle();
    assert_eq!(cluster.address("b", "ns/n"), "10.1.0.2/24");
    assert_eq!(cluster.address("b", "default"), "10.244.1.4/24");
    // A pod that has finished gives its addresses back too.
    let at = cluster.objects.len() - 1;
    cluster.objects[at]["status"] = json!({"phase": "Succeeded"});
    cluster.settle();
    cluster.nad("tiny", "tiny", r#", "subnets": "10.2.0.0/30""#);
    for name in ["t1", "t2", "t3"] {
        cluster.pod(name, "lab-worker", "tiny");
    }
    cluster.settle();
    assert_eq!(cluster.address("t3", "ns/tiny"), "");
    assert_eq!(
        cluster.said("t3"),
        [(
            "ErrorAllocatingPod",
            "failed to update pod ns/t3: failed to assign pod addresses for ns/tiny/ns/t3: failed to allocate new IPs for tiny: subnet address pool exhausted"
        )]
    );
    // The default network is not concerned.
    assert_ne!(cluster.address("t3", "default"), "");
    cluster.delete("t1");
    cluster.settle();
    assert_eq!(cluster.address("t3", "ns/tiny"), "10.2.0.1/30");
}

#[test]
fn a_new_manager_keeps_what_was_given() {
    let mut cluster = Cluster::new();
    cluster.nad("n", "n", r#", "subnets": "10.1.0.0/24""#);
    for name in ["a", "b"] {
        cluster.pod(name, "lab-worker", "n");
    }
    cluster.settle();
    cluster.delete("a");
    let facts = Cluster::new().manager;
    cluster.manager = facts;
    cluster.pod("c", "lab-worker", "n");
    cluster.pod("d", "lab-worker", "n");
    cluster.settle();
    assert_eq!(cluster.address("b", "ns/n"), "10.1.0.2/24");
    assert_eq!(cluster.address("c", "ns/n"), "10.1.0.1/24");
    assert_eq!(cluster.address("d", "ns/n"), "10.1.0.3/24");
    assert_eq!(cluster.networks("d")["ns/n"].tunnel_id, Some(3));
}

#[test]
fn without_ipam() {
    let mut cluster = Cluster::new();
    cluster.nad("n", "n", "");
    cluster.pod(
        "static",
        "lab-worker",
        r#"[{"name":"n","ips":["192.168.200.20/24"]}]"#,
    );
    cluster.pod("bare", "lab-worker", "n");
    cluster.pod(
        "mac",
        "lab-worker",
        r#"[{"name":"n","mac":"02:00:00:00:00:42"}]"#,
    );
    cluster.settle();
    let of = |pod: &str| cluster.networks(pod)["ns/n"].clone();
    assert_eq!(of("static").mac.to_string(), "0a:58:c0:a8:c8:14");
    assert_eq!(cluster.address("static", "ns/n"), "192.168.200.20/24");
    assert!(of("bare").addresses.is_empty());
    assert_eq!(of("bare").mac.octets()[0] & 3, 2);
    assert_eq!(of("mac").mac.to_string(), "02:00:00:00:00:42");
}

#[test]
fn a_static_address_on_an_ipam_network_is_not_given() {
    let mut cluster = Cluster::new();
    cluster.nad("n", "n", r#", "subnets": "10.55.0.0/24""#);
    cluster.pod(
        "p",
        "lab-worker",
        r#"[{"name":"n","ips":["10.55.0.77/24"]}]"#,
    );
    cluster.settle();
    assert_eq!(
        cluster.networks("p").keys().collect::<Vec<_>>(),
        ["default"]
    );
    // Upstream says so in its log only.
    assert!(cluster.events.is_empty());
}

#[test]
fn broken_selections_are_told_by_everybody() {
    let mut cluster = Cluster::new();
    cluster.nad("n", "n", r#", "subnets": "10.55.0.0/24""#);
    cluster.pod("badjson", "lab-worker", r#"[{"name":"n""#);
    cluster.settle();
    assert!(cluster.networks("badjson").is_empty());
    let message = "failed to get all NetworkSelectionElements for pod ns/badjson: parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: unexpected end of JSON input";
    let said = cluster.said("badjson");
    let count = |reason: &str, text: &str| said.iter().filter(|s| **s == (reason, text)).count();
    assert_eq!(count("ErrorAllocatingPod", message), 1);
    assert_eq!(count("ErrorReconcilingPod", message), 3);
    let long = format!(
        "addLogicalPort failed for ns/badjson: error while getting network attachment definition for [ns/badjson]: {message}"
    );
    assert_eq!(count("ErrorAddingResource", &long), 1);
    assert_eq!(count("ErrorUpdatingResource", &long), 1);
}

#[test]
fn one_network_twice_is_refused() {
    let mut cluster = Cluster::new();
    cluster.nad("sec", "sec", r#", "subnets": "10.44.0.0/24""#);
    cluster.pod("a", "lab-worker", "sec,sec");
    cluster.settle();
    assert_eq!(
        cluster.networks("a").keys().collect::<Vec<_>>(),
        ["default"]
    );
    let message = "unexpected error: more than one of the same NAD ns/sec specified for pod ns/a";
    let said = cluster.said("a");
    assert_eq!(
        said.iter()
            .filter(|s| **s == ("ErrorAllocatingPod", message))
            .count(),
        1
    );
    assert_eq!(
        said.iter()
            .filter(|s| **s == ("ErrorReconcilingPod", message))
            .count(),
        3
    );
}

#[test]
fn bad_nads_are_told_once_and_have_no_network() {
    let mut cluster = Cluster::new();
    cluster.nad("badsub", "errnet3", r#", "subnets": "10.58.0.0/33""#);
    cluster.pod("p", "lab-worker", "badsub");
    cluster.settle();
    cluster.settle();
    assert_eq!(
        cluster.said("badsub"),
        [(
            "InvalidConfig",
            "Failed to parse network config: invalid subnet configuration: error while parsing subnets: invalid network subnets for layer2 netconf errnet3: invalid CIDR address: 10.58.0.0/33"
        )]
    );
    assert_eq!(
        cluster.networks("p").keys().collect::<Vec<_>>(),
        ["default"]
    );
}

#[test]
fn nads_that_disagree_do_not_share() {
    let mut cluster = Cluster::new();
    cluster.nad("a", "net", r#", "subnets": "10.1.0.0/24""#);
    cluster.settle();
    cluster.nad("b", "net", r#", "subnets": "10.2.0.0/24""#);
    cluster.pod("p", "lab-worker", "a");
    cluster.pod("q", "lab-worker", "b");
    cluster.settle();
    assert_eq!(cluster.address("p", "ns/a"), "10.1.0.1/24");
    assert_eq!(
        cluster.networks("q").keys().collect::<Vec<_>>(),
        ["default"]
    );
    assert!(cluster.events.is_empty());
    // The first one gone, the other has the name to itself, with a number of its own.
    cluster.delete("a");
    cluster.delete("p");
    cluster.settle();
    assert_eq!(cluster.address("q", "ns/b"), "10.2.0.1/24");
}

#[test]
fn numbers_of_networks_are_not_used_again_at_once() {
    let mut cluster = Cluster::new();
    cluster.nad("a", "one", "");
    cluster.settle();
    cluster.delete("a");
    cluster.settle();
    cluster.nad("b", "two", "");
    cluster.settle();
    let ids: Vec<_> = cluster
        .world
        .nads
        .values()
        .map(|nad| nad.network_id)
        .collect();
    assert_eq!(ids, [Some(2)]);
}

#[test]
fn another_default_route_takes_the_default_one() {
    let mut cluster = Cluster::new();
    cluster.nad("n", "n", r#", "subnets": "10.1.0.0/24""#);
    cluster.pod(
        "p",
        "lab-worker",
        r#"[{"name":"n","default-route":["10.1.0.254"]}]"#,
    );
    cluster.settle();
    assert!(cluster.networks("p")["default"].gateways.is_empty());
    assert_eq!(cluster.networks("p")["ns/n"].gateways.len(), 1);
}

#[test]
fn unknown_topologies_are_owned_up_to() {
    let mut cluster = Cluster::new();
    cluster.nad_of("loc", "localnet", "");
    cluster.settle();
    assert_eq!(cluster.said("loc")[0].0, "NotProgrammed");
}

#[test]
fn layer_3_networks_are_shared_out_among_the_nodes() {
    let mut cluster = Cluster::new();
    cluster.nad_of("l3", "layer3", r#", "subnets": "10.128.0.0/16/24""#);
    cluster.pod("a", "lab-worker", "l3");
    cluster.pod("b", "lab-worker2", "l3");
    cluster.settle();
    let text = serde_json::to_string(&cluster.networks("a")["ns/l3"]).unwrap();
    assert_eq!(
        text,
        r#"{"ip_addresses":["10.128.1.3/24"],"mac_address":"0a:58:0a:80:01:03","routes":[{"dest":"10.128.0.0/16","nextHop":"10.128.1.1"}],"ip_address":"10.128.1.3/24","role":"secondary"}"#
    );
    assert_eq!(cluster.address("b", "ns/l3"), "10.128.2.3/24");
    let subnets = |cluster: &Cluster, node: usize| {
        let annotations = &cluster.objects[node]["metadata"]["annotations"];
        annotations["k8s.ovn.org/node-subnets"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        subnets(&cluster, 1),
        r#"{"default":["10.244.1.0/24"],"l3":["10.128.1.0/24"]}"#
    );
    // Another manager finds everything as it was.
    cluster.manager = Cluster::new().manager;
    cluster.pod("c", "lab-worker", "l3");
    cluster.settle();
    assert_eq!(cluster.address("c", "ns/l3"), "10.128.1.4/24");
    // With the network the shares go.
    for name in ["a", "b", "c", "l3"] {
        cluster.delete(name);
    }
    cluster.settle();
    assert_eq!(subnets(&cluster, 1), r#"{"default":["10.244.1.0/24"]}"#);
}

#[test]
fn a_network_may_be_too_small_for_all_nodes() {
    let mut cluster = Cluster::new();
    cluster.nad_of("l3", "layer3", r#", "subnets": "192.168.24.0/24/25""#);
    cluster.pod("a", "lab-worker", "l3");
    cluster.pod("b", "lab-worker2", "l3");
    cluster.settle();
    assert_eq!(cluster.address("a", "ns/l3"), "192.168.24.131/25");
    // The third node has no share.
    assert_eq!(cluster.address("b", "ns/l3"), "");
    assert_ne!(cluster.address("b", "default"), "");
}
