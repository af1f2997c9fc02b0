use super::*;
use crate::net::config::{Dhcp, Match};
use crate::net::netlink::Route;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn version_2_as_the_demos_write_it() {
    let text = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n  eth1:\n    addresses: [ 192.168.200.10/24 ]\n";
    let (network, warnings) = parse(text).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let [eth0, eth1] = &network.interfaces[..] else {
        panic!("{network:?}");
    };
    assert_eq!(eth0.dhcp4, Some(Dhcp::default()));
    assert_eq!(eth1.matching.name.as_deref(), Some("eth1"));
    assert_eq!(eth1.addresses, [(ip("192.168.200.10"), 24)]);
    assert_eq!(eth1.dhcp4, None);
}

#[test]
fn version_2_in_full() {
    let text = r#"
network:
  version: 2
  ethernets:
    lan:
      match: {macaddress: "02:AA:bb:00:00:01"}
      set-name: lan0
      mtu: 1300
      dhcp4: yes
      dhcp4-overrides: {use-routes: false, use-dns: false, route-metric: 77}
      addresses: [10.1.0.5/16, "fd00::5/64", {"10.2.0.5/24": {label: x}}]
      gateway4: 10.1.0.1
      gateway6: fd00::1
      nameservers: {addresses: [10.1.0.53, "fd00::53"], search: [example.org]}
      routes:
      - {to: 10.9.0.1/16, via: 10.1.0.2, metric: 5}
      - {to: default, via: 10.1.0.3, on-link: true}
      - {to: 10.8.0.0/16}
"#;
    let (network, warnings) = parse(text).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let lan = &network.interfaces[0];
    assert_eq!(
        lan.matching,
        Match {
            name: None,
            mac: Some([2, 0xaa, 0xbb, 0, 0, 1])
        }
    );
    assert_eq!(
        (lan.set_name.as_deref(), lan.mtu),
        (Some("lan0"), Some(1_300))
    );
    let dhcp = lan.dhcp4.unwrap();
    assert_eq!(
        (dhcp.routes, dhcp.dns, dhcp.mtu, dhcp.metric),
        (false, false, true, Some(77))
    );
    assert_eq!(
        lan.addresses,
        [
            (ip("10.1.0.5"), 16),
            (ip("fd00::5"), 64),
            (ip("10.2.0.5"), 24)
        ]
    );
    assert_eq!(lan.dns, [ip("10.1.0.53"), ip("fd00::53")]);
    assert_eq!(lan.search, ["example.org"]);
    let route = |to: &str, length, via: Option<&str>, metric, on_link| Route {
        destination: (ip(to), length),
        via: via.map(ip),
        metric,
        on_link,
    };
    assert_eq!(
        lan.routes,
        [
            route("0.0.0.0", 0, Some("10.1.0.1"), None, false),
            route("::", 0, Some("fd00::1"), None, false),
            route("10.9.0.0", 16, Some("10.1.0.2"), Some(5), false),
            route("0.0.0.0", 0, Some("10.1.0.3"), None, true),
            route("10.8.0.0", 16, None, None, false),
        ]
    );
}

#[test]
fn version_2_with_mistakes() {
    let text = r"
version: 2
bonds: {bond0: {}}
ethernets:
  a: {match: {driver: x}, addresses: [nonsense, 10.0.0.1/99], gateway4: gate, macaddress: none}
  b: {routes: [{via: 10.0.0.1}, {to: default}], nameservers: {addresses: [dns.example]}}
  c:
";
    let (network, warnings) = parse(text).unwrap();
    assert_eq!(network.interfaces.len(), 3);
    assert!(
        network
            .interfaces
            .iter()
            .all(|each| each.addresses.is_empty() && each.routes.is_empty())
    );
    assert_eq!(warnings.len(), 9, "{warnings:#?}");
}

#[test]
fn version_1() {
    let text = r#"
version: 1
config:
- type: physical
  name: eth0
  subnets: [{type: dhcp}]
- type: physical
  name: lan
  mac_address: "02:00:00:00:00:02"
  mtu: 1400
  subnets:
  - type: static
    address: 192.168.1.10
    netmask: 255.255.255.0
    gateway: 192.168.1.1
    dns_nameservers: [8.8.8.8]
    dns_search: [lan]
    routes: [{network: 10.0.0.0, netmask: 255.0.0.0, gateway: 192.168.1.2}]
  - {type: static6, address: "fd00::2/64"}
- {type: nameserver, address: [1.1.1.1, "2606::1"], search: [all]}
- {type: route, destination: 172.16.0.0/12, gateway: 192.168.1.3, metric: 3}
- {type: bond, name: bond0}
"#;
    let (network, warnings) = parse(text).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let [eth0, lan] = &network.interfaces[..] else {
        panic!("{network:?}");
    };
    assert_eq!(eth0.matching.name.as_deref(), Some("eth0"));
    assert!(eth0.dhcp4.is_some() && eth0.set_name.is_none());
    assert_eq!(lan.matching.mac, Some([2, 0, 0, 0, 0, 2]));
    assert_eq!(lan.set_name.as_deref(), Some("lan"));
    assert_eq!(
        lan.addresses,
        [(ip("192.168.1.10"), 24), (ip("fd00::2"), 64)]
    );
    let routes: Vec<String> = lan
        .routes
        .iter()
        .map(|route| {
            format!(
                "{}/{} {:?}",
                route.destination.0, route.destination.1, route.metric
            )
        })
        .collect();
    assert_eq!(
        routes,
        ["0.0.0.0/0 None", "10.0.0.0/8 None", "172.16.0.0/12 Some(3)"]
    );
    assert_eq!(network.dns, [ip("1.1.1.1"), ip("2606::1")]);
    assert_eq!(network.search, ["all"]);
}

#[test]
fn version_1_with_mistakes() {
    let text = "version: 1\nconfig:\n- {type: route, destination: 10.0.0.0/8}\n- {type: physical, name: a, mac_address: zz, subnets: [{type: static}, {type: wild}, {type: static, address: 10.0.0.1/24, gateway: x}]}\n";
    let (network, warnings) = parse(text).unwrap();
    assert_eq!(network.interfaces.len(), 1);
    assert_eq!(warnings.len(), 5, "{warnings:#?}");
}

#[test]
fn what_is_no_network_config() {
    assert!(parse("version: 3\n").unwrap_err().contains("version 3"));
    assert!(parse("ethernets: {}\n").unwrap_err().contains("no version"));
    assert!(parse("{").is_err());
    assert_eq!(parse("config: disabled\n").unwrap().0, Network::default());
    assert!(parse("version: '2'\n").is_ok());
}
