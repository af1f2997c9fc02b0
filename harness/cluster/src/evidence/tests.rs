//! Against what OVN 25.03 and Open vSwitch 3.5 printed for a zone with the ports, groups and ACLs that OVN-Kubernetes
//! makes of a namespace `np` with a policy `deny`: no cluster with OVN-Kubernetes is needed, nor had here.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use trunkline_engine::{Protocol, events::EvidenceSource};

use super::{
    attachment::Attachment,
    flows,
    judge::{self, Found},
    microflow::Microflow,
    rows::{self, Table},
    trace::{Direction, End, Trace},
};

const ACLS: &str = include_str!("data/acls.json");
const GROUPS: &str = include_str!("data/groups.json");
const FLOWS: &str = include_str!("data/flows.txt");
/// The row of `np_web`.
const WEB: &str =
    r#"{"headings":["_uuid"],"data":[[["uuid","f5dbe530-c6b4-46df-8a9f-f570027cb7e8"]]]}"#;

fn pod() -> Pod {
    let networks = json!({
        "default": {"ip_addresses": ["10.244.1.4/24"], "mac_address": "0a:58:0a:f4:01:04", "gateway_ips": ["10.244.1.1"],
            "routes": [{"dest": "10.244.0.0/16", "nextHop": "10.244.1.1"}], "role": "primary"},
        "tenant-blue/shared-net": {"ip_addresses": ["192.168.200.4/24"], "mac_address": "0a:58:c0:a8:c8:04", "role": "secondary", "tunnel_id": 1},
    });
    serde_json::from_value(json!({"metadata": {"name": "near", "namespace": "np",
        "annotations": {"k8s.ovn.org/pod-networks": networks.to_string()}}}))
    .unwrap()
}

fn towards(address: &str) -> Attachment {
    Attachment::towards(&pod(), address.parse().unwrap())
        .unwrap()
        .unwrap()
}

#[rstest::rstest]
#[case::same_subnet("10.244.1.3", "np_near", "10.244.1.3", false)]
#[case::other_node("10.244.2.3", "np_near", "10.244.1.1", false)]
#[case::world("1.1.1.1", "np_near", "10.244.1.1", false)]
#[case::additional(
    "192.168.200.9",
    "tenant.blue.shared.net_np_near",
    "192.168.200.9",
    true
)]
fn a_pod_reaches_an_address_through_one_of_its_ports(
    #[case] address: &str,
    #[case] port: &str,
    #[case] next_hop: &str,
    #[case] secondary: bool,
) {
    let found = towards(address);
    assert_eq!(
        (
            found.port.as_str(),
            found.next_hop.to_string().as_str(),
            found.secondary
        ),
        (port, next_hop, secondary)
    );
}

#[test]
fn a_pod_without_addresses_reaches_nothing() {
    let bare: Pod = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    assert_eq!(
        Attachment::towards(&bare, "10.0.0.1".parse().unwrap()),
        Ok(None)
    );
    let v6 = "fd00::1".parse().unwrap();
    assert_eq!(Attachment::towards(&pod(), v6), Ok(None));
}

#[test]
fn a_packet_is_written_as_the_tracer_reads_it() {
    let flow = Microflow::new(
        &towards("10.244.2.3"),
        "10.244.2.3".parse().unwrap(),
        Protocol::Tcp,
        Some(9000),
    );
    assert_eq!(
        flow.to_string(),
        r#"inport == "np_near" && eth.src == 0a:58:0a:f4:01:04 && eth.dst == 0a:58:0a:f4:01:01 && ip4.src == 10.244.1.4 && ip4.dst == 10.244.2.3 && ip.ttl == 64 && tcp && tcp.dst == 9000"#
    );
}

fn trace(text: &str) -> Trace {
    Trace::parse(text).unwrap()
}

#[test]
fn a_packet_that_leaves_the_zone_enters_the_next_one_as_routers_left_it() {
    let first = trace(include_str!("data/leaves-zone.txt"));
    assert_eq!(first.end, End::Remote("tstor-lab-worker".into()));
    let flow = Microflow {
        inport: "np_client".into(),
        eth_src: "0a:58:0a:f4:02:03".into(),
        eth_dst: "0a:58:0a:f4:02:01".into(),
        src: "10.244.2.3".parse().unwrap(),
        dst: "10.244.1.3".parse().unwrap(),
        ttl: 64,
        protocol: Protocol::Tcp,
        port: Some(9000),
    };
    let entering = flow.entering("tstor-lab-worker", "lab-worker2", &first);
    assert_eq!(
        entering.to_string(),
        r#"inport == "tstor-lab-worker2" && eth.src == 0a:58:64:58:00:04 && eth.dst == 0a:58:64:58:00:03 && ip4.src == 10.244.2.3 && ip4.dst == 10.244.1.3 && ip.ttl == 63 && tcp && tcp.dst == 9000"#,
        "which is what the second trace was made with"
    );
    let layer3 = flow.entering("blue.net_tstor-lab-worker", "lab-worker2", &first);
    assert_eq!(layer3.inport, "blue.net_tstor-lab-worker2");
    let layer2 = flow.entering("blue.net_np_web", "lab-worker2", &first);
    assert_eq!(
        layer2.inport, "np_client",
        "the prober's port is in every zone"
    );
}

