//! Every kind of service against the rows that OVN-Kubernetes 1.2.0 makes of it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use trunkline_fabric::NodeName;

use crate::compile;
use crate::northbound::{Northbound, RowRef, Table, Value};
use crate::world::{Node, World};

fn world() -> World {
    let mut world = World::default();
    for (name, id) in [("n1", 2_u8), ("n2", 3)] {
        let node = Node {
            name: NodeName::new(name).unwrap(),
            id: id.into(),
            chassis: format!("chassis-{name}"),
            subnet: format!("10.244.{id}.0/24").parse().unwrap(),
            shares: BTreeMap::new(),
            transit: format!("100.88.0.{id}/16").parse().unwrap(),
            address: format!("172.18.0.{id}/16").parse().unwrap(),
            mac: format!("02:42:ac:12:00:{id:02x}").parse().unwrap(),
            next_hop: "172.18.0.1".parse().unwrap(),
            encap_ip: format!("172.18.0.{id}").parse().unwrap(),
        };
        world.nodes.insert(node.name.clone(), node.into());
    }
    world
}

/// A service `ns/web` with the given parts of its spec.
fn service(world: &mut World, mut spec: Json) {
    for (key, default) in [
        ("type", json!("ClusterIP")),
        ("clusterIP", json!("10.96.1.1")),
        (
            "clusterIPs",
            json!([spec["clusterIP"].as_str().unwrap_or("10.96.1.1")]),
        ),
        ("ports", json!([{"port": 80, "protocol": "TCP"}])),
    ] {
        if spec[key].is_null() {
            spec[key] = default;
        }
    }
    let service = json!({"metadata": {"namespace": "ns", "name": "web"}, "spec": spec});
    world.observe_service(&serde_json::from_value(service).unwrap());
}

