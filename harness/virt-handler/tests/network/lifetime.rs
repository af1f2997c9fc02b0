//! What is refused, and what is left when it is over.

use std::time::Duration;

use dhcproto::v4::MessageType;
use serde_json::json;
use trunkline_fabric::MacAddr;

use crate::dhcp::{Question, SILENCE, ask, lease};
use crate::pod::{ETH0, Nic, POD_MAC, World, bridge_on_pod_network, masquerade, vmi};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_attached_says_why() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let pod = json!([{"name": "default", "pod": {}}]);
    let blue = json!([{"name": "blue", "multus": {"networkName": "blue"}}]);
    let cases = [
        (
            vmi(&json!([{"name": "blue", "bridge": {}}]), &blue),
            "pod link (pod16477688c0e) is missing",
        ),
        (
            vmi(&json!([]), &pod),
            "no iface matching with network default",
        ),
        (
            vmi(&json!([{"name": "default", "masquerade": {}}]), &json!([])),
            "no network named default; list one in the machine's networks or remove the interface",
        ),
        (
            vmi(
                &json!([{"name": "default", "binding": {"name": "nobody"}}]),
                &pod,
            ),
            "undefined binding method of the interface default: nobody",
        ),
        (
            vmi(
                &json!([{"name": "default", "binding": {"name": "other"}}]),
                &pod,
            ),
            "undefined binding method of the interface default: other",
        ),
        (
            vmi(&json!([{"name": "default", "sriov": {}}]), &pod),
            "undefined binding method of the interface default: sriov",
        ),
        (
            vmi(&json!([{"name": "blue", "masquerade": {}}]), &blue),
            "the interface blue can only have the binding masquerade on the pod network",
        ),
        (
            vmi(
                &json!([{"name": "default", "bridge": {}, "macAddress": "02:00:00"}]),
                &pod,
            ),
            "the interface default: \"02:00:00\" is not a MAC address",
        ),
        (
            vmi(
                &json!([{"name": "default", "masquerade": {}}]),
                &json!([{"name": "default", "pod": {"vmNetworkCIDR": "10.0.2.0/31"}}]),
            ),
            "VM CIDR subnet is too small, at least 2 host addresses are required: 10.0.2.0/31",
        ),
        (
            vmi(
                &json!([{"name": "default", "masquerade": {}}]),
                &json!([{"name": "default", "pod": {"vmNetworkCIDR": "ten"}}]),
            ),
            "failed to parse VM CIDR: ten, ",
        ),
    ];
    for (vmi, expected) in cases {
        let error = world.try_attach(&vmi).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\nis not\n{expected}");
    }
    // Nothing of it has touched the pod.
    let links = world.in_pod(&["ip", "-o", "link"]).await;
    assert_eq!(links.lines().count(), 2, "{links}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_any_route_is_refused() {
    let lonely = Nic {
        name: "pod16477688c0e",
        mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
        mtu: 1400,
        addresses: &["10.100.200.3/32"],
        default: None,
        world: &[],
    };
    let Some(world) = World::with(&[lonely]).await else {
        return;
    };
    let vmi = vmi(
        &json!([{"name": "blue", "bridge": {}}]),
        &json!([{"name": "blue", "multus": {"networkName": "blue"}}]),
    );
    let error = world.try_attach(&vmi).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "no gateway address found in routes for pod16477688c0e"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_is_refused() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let _attached = world.try_attach(&masquerade(&json!([]))).await.unwrap();
    let error = world.try_attach(&masquerade(&json!([]))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot make the interface k6t-eth0: File exists (os error 17)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn interfaces_that_are_to_be_absent_are() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let vmi = vmi(
        &json!([
            {"name": "default", "masquerade": {}},
            {"name": "blue", "bridge": {}, "state": "absent"},
        ]),
        &json!([
            {"name": "default", "pod": {}},
            {"name": "blue", "multus": {"networkName": "blue"}},
        ]),
    );
    let attached = world.try_attach(&vmi).await.unwrap();
    assert_eq!(attached.interfaces.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_it_ends() {
    let Some(world) = World::with(&[ETH0]).await else {
        return;
    };
    let (attached, guest) = world.machine(&bridge_on_pod_network()).await;
    lease(&guest.netns, "eth0", POD_MAC.octets()).await;
    drop(attached);
    let question = Question::new(MessageType::Discover, POD_MAC.octets());
    assert_eq!(ask(&guest.netns, "eth0", question, SILENCE).await, None);

    let outside = world.outside.clone();
    assert!(outside.links().await.unwrap().index("w-eth0").await.is_ok());
    drop(guest);
    drop(world);
    // The kernel takes namespaces apart when it has time, and tells nobody here.
    for _ in 0..500 {
        if outside
            .links()
            .await
            .unwrap()
            .index("w-eth0")
            .await
            .is_err()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("something keeps the pod's namespace");
}
