//! Behind the pod's address.

use std::net::IpAddr;

use dhcproto::v4::MessageType;
use serde_json::json;
use trunkline_virt_handler::network::Binding;

use crate::dhcp::{PATIENCE, Question, SILENCE, ask, lease, said};
use crate::guest::is_tap;
use crate::pod::{ETH0, Nic, POD_MAC, World, masquerade, vmi};
use crate::stream::{bulk, call, greet};

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_gets_what_kubevirt_gives_it() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let attached = world
        .try_attach(&masquerade(&json!([{"port": 80}])))
        .await
        .unwrap();
    let [interface] = attached.interfaces.as_slice() else {
        panic!("{attached:?}")
    };
    assert_eq!(interface.name, "default");
    assert_eq!(interface.tap_name, "tap0");
    assert_eq!(interface.pod_interface, "eth0");
    assert_eq!(interface.binding, Binding::Masquerade);
    assert_eq!(interface.mac, POD_MAC.octets());
    assert_eq!(interface.mtu, 1400);
    assert_eq!(interface.addresses, ["10.244.1.24/24".parse().unwrap()]);
    assert!(is_tap(&interface.tap));

    let bridge = world
        .in_pod(&["ip", "-d", "addr", "show", "k6t-eth0"])
        .await;
    for expected in [
        "mtu 1400",
        "link/ether 02:00:00:00:00:00",
        "inet 10.0.2.1/24 brd 10.0.2.255 scope global k6t-eth0",
        "stp_state 0",
        "mcast_snooping 1",
    ] {
        assert!(bridge.contains(expected), "{expected} in {bridge}");
    }
    let tap = world.in_pod(&["ip", "-d", "addr", "show", "tap0"]).await;
    for expected in [
        "<BROADCAST,MULTICAST,UP,LOWER_UP>",
        "mtu 1400",
        "master k6t-eth0",
        "type tap pi off vnet_hdr on",
        "learning on",
    ] {
        assert!(tap.contains(expected), "{expected} in {tap}");
    }
    let eth0 = world.in_pod(&["ip", "addr", "show", "eth0"]).await;
    assert!(eth0.contains("inet 10.244.1.24/24"), "{eth0}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dhcp_says_what_kubevirts_says() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&masquerade(&json!([]))).await;
    let ack = lease(&guest.netns, "eth0", POD_MAC.octets()).await;
    assert_eq!(ack.yiaddr().to_string(), "10.0.2.2");
    assert_eq!(ack.siaddr().to_string(), "0.0.0.0");
    assert!(ack.flags().broadcast());
    assert_eq!(
        said(&ack),
        [
            "SubnetMask(255.255.255.0)",
            "Router([10.0.2.1])",
            "DomainNameServer([10.96.0.10])",
            "Hostname(\"vm-ipam\")",
            "DomainName(\"ipam-l2.svc.cluster.local\")",
            "InterfaceMtu(1400)",
            "AddressLeaseTime(86313600)",
            "MessageType(Ack)",
            "ServerIdentifier(10.0.2.1)",
            "DomainSearch(ipam-l2.svc.cluster.local. svc.cluster.local. cluster.local.)",
        ]
    );

    // Whatever it asks for, and whoever it is, there is one address.
    let other = Question::new(MessageType::Request, [2, 0, 0, 0, 0, 9]).wanting("10.0.2.77");
    let answer = ask(&guest.netns, "eth0", other, PATIENCE).await.unwrap();
    assert_eq!(answer.opts().msg_type(), Some(MessageType::Ack));
    assert_eq!(answer.yiaddr().to_string(), "10.0.2.2");
    for kind in [
        MessageType::Release,
        MessageType::Decline,
        MessageType::Inform,
    ] {
        let question = Question::new(kind, POD_MAC.octets());
        let answer = ask(&guest.netns, "eth0", question, SILENCE).await;
        assert_eq!(answer, None, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_passes_in_both_directions() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&masquerade(&json!([]))).await;
    guest
        .configure("eth0", "10.0.2.2/24", Some("10.0.2.1"))
        .await;
    greet(&world.outside, "10.244.1.1:9000", "world").await;
    greet(&guest.netns, "10.0.2.2:80", "machine").await;
    let call = async |from, to| call(from, to).await.unwrap();
    // The world sees the pod, the machine sees who it is.
    assert_eq!(
        call(&guest.netns, "10.244.1.1:9000").await,
        "world sees 10.244.1.24"
    );
    assert_eq!(
        call(&world.outside, "10.244.1.24:80").await,
        "machine sees 10.244.1.1"
    );
    // As kubectl port-forward comes.
    assert_eq!(
        call(&world.pod, "127.0.0.1:80").await,
        "machine sees 10.0.2.1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ports_everything_is_the_machines() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&masquerade(&json!([]))).await;
    guest
        .configure("eth0", "10.0.2.2/24", Some("10.0.2.1"))
        .await;
    greet(&world.pod, "10.244.1.24:81", "pod").await;
    // The machine has nothing there and says so.
    let refused = call(&world.outside, "10.244.1.24:81").await;
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    greet(&guest.netns, "10.0.2.2:81", "machine").await;
    let answered = call(&world.outside, "10.244.1.24:81").await.unwrap();
    assert_eq!(answered, "machine sees 10.244.1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ports_only_they_are() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let ports = json!([{"port": 80}, {"port": 5353, "protocol": "UDP"}]);
    let (_attached, guest) = world.machine(&masquerade(&ports)).await;
    guest
        .configure("eth0", "10.0.2.2/24", Some("10.0.2.1"))
        .await;
    for port in [80, 81, 5353] {
        greet(&guest.netns, &format!("10.0.2.2:{port}"), "machine").await;
    }
    greet(&world.pod, "10.244.1.24:5353", "pod").await;
    let from_outside = async |to| call(&world.outside, to).await;
    assert_eq!(
        from_outside("10.244.1.24:80").await.unwrap(),
        "machine sees 10.244.1.1"
    );
    let refused = Err(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(from_outside("10.244.1.24:81").await, refused);
    // Only its UDP is forwarded.
    assert_eq!(
        from_outside("10.244.1.24:5353").await.unwrap(),
        "pod sees 10.244.1.1"
    );
    assert_eq!(
        call(&world.pod, "127.0.0.1:80").await.unwrap(),
        "machine sees 10.0.2.1"
    );
    assert_eq!(call(&world.pod, "127.0.0.1:81").await, refused);

    let rules = world.nft_list().await.replace("packets 0 bytes 0 ", "");
    assert!(
        rules.contains("ip daddr 127.0.0.1 tcp dport 80 counter"),
        "{rules}"
    );
    assert!(rules.contains("udp dport 5353 counter"), "{rules}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_keep_their_bytes() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&masquerade(&json!([]))).await;
    guest
        .configure("eth0", "10.0.2.2/24", Some("10.0.2.1"))
        .await;
    let (inside, outside) = (&guest.netns, &world.outside);
    let out = bulk(inside, outside, ip("10.244.1.1"), 8 << 20).await;
    // A router that compares them with its MTU lets them through.
    let size = world.frame_size("w-eth0").await;
    assert!(size <= 1414, "{size} bytes");
    let back = bulk(outside, inside, ip("10.244.1.24"), 8 << 20).await;
    eprintln!("masquerade: {out} Mbit/s out, {back} Mbit/s in");
    assert!(out > 20 && back > 20, "{out} and {back} Mbit/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_network_may_be_inside() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let vmi = vmi(
        &json!([{"name": "default", "masquerade": {}}]),
        &json!([{"name": "default", "pod": {"vmNetworkCIDR": "192.168.77.128/28"}}]),
    );
    let (_attached, guest) = world.machine(&vmi).await;
    let ack = lease(&guest.netns, "eth0", POD_MAC.octets()).await;
    assert_eq!(ack.yiaddr().to_string(), "192.168.77.130");
    guest
        .configure("eth0", "192.168.77.130/28", Some("192.168.77.129"))
        .await;
    greet(&world.outside, "10.244.1.1:9000", "world").await;
    let answer = call(&guest.netns, "10.244.1.1:9000").await.unwrap();
    assert_eq!(answer, "world sees 10.244.1.24");
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_translated_too() {
    let both = Nic {
        addresses: &["10.244.1.24/24", "fd00:10:244::18/64"],
        world: &["10.244.1.1/24", "fd00:10:244::1/64"],
        ..ETH0
    };
    let Some(world) = World::with(&[both]).await else {
        return;
    };
    let (_attached, guest) = world.machine(&masquerade(&json!([]))).await;
    let answer = crate::dhcp::solicit(&guest.netns, "eth0", 0x1234).await;
    assert_eq!(answer, ("fd10:0:2::2".parse().unwrap(), 0x1234, 86_313_600));
    guest
        .configure("eth0", "fd10:0:2::2/120", Some("fd10:0:2::1"))
        .await;
    greet(&world.outside, "[fd00:10:244::1]:9000", "world").await;
    greet(&guest.netns, "[fd10:0:2::2]:80", "machine").await;
    assert_eq!(
        call(&guest.netns, "[fd00:10:244::1]:9000").await.unwrap(),
        "world sees fd00:10:244::18"
    );
    assert_eq!(
        call(&world.outside, "[fd00:10:244::18]:80").await.unwrap(),
        "machine sees fd00:10:244::1"
    );
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