/// A slice of it; endpoints are `address` or `address@node`, followed by conditions that differ
/// from being ready.
fn slice(world: &mut World, name: &str, ports: &Json, endpoints: &[&str]) {
    let endpoints: Vec<Json> = endpoints
        .iter()
        .map(|text| {
            let mut words = text.split(' ');
            let (address, node) = match words.next().unwrap().split_once('@') {
                Some((address, node)) => (address, json!(node)),
                None => (*text, Json::Null),
            };
            let state: Vec<_> = words.collect();
            let terminating = state.contains(&"terminating");
            let serving = !state.contains(&"unready");
            json!({
                "addresses": [address], "nodeName": node,
                "conditions": {
                    "ready": serving && !terminating, "serving": serving, "terminating": terminating,
                },
            })
        })
        .collect();
    let slice = json!({
        "metadata": {
            "namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    });
    world.observe_endpoint_slice(&serde_json::from_value(slice).unwrap());
}

fn endpoints(world: &mut World, endpoints: &[&str]) {
    let ports = json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
    slice(world, "web-1", &ports, endpoints);
}

/// A line for each balancer of a node: where it is in force, what it is, and what it does.
fn balancers(world: &World, node: &str) -> Vec<String> {
    let rows = compile(world, &NodeName::new(node).unwrap());
    let balancers = rows.table(Table::LoadBalancer);
    balancers
        .map(|(name, row)| {
            assert_eq!(row.key("external_ids", "k8s.ovn.org/owner"), Some("ns/web"));
            assert_eq!(row.key("external_ids", "k8s.ovn.org/kind"), Some("Service"));
            assert_eq!(row.key("options", "reject"), Some("true"));
            let Some(Value::Map(vips)) = row.get("vips") else {
                panic!("{name} has no addresses");
            };
            let vips: Vec<_> = vips.iter().map(|(vip, to)| format!("{vip}={to}")).collect();
            let vips = vips.join(" ").replace('"', "");
            format!("{}: {name} {vips}", holders(&rows, name))
        })
        .collect()
}

fn holders(rows: &Northbound, balancer: &str) -> String {
    let reference = RowRef::new(Table::LoadBalancer, balancer);
    let holders = rows.rows().filter(|(_, row)| {
        let held = row.get("load_balancer");
        held.is_some_and(|held| held.references().any(|other| *other == reference))
    });
    let names: Vec<_> = holders.map(|(holder, _)| holder.name.as_str()).collect();
    names.join("+")
}

fn option(world: &World, node: &str, name: &str, option: &str) -> Option<String> {
    let rows = compile(world, &NodeName::new(node).unwrap());
    let row = rows.get(&RowRef::new(Table::LoadBalancer, name))?;
    row.key("options", option).map(str::to_owned)
}

#[test]
fn one_balancer_per_protocol_serves_the_whole_cluster() {
    let mut world = world();
    service(
        &mut world,
        json!({"ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            {"name": "metrics", "port": 9153, "protocol": "TCP"},
        ]}),
    );
    let ports = json!([
        {"name": "dns", "port": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 5353, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
        {"name": "other", "port": 1, "protocol": "TCP"},
    ]);
    slice(
        &mut world,
        "web-1",
        &ports,
        &["10.244.2.9@n1", "10.244.2.10@n1"],
    );
    for node in ["n1", "n2"] {
        assert_eq!(
            balancers(&world, node),
            [
                "clusterLBGroup: Service_ns/web_TCP_cluster 10.96.1.1:53=10.244.2.10:5353,10.244.2.9:5353 10.96.1.1:9153=10.244.2.10:9153,10.244.2.9:9153",
                "clusterLBGroup: Service_ns/web_UDP_cluster 10.96.1.1:53=10.244.2.10:5353,10.244.2.9:5353",
            ]
        );
    }
    let hairpin = option(
        &world,
        "n1",
        "Service_ns/web_TCP_cluster",
        "hairpin_snat_ip",
    );
    assert_eq!(hairpin.as_deref(), Some("169.254.0.5 fd69::5"));
}

#[test]
fn nobody_behind_it_means_refused() {
    let mut world = world();
    service(&mut world, json!({}));
    let expected = ["clusterLBGroup: Service_ns/web_TCP_cluster 10.96.1.1:80="];
    assert_eq!(balancers(&world, "n1"), expected);
    endpoints(&mut world, &["10.244.2.9@n1 unready"]);
    assert_eq!(balancers(&world, "n1"), expected);
}

#[test]
fn a_service_without_an_address_has_no_balancer() {
    let mut world = world();
    service(
        &mut world,
        json!({"clusterIP": "None", "clusterIPs": ["None"]}),
    );
    endpoints(&mut world, &["10.244.2.9@n1"]);
    assert!(balancers(&world, "n1").is_empty());
    let alias = json!({"type": "ExternalName", "externalName": "example.org"});
    service(&mut world, alias);
    assert!(balancers(&world, "n1").is_empty());
}

#[test]
fn who_is_ending_serves_when_nobody_else_does() {
    let mut world = world();
    service(&mut world, json!({}));
    endpoints(
        &mut world,
        &[
            "10.244.2.1@n1 terminating",
            "10.244.2.2@n1 terminating unready",
        ],
    );
    let line =
        |targets| format!("clusterLBGroup: Service_ns/web_TCP_cluster 10.96.1.1:80={targets}");
    assert_eq!(balancers(&world, "n1"), [line("10.244.2.1:8080")]);
    endpoints(&mut world, &["10.244.2.1@n1 terminating", "10.244.2.3@n1"]);
    assert_eq!(balancers(&world, "n1"), [line("10.244.2.3:8080")]);
    service(&mut world, json!({"publishNotReadyAddresses": true}));
    endpoints(&mut world, &["10.244.2.1@n1 unready", "10.244.2.3@n1"]);
    let both = line("10.244.2.1:8080,10.244.2.3:8080");
    assert_eq!(balancers(&world, "n1"), [both]);
}

#[test]
fn of_several_numbers_for_one_name_the_smallest_counts() {
    let mut world = world();
    service(
        &mut world,
        json!({"ports": [{"name": "web", "port": 80, "protocol": "TCP"}]}),
    );
    let port = |number: u16| json!([{"name": "web", "port": number, "protocol": "TCP"}]);
    slice(&mut world, "web-1", &port(8081), &["10.244.2.1@n1"]);
    slice(&mut world, "web-2", &port(8080), &["10.244.2.2@n1"]);
    assert_eq!(
        balancers(&world, "n1"),
        ["clusterLBGroup: Service_ns/web_TCP_cluster 10.96.1.1:80=10.244.2.2:8080"]
    );
}

#[test]
fn the_router_of_a_host_calls_the_host_by_another_name() {
    let mut world = world();
    service(&mut world, json!({}));
    endpoints(&mut world, &["172.18.0.2@n1"]);
    assert_eq!(
        balancers(&world, "n1"),
        [
            "GR_n1: Service_ns/web_TCP_node_router_n1 10.96.1.1:80=169.254.0.2:8080",
            "n1: Service_ns/web_TCP_node_switch_n1 10.96.1.1:80=172.18.0.2:8080",
        ]
    );
    assert_eq!(
        balancers(&world, "n2"),
        ["GR_n2+n2: Service_ns/web_TCP_node_router+switch_n2 10.96.1.1:80=172.18.0.2:8080"]
    );
}

#[test]
fn local_traffic_stays_on_its_node() {
    let mut world = world();
    service(&mut world, json!({"internalTrafficPolicy": "Local"}));
    endpoints(
        &mut world,
        &["10.244.2.9@n1", "10.244.3.9@n2", "10.244.3.8@n2"],
    );
    assert_eq!(
        balancers(&world, "n1"),
        [
            "GR_n1: Service_ns/web_TCP_node_router_n1 10.96.1.1:80=10.244.2.9:8080,10.244.3.8:8080,10.244.3.9:8080",
            "n1: Service_ns/web_TCP_node_switch_n1 10.96.1.1:80=10.244.2.9:8080",
        ]
    );
    endpoints(&mut world, &["10.244.3.9@n2"]);
    assert_eq!(
        balancers(&world, "n1"),
        [
            "GR_n1: Service_ns/web_TCP_node_router_n1 10.96.1.1:80=10.244.3.9:8080",
            "n1: Service_ns/web_TCP_node_switch_n1 10.96.1.1:80=",
        ]
    );
}

#[test]
fn with_affinity_the_endpoint_depends_on_who_calls() {
    let name = "Service_ns/web_TCP_cluster";
    for seconds in [100, 10_800, 86_400] {
        let mut world = world();
        let config = json!({"clientIP": {"timeoutSeconds": seconds}});
        let spec = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config});
        service(&mut world, spec);
        let rows = compile(&world, &NodeName::new("n1").unwrap());
        let row = rows.get(&RowRef::new(Table::LoadBalancer, name)).unwrap();
        let fields = Value::set(["ip_src", "ip_dst"]);
        assert_eq!(row.get("selection_fields"), Some(&fields), "{seconds}");
        assert_eq!(row.key("options", "affinity_timeout"), None);
    }
    let mut world = world();
    service(&mut world, json!({"sessionAffinity": "None"}));
    let rows = compile(&world, &NodeName::new("n1").unwrap());
    let row = rows.get(&RowRef::new(Table::LoadBalancer, name)).unwrap();
    assert_eq!(row.get("selection_fields"), None);
}

/// Variables cannot express it.
#[test]
fn a_node_port_with_affinity_for_some_time_is_each_node_s_own() {
    let scope = |seconds: u32| {
        let mut world = world();
        let spec = json!({
            "type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
        });
        service(&mut world, spec);
        balancers(&world, "n1").pop().unwrap()
    };
    assert_eq!(
        scope(100),
        "GR_n1+n1: Service_ns/web_TCP_node_router+switch_n1 172.18.0.2:30080="
    );
    assert!(scope(86_400).contains("template"));
}

#[test]
fn a_node_port_has_the_address_of_every_node() {
    let mut world = world();
    let spec = json!({
        "type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
    });
    service(&mut world, spec);
    endpoints(&mut world, &["10.244.2.9@n1"]);
    let shared = "clusterLBGroup: Service_ns/web_TCP_cluster 10.96.1.1:80=10.244.2.9:8080";
    let name = "Service_ns/web_TCP_node_switch_template_IPv4_merged";
    assert_eq!(
        balancers(&world, "n1"),
        [
            shared.to_owned(),
            format!(
                "clusterRouterLBGroup+clusterSwitchLBGroup: {name} ^NODEIP_IPv4_0:30080=10.244.2.9:8080"
            ),
        ]
    );
    let option = |key| option(&world, "n1", name, key);
    assert_eq!(option("template").as_deref(), Some("true"));
    assert_eq!(option("address-family").as_deref(), Some("ipv4"));
    assert_eq!(variables(&world, "n1"), ["NODEIP_IPv4_0=172.18.0.2"]);
}

fn variables(world: &World, node: &str) -> Vec<String> {
    let rows = compile(world, &NodeName::new(node).unwrap());
    let table = rows.table(Table::ChassisTemplateVar);
    let rows: Vec<_> = table.map(|(_, row)| row).collect();
    let [row] = rows.as_slice() else {
        panic!("{} chassis have variables", rows.len());
    };
    assert_eq!(row.str("chassis"), Some(format!("chassis-{node}").as_str()));
    let Some(Value::Map(variables)) = row.get("variables") else {
        panic!("no variables");
    };
    let lines = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    lines.map(|line| line.replace('"', "")).collect()
}

#[test]
fn a_node_port_that_leads_to_the_node_itself_has_variable_targets() {
    let mut world = world();
    let spec = json!({
        "type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
    });
    service(&mut world, spec);
    endpoints(&mut world, &["172.18.0.2@n1"]);
    let mut templates = balancers(&world, "n1");
    templates.retain(|line| line.contains("template"));
    let variable = "Service__ns_web__TCP__30080__node__router__template__IPv4";
    assert_eq!(
        templates,
        [
            format!("clusterRouterLBGroup: Service_ns/web_TCP_node_router_template_IPv4 ^NODEIP_IPv4_0:30080=^{variable}"),
            "clusterSwitchLBGroup: Service_ns/web_TCP_node_switch_template_IPv4 ^NODEIP_IPv4_0:30080=172.18.0.2:8080".to_owned(),
        ]
    );
    assert_eq!(
        variables(&world, "n1"),
        [
            "NODEIP_IPv4_0=172.18.0.2".to_owned(),
            format!("{variable}=169.254.0.2:8080"),
        ]
    );
}

#[test]
fn what_comes_from_outside_and_stays_is_not_disguised() {
    let mut world = world();
    let spec = json!({
        "type": "NodePort", "externalTrafficPolicy": "Local", "externalIPs": ["1.2.3.4"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
    });
    service(&mut world, spec);
    endpoints(&mut world, &["10.244.2.9@n1", "10.244.3.9@n2"]);
    assert_eq!(
        balancers(&world, "n1"),
        [
            "clusterLBGroup: Service_ns/web_TCP_cluster 10.96.1.1:80=10.244.2.9:8080,10.244.3.9:8080",
            "GR_n1: Service_ns/web_TCP_node_local_router_n1 1.2.3.4:80=10.244.2.9:8080 172.18.0.2:30080=10.244.2.9:8080",
            "n1: Service_ns/web_TCP_node_switch_n1 1.2.3.4:80=10.244.2.9:8080,10.244.3.9:8080 169.254.0.3:30080=10.244.2.9:8080 172.18.0.2:30080=10.244.2.9:8080,10.244.3.9:8080",
        ]
    );
    let name = "Service_ns/web_TCP_node_local_router_n1";
    let skip = option(&world, "n1", name, "skip_snat");
    assert_eq!(skip.as_deref(), Some("true"));
    endpoints(&mut world, &["10.244.3.9@n2"]);
    assert!(balancers(&world, "n1").contains(
        &"GR_n1: Service_ns/web_TCP_node_router_n1 1.2.3.4:80= 172.18.0.2:30080=".to_owned()
    ));
}

#[test]
fn external_addresses_are_as_good_as_the_cluster_s() {
    let mut world = world();
    service(&mut world, json!({"externalIPs": ["1.2.3.4"]}));
    endpoints(&mut world, &["10.244.2.9@n1"]);
    assert_eq!(
        balancers(&world, "n1"),
        [
            "clusterLBGroup: Service_ns/web_TCP_cluster 1.2.3.4:80=10.244.2.9:8080 10.96.1.1:80=10.244.2.9:8080"
        ]
    );
}

#[test]
fn slices_of_another_service_do_not_count() {
    let mut world = world();
    service(&mut world, json!({}));
    let other = json!({
        "metadata": {
            "namespace": "elsewhere", "name": "web-1",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.244.2.9"]}],
    });
    world.observe_endpoint_slice(&serde_json::from_value(other).unwrap());
    assert_eq!(
        balancers(&world, "n1"),
        ["clusterLBGroup: Service_ns/web_TCP_cluster 10.96.1.1:80="]
    );
}
