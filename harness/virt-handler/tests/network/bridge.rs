//! With the pod's address, and with plugins that want a tap and nothing more.

use std::net::Ipv4Addr;

use dhcproto::v4::MessageType;
use serde_json::{Value, json};
use trunkline_fabric::MacAddr;
use trunkline_virt_handler::network::Binding;

use crate::dhcp::{Question, SILENCE, ask, foreign_server, lease, said};
use crate::pod::{ETH0, Nic, POD_MAC, World, bridge_on_pod_network, vmi};
use crate::stream::{bulk, call, greet};

/// The record's third case: `blue` is a layer 2 network with addresses.
const BLUE: Nic<'static> = Nic {
    name: "pod16477688c0e",
    mac: MacAddr::new([0x0a, 0x58, 0x0a, 0x64, 0xc8, 3]),
    mtu: 1300,
    addresses: &["10.100.200.3/24"],
    default: None,
    world: &["10.100.200.1/24"],
};

/// The record's first case: a network without addresses.
const SHARED: Nic<'static> = Nic {
    name: "pod280fca44283",
    mac: MacAddr::new([0xba, 0xd3, 0xff, 0xa6, 0x15, 0x20]),
    mtu: 1400,
    addresses: &[],
    default: None,
    world: &["192.168.200.20/24"],
};

