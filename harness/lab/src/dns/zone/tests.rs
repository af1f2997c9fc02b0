use rstest::rstest;
use serde_json::json;

use super::*;
use crate::dns::cluster::fixture::{cluster, namespace, service, slice};

/// A Service with an address, a headless one with a named and a nameless pod, one without ports, one without
/// endpoints, and aliases.
fn zone() -> Zone {
    let http = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
    let behind = |port: i32| json!([{"name": "http", "port": port, "protocol": "TCP"}]);
    Zone::new(cluster(vec![
        namespace("blue"),
        service(
            "web",
            json!({"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"], "ports": [
                {"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"},
            ]}),
        ),
        slice("web", behind(8080), json!([{"addresses": ["10.244.1.4"]}])),
        service(
            "db",
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": http}),
        ),
        slice(
            "db",
            behind(5432),
            json!([
                {"addresses": ["10.244.1.5"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.2.6"], "conditions": {"ready": true}},
                {"addresses": ["10.244.2.7"], "conditions": {"ready": false}},
            ]),
        ),
        service("bare", json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        slice("bare", json!([]), json!([{"addresses": ["10.244.1.8"]}])),
        service(
            "empty",
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": http}),
        ),
        service(
            "idle",
            json!({"clusterIP": "10.96.7.8", "clusterIPs": ["10.96.7.8"], "ports": http}),
        ),
        service(
            "alias",
            json!({"type": "ExternalName", "externalName": "web.blue.svc.cluster.local"}),
        ),
        service(
            "far",
            json!({"type": "ExternalName", "externalName": "example.com."}),
        ),
        service(
            "loop",
            json!({"type": "ExternalName", "externalName": "loop.blue.svc.cluster.local"}),
        ),
    ]))
}

fn lookup(name: &str, kind: RecordType) -> Answer {
    zone().lookup(&Name::from_ascii(name).unwrap(), kind)
}

/// Records as text, sorted.
fn shown(records: &[Record]) -> Vec<String> {
    let mut shown: Vec<_> = records
        .iter()
        .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
        .collect();
    shown.sort();
    shown
}

fn records(name: &str, kind: RecordType) -> Vec<String> {
    match lookup(name, kind) {
        Answer::Records { records, .. } => shown(&records),
        other => panic!("{name} {kind}: {other:?}"),
    }
}

#[rstest]
#[case::a_service("web.blue.svc.cluster.local.", &["10.96.7.7"])]
#[case::one_without_endpoints("idle.blue.svc.cluster.local.", &["10.96.7.8"])]
#[case::a_headless_one("db.blue.svc.cluster.local.", &["10.244.1.5", "10.244.2.6"])]
#[case::one_without_ports("bare.blue.svc.cluster.local.", &["10.244.1.8"])]
#[case::a_named_endpoint("db-0.db.blue.svc.cluster.local.", &["10.244.1.5"])]
#[case::a_nameless_endpoint("10-244-2-6.db.blue.svc.cluster.local.", &["10.244.2.6"])]
#[case::an_endpoint_behind_an_address("10-244-1-4.web.blue.svc.cluster.local.", &["10.244.1.4"])]
#[case::a_pod("10-244-9-9.blue.pod.cluster.local.", &["10.244.9.9"])]
#[case::the_server_itself("ns.dns.cluster.local.", &["10.96.0.10"])]
fn addresses_of(#[case] name: &str, #[case] expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|ip| format!("{name} A {ip}")).collect();
    assert_eq!(records(name, RecordType::A), expected);
}

#[test]
fn services_of_an_address_lead_to_its_name() {
    let name = "_http._tcp.web.blue.svc.cluster.local.";
    assert_eq!(
        records(name, RecordType::SRV),
        [format!("{name} SRV 0 100 80 web.blue.svc.cluster.local.")]
    );
    let all = records("web.blue.svc.cluster.local.", RecordType::SRV);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains(" 0 50 "), "{all:?}");
}

#[test]
fn services_without_one_lead_to_the_endpoints() {
    let name = "_http._tcp.db.blue.svc.cluster.local.";
    let Answer::Records {
        records,
        additional,
    } = lookup(name, RecordType::SRV)
    else {
        panic!("no records")
    };
    assert_eq!(
        shown(&records),
        [
            format!("{name} SRV 0 50 5432 10-244-2-6.db.blue.svc.cluster.local."),
            format!("{name} SRV 0 50 5432 db-0.db.blue.svc.cluster.local."),
        ]
    );
    assert_eq!(
        shown(&additional),
        [
            "10-244-2-6.db.blue.svc.cluster.local. A 10.244.2.6",
            "db-0.db.blue.svc.cluster.local. A 10.244.1.5",
        ]
    );
}

#[test]
fn aliases_bring_the_addresses_of_the_cluster_along() {
    assert_eq!(
        records("alias.blue.svc.cluster.local.", RecordType::A),
        [
            "alias.blue.svc.cluster.local. CNAME web.blue.svc.cluster.local.",
            "web.blue.svc.cluster.local. A 10.96.7.7",
        ]
    );
    assert_eq!(
        records("far.blue.svc.cluster.local.", RecordType::A),
        ["far.blue.svc.cluster.local. CNAME example.com."]
    );
    let rounds = records("loop.blue.svc.cluster.local.", RecordType::A).len();
    assert_eq!(rounds, DEPTH + 1);
}

#[rstest]
#[case::a_service("7.7.96.10.in-addr.arpa.", "web.blue.svc.cluster.local.")]
#[case::a_named_endpoint("5.1.244.10.in-addr.arpa.", "db-0.db.blue.svc.cluster.local.")]
#[case::a_nameless_endpoint("6.2.244.10.in-addr.arpa.", "10-244-2-6.db.blue.svc.cluster.local.")]
fn names_of_addresses(#[case] name: &str, #[case] expected: &str) {
    assert_eq!(
        records(name, RecordType::PTR),
        [format!("{name} PTR {expected}")]
    );
}

#[test]
fn the_domain_tells_of_itself() {
    let version = records("dns-version.cluster.local.", RecordType::TXT);
    assert_eq!(version, ["dns-version.cluster.local. TXT 1.1.0"]);
    assert_eq!(
        records("cluster.local.", RecordType::NS),
        ["cluster.local. NS kube-dns.kube-system.svc.cluster.local."]
    );
    let soa = records("cluster.local.", RecordType::SOA);
    assert!(
        soa[0].starts_with("cluster.local. SOA ns.dns.cluster.local. hostmaster.cluster.local. ")
    );
}

/// Something is there, but no record of this type.
#[rstest]
#[case("web.blue.svc.cluster.local.", RecordType::AAAA)]
#[case("web.blue.svc.cluster.local.", RecordType::MX)]
#[case("blue.svc.cluster.local.", RecordType::A)]
#[case("blue.pod.cluster.local.", RecordType::A)]
#[case("svc.cluster.local.", RecordType::A)]
#[case("cluster.local.", RecordType::A)]
#[case("bare.blue.svc.cluster.local.", RecordType::SRV)]
#[case("far.blue.svc.cluster.local.", RecordType::TXT)]
#[case("7.7.96.10.in-addr.arpa.", RecordType::A)]
fn no_record(#[case] name: &str, #[case] kind: RecordType) {
    assert_eq!(lookup(name, kind), Answer::NoRecord);
}

/// Nothing is there.
#[rstest]
#[case::service("no.blue.svc.cluster.local.")]
#[case::version("dns-version.cluster.local.")]
#[case::branch_without_leaves("dns.cluster.local.")]
#[case::namespace("web.red.svc.cluster.local.")]
#[case::namespace_itself("red.svc.cluster.local.")]
#[case::pod_of_no_namespace("10-244-1-4.red.pod.cluster.local.")]
#[case::not_an_address("web.blue.pod.cluster.local.")]
#[case::headless_without_endpoints("empty.blue.svc.cluster.local.")]
#[case::endpoint_that_is_not_ready("10-244-2-7.db.blue.svc.cluster.local.")]
#[case::no_endpoint("db-1.db.blue.svc.cluster.local.")]
#[case::no_such_port("_https._tcp.web.blue.svc.cluster.local.")]
#[case::port_of_the_other_protocol("_http._udp.web.blue.svc.cluster.local.")]
#[case::port_of_an_alias("_http._tcp.far.blue.svc.cluster.local.")]
#[case::search_went_on("web.blue.svc.cluster.local.cluster.local.")]
#[case::elsewhere("example.com.")]
#[case::address_of_nobody("9.9.244.10.in-addr.arpa.")]
fn no_such_name(#[case] name: &str) {
    for kind in [RecordType::A, RecordType::SRV, RecordType::PTR] {
        assert_eq!(lookup(name, kind), Answer::NoSuchName);
    }
}

#[test]
fn the_spelling_of_the_question_is_kept() {
    assert_eq!(
        records("WEB.blue.svc.cluster.local.", RecordType::A),
        ["WEB.blue.svc.cluster.local. A 10.96.7.7"]
    );
}