#[rstest::rstest]
#[case::same_zone(include_str!("data/ingress-denied.txt"))]
#[case::from_another_zone(include_str!("data/enters-zone-denied.txt"))]
fn the_policy_that_drops_is_named(#[case] text: &str) {
    let trace = trace(text);
    let End::Dropped(drop) = &trace.end else {
        panic!("{:?}", trace.end)
    };
    assert_eq!(drop.stage, "ls_out_acl_action");
    assert_eq!(drop.port.as_deref(), Some("np_web"));
    let acl = drop.acl.as_ref().unwrap();
    assert_eq!((acl.direction, acl.priority), (Direction::ToPort, 2000));
    let table = |text| Table::parse(text).unwrap();
    let found = Found {
        responsible: rows::responsible(acl, &table(ACLS), &table(GROUPS), &table(WEB), false),
        flows: Vec::new(),
    };
    let evidence = judge::evidence(&trace, &found, &towards("10.244.1.3"));
    assert_eq!(evidence.source, EvidenceSource::Acl);
    assert_eq!(
        evidence.object.unwrap().to_string(),
        "networkpolicy/np/deny"
    );
    assert_eq!(
        evidence.summary,
        "dropped at port np_web by the ACL default-network-controller:NetpolNamespace:np:Ingress:defaultDeny of networkpolicy/np/deny"
    );
    assert!(
        evidence
            .detail
            .contains("outport == @a11329561915487757696"),
        "{}",
        evidence.detail
    );
}

#[test]
fn of_two_policies_none_is_singled_out() {
    let trace = trace(include_str!("data/ingress-denied.txt"));
    let End::Dropped(drop) = &trace.end else {
        panic!()
    };
    let two = GROUPS.replace(
        r#"["a682989314588185807","#,
        r#"["b",["uuid","f5dbe530-c6b4-46df-8a9f-f570027cb7e8"],["map",[["k8s.ovn.org/name","np:also"],["k8s.ovn.org/owner-controller","default-network-controller"],["k8s.ovn.org/owner-type","NetworkPolicy"]]]],["a682989314588185807","#,
    );
    let table = |text: &str| Table::parse(text).unwrap();
    let acl = drop.acl.as_ref().unwrap();
    let responsible = rows::responsible(acl, &table(ACLS), &table(&two), &table(WEB), true);
    let found = Found {
        responsible,
        flows: Vec::new(),
    };
    let evidence = judge::evidence(&trace, &found, &towards("10.244.1.3"));
    assert_eq!(evidence.object, None);
    assert!(
        evidence
            .summary
            .ends_with("of multinetworkpolicy/np/also and of multinetworkpolicy/np/deny"),
        "{}",
        evidence.summary
    );
}

#[test]
fn egress_is_dropped_where_the_packet_enters() {
    let trace = trace(include_str!("data/egress-denied.txt"));
    let End::Dropped(drop) = &trace.end else {
        panic!()
    };
    assert_eq!(drop.port.as_deref(), Some("np_client"));
    assert_eq!(drop.acl.as_ref().unwrap().direction, Direction::FromPort);
}

#[test]
fn a_drop_that_is_no_acl_is_called_by_its_stage() {
    let trace = trace(include_str!("data/spoofed.txt"));
    let evidence = judge::evidence(&trace, &Found::default(), &towards("10.244.1.3"));
    assert_eq!(evidence.source, EvidenceSource::Trace);
    assert_eq!(
        evidence.summary,
        "the logical network drops it at ls_in_apply_port_sec"
    );
}

#[rstest::rstest]
#[case(include_str!("data/delivered.txt"), End::Delivered("np_web".into()))]
#[case(include_str!("data/outside.txt"), End::Physical("breth0_lab-worker".into()))]
fn what_is_not_dropped_is_not_called_dropped(#[case] text: &str, #[case] end: End) {
    let trace = trace(text);
    assert_eq!(trace.end, end);
    let evidence = judge::evidence(&trace, &Found::default(), &towards("10.244.1.3"));
    assert!(!evidence.summary.contains("drop"), "{}", evidence.summary);
    assert_eq!(evidence.object, None);
}

#[test]
fn a_tracer_that_fails_is_quoted() {
    let text = "# tcp\novn-trace: unknown port \"np_gone\"\n";
    assert_eq!(
        Trace::parse(text),
        Err("ovn-trace says ovn-trace: unknown port \"np_gone\"".into())
    );
}

#[test]
fn flows_that_dropped_the_packet_are_found() {
    let flow = |src: &str| Microflow {
        inport: "np_near".into(),
        eth_src: String::new(),
        eth_dst: String::new(),
        src: src.parse().unwrap(),
        dst: "10.244.1.3".parse().unwrap(),
        ttl: 64,
        protocol: Protocol::Udp,
        port: Some(9000),
    };
    let found = flows::dropping(FLOWS, &flow("10.244.1.77"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("packets:4"), "{found:?}");
    let allowed = flows::dropping(FLOWS, &flow("10.244.1.4"));
    assert!(allowed.is_empty(), "{allowed:?}");
}