fn with_second(name: &str, second: &Value) -> Value {
    let mut second = second.clone();
    second["name"] = json!(name);
    vmi(
        &json!([{"name": "default", "masquerade": {}}, second]),
        &json!([
            {"name": "default", "pod": {}},
            {"name": name, "multus": {"networkName": name}},
        ]),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_takes_the_pods_place() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&bridge_on_pod_network()).await;

    let nic = world
        .in_pod(&["ip", "-d", "addr", "show", "eth0-nic"])
        .await;
    for expected in ["master k6t-eth0", "learning off", "mtu 1400", "state UP"] {
        assert!(nic.contains(expected), "{expected} in {nic}");
    }
    assert!(!nic.contains(" inet 10."), "{nic}");
    assert!(!nic.contains(&POD_MAC.to_string()), "{nic}");
    let bridge = world.in_pod(&["ip", "addr", "show", "k6t-eth0"]).await;
    assert!(
        bridge.contains("inet 169.254.75.10/32 scope global"),
        "{bridge}"
    );
    let own = |text: &str| text.split("link/ether ").nth(1).unwrap()[..17].to_owned();
    assert_eq!(own(&nic), own(&bridge));
    let kept = world.in_pod(&["ip", "addr", "show", "eth0"]).await;
    for expected in [
        "inet 10.244.1.24/24",
        "link/ether 0a:58:0a:f4:01:18",
        "state DOWN",
        "mtu 1400",
    ] {
        assert!(kept.contains(expected), "{expected} in {kept}");
    }

    let ack = lease(&guest.netns, "eth0", POD_MAC.octets()).await;
    assert_eq!(ack.yiaddr().to_string(), "10.244.1.24");
    let said = said(&ack);
    for expected in [
        "SubnetMask(255.255.255.0)",
        "Router([10.244.1.1])",
        "ServerIdentifier(169.254.75.10)",
        "AddressLeaseTime(86313600)",
        "InterfaceMtu(1400)",
        "ClasslessStaticRoute([(0.0.0.0/0, 10.244.1.1)])",
    ] {
        assert!(
            said.iter().any(|line| line == expected),
            "{expected} in {said:?}"
        );
    }
    // Behind the bridge is a whole network: its other machines have servers of their own.
    let stranger = Question::new(MessageType::Discover, [2, 0, 0, 0, 0, 9]);
    assert_eq!(ask(&guest.netns, "eth0", stranger, SILENCE).await, None);

    guest
        .configure("eth0", "10.244.1.24/24", Some("10.244.1.1"))
        .await;
    greet(&world.outside, "10.244.1.1:9000", "world").await;
    greet(&guest.netns, "10.244.1.24:80", "machine").await;
    assert_eq!(
        call(&guest.netns, "10.244.1.1:9000").await.unwrap(),
        "world sees 10.244.1.24"
    );
    assert_eq!(
        call(&world.outside, "10.244.1.24:80").await.unwrap(),
        "machine sees 10.244.1.1"
    );
    // The machine answered, not the pod's old interface.
    let neighbours = world
        .outside
        .run(|| {
            let shown = std::process::Command::new("ip").args(["neigh"]).output();
            String::from_utf8(shown.unwrap().stdout).unwrap()
        })
        .await
        .unwrap();
    assert!(
        neighbours.contains("10.244.1.24 dev w-eth0 lladdr 0a:58:0a:f4:01:18"),
        "{neighbours}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dhcp_on_a_network_with_addresses_says_what_was_recorded() {
    let Some(world) = World::with(&[ETH0, BLUE]).await else {
        return;
    };
    let (_attached, guest) = world
        .machine(&with_second("blue", &json!({"bridge": {}})))
        .await;
    let ack = lease(&guest.netns, "eth1", BLUE.mac.octets()).await;
    assert_eq!(ack.yiaddr().to_string(), "10.100.200.3");
    assert_eq!(
        said(&ack),
        [
            "SubnetMask(255.255.255.0)",
            "DomainNameServer([10.96.0.10])",
            "Hostname(\"vm-ipam\")",
            "DomainName(\"ipam-l2.svc.cluster.local\")",
            "InterfaceMtu(1300)",
            "AddressLeaseTime(86313600)",
            "MessageType(Ack)",
            "ServerIdentifier(169.254.75.11)",
            "DomainSearch(ipam-l2.svc.cluster.local. svc.cluster.local. cluster.local.)",
        ]
    );
    // The first interface has its own server all the same.
    let first = lease(&guest.netns, "eth0", POD_MAC.octets()).await;
    assert_eq!(first.yiaddr().to_string(), "10.0.2.2");
    let kept = world
        .in_pod(&["ip", "addr", "show", "pod16477688c0e"])
        .await;
    assert!(kept.contains("inet 10.100.200.3/24"), "{kept}");
    assert!(kept.contains("link/ether 0a:58:0a:64:c8:03"), "{kept}");

    guest.configure("eth1", "10.100.200.3/24", None).await;
    greet(&world.outside, "10.100.200.1:9000", "world").await;
    assert_eq!(
        call(&guest.netns, "10.100.200.1:9000").await.unwrap(),
        "world sees 10.100.200.3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_addresses_is_a_wire() {
    let Some(world) = World::with(&[ETH0, SHARED]).await else {
        return;
    };
    let vmi = with_second("shared-network", &json!({"bridge": {}}));
    let (_attached, guest) = world.machine(&vmi).await;
    let bridge = world
        .in_pod(&["ip", "addr", "show", "k6t-280fca44283"])
        .await;
    assert!(!bridge.contains("169.254."), "{bridge}");

    let mac = SHARED.mac.octets();
    let question = Question::new(MessageType::Discover, mac);
    let answer = ask(&guest.netns, "eth1", question.clone(), SILENCE).await;
    assert_eq!(answer, None);
    // Somebody else's server gets the question and is heard.
    let address = Ipv4Addr::new(192, 168, 200, 50);
    let server = foreign_server(&world.outside, "w-pod280fc", address);
    let answer = ask_until_answered(&guest.netns, "eth1", mac).await;
    assert_eq!(answer, address);
    assert_eq!(server.await.unwrap(), mac);

    guest.configure("eth1", "192.168.200.50/24", None).await;
    greet(&guest.netns, "192.168.200.50:80", "machine").await;
    assert_eq!(
        call(&world.outside, "192.168.200.50:80").await.unwrap(),
        "machine sees 192.168.200.20"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_gets_a_tap_and_the_fabrics_dhcp() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let plugged = vmi(
        &json!([{"name": "default", "binding": {"name": "l2bridge"}}]),
        &json!([{"name": "default", "pod": {}}]),
    );
    let attached = world.try_attach(&plugged).await.unwrap();
    let interface = &attached.interfaces[0];
    assert_eq!(interface.binding, Binding::Plugin("l2bridge".to_owned()));
    assert_eq!(interface.mac, POD_MAC.octets());
    let bridge = world.in_pod(&["ip", "addr", "show", "k6t-eth0"]).await;
    assert!(bridge.contains("state UP"), "{bridge}");
    assert!(!bridge.contains("inet "), "{bridge}");
    let kept = world.in_pod(&["ip", "addr", "show", "eth0"]).await;
    assert!(kept.contains("inet 10.244.1.24/24"), "{kept}");
    drop(attached);

    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&plugged).await;
    let address = Ipv4Addr::new(10, 244, 1, 24);
    let server = foreign_server(&world.outside, "w-eth0", address);
    let answer = ask_until_answered(&guest.netns, "eth0", POD_MAC.octets()).await;
    assert_eq!(answer, address);
    server.await.unwrap();
}

/// The foreign server may not have opened its socket yet.
async fn ask_until_answered(guest: &trunkline_fabric::NetNs, card: &str, mac: [u8; 6]) -> Ipv4Addr {
    for _ in 0..20 {
        let question = Question::new(MessageType::Discover, mac);
        if let Some(answer) = ask(guest, card, question, SILENCE).await {
            return answer.yiaddr();
        }
    }
    panic!("nobody answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_keep_their_bytes() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&bridge_on_pod_network()).await;
    guest
        .configure("eth0", "10.244.1.24/24", Some("10.244.1.1"))
        .await;
    let (inside, outside) = (&guest.netns, &world.outside);
    let out = bulk(inside, outside, [10, 244, 1, 1].into(), 8 << 20).await;
    // A router that compares them with its MTU lets them through.
    let size = world.frame_size("w-eth0").await;
    assert!(size <= 1414, "{size} bytes");
    let back = bulk(outside, inside, [10, 244, 1, 24].into(), 8 << 20).await;
    eprintln!("bridge: {out} Mbit/s out, {back} Mbit/s in");
    assert!(out > 20 && back > 20, "{out} and {back} Mbit/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_specifications_mac_address_comes_first() {
    let Some(world) = World::with(&[ETH0, BLUE]).await else {
        return;
    };
    let second = json!({"bridge": {}, "macAddress": "02:11:22:33:44:55"});
    let (_attached, guest) = world.machine(&with_second("blue", &second)).await;
    let own = [2, 0x11, 0x22, 0x33, 0x44, 0x55];
    let ack = lease(&guest.netns, "eth1", own).await;
    assert_eq!(ack.yiaddr().to_string(), "10.100.200.3");
    let pods = Question::new(MessageType::Discover, BLUE.mac.octets());
    assert_eq!(ask(&guest.netns, "eth1", pods, SILENCE).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machines_object_adds_options() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let mut vmi = bridge_on_pod_network();
    vmi["spec"]["domain"]["devices"]["interfaces"][0]["dhcpOptions"] = json!({
        "bootFileName": "pxelinux.0",
        "tftpServerName": "10.9.9.9",
        "ntpServers": ["10.9.9.1", "10.9.9.2"],
        "privateOptions": [{"option": 240, "value": "private"}, {"option": 100, "value": "no"}],
    });
    vmi["spec"]["subdomain"] = json!("db");
    let (_attached, guest) = world.machine(&vmi).await;
    let said = said(&lease(&guest.netns, "eth0", POD_MAC.octets()).await).join("\n");
    for expected in [
        "NtpServers([10.9.9.1, 10.9.9.2])",
        "BootfileName(",
        "TFTPServerName(",
        "code: 240",
        "DomainName(\"db.ipam-l2.svc.cluster.local\")",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert!(!said.contains("code: 100"), "{said}");
}
