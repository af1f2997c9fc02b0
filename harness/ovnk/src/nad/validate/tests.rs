use rstest::rstest;

use crate::config::ClusterConfig;
use crate::nad::NetConf;
use crate::names::Key;

fn parse(fields: &str) -> Result<NetConf, String> {
    let text = format!(
        r#"{{"cniVersion": "0.3.1", "name": "net", "type": "ovn-k8s-cni-overlay", "netAttachDefName": "err/nad", {fields}}}"#
    );
    NetConf::parse(&ClusterConfig::default(), &Key::new("err", "nad"), &text)
        .map_err(|error| error.to_string())
}

#[rstest]
#[case::bad_subnet(
    r#""topology": "layer2", "subnets": "10.58.0.0/33""#,
    "invalid subnet configuration: error while parsing subnets: invalid network subnets for layer2 netconf net: invalid CIDR address: 10.58.0.0/33"
)]
#[case::ipam_key(
    r#""topology": "layer2", "subnets": "10.59.0.0/24", "ipam": {"type": "host-local"}"#,
    "error parsing Network Attachment Definition err/nad: IPAM key is not supported. Use OVN-K provided IPAM via the `subnets` attribute"
)]
#[case::persistent_layer3(
    r#""topology": "layer3", "allowPersistentIPs": true"#,
    "layer3 topology does not allow persistent IPs"
)]
#[case::localnet_role(
    r#""topology": "localnet", "role": "primary""#,
    "unexpected network field \"role\" primary for \"localnet\" topology, localnet topology does not allow network roles to be set since its always a secondary network"
)]
#[case::unknown_role(
    r#""topology": "layer2", "role": "main""#,
    "invalid network role value main"
)]
#[case::unknown_topology(
    r#""topology": "layer4""#,
    "invalid subnet configuration: error while parsing subnets: topology layer4 not supported"
)]
#[case::host_length_on_layer2(
    r#""topology": "layer2", "subnets": "10.59.0.0/16/24""#,
    "invalid subnet configuration: error while parsing subnets: invalid network subnets for layer2 netconf net: CIDR \"10.59.0.0/16/24\" not properly formatted"
)]
#[case::cluster_overlap(
    r#""topology": "layer2", "subnets": "10.244.7.0/24""#,
    "invalid subnet configuration: pod or join subnet overlaps with already configured internal subnets: user defined subnet \"10.244.7.0/24\" overlaps cluster subnet \"10.244.0.0/16\""
)]
#[case::own_overlap(
    r#""topology": "layer2", "subnets": "10.1.0.0/16, 10.1.7.0/24""#,
    "invalid subnet configuration: pod or join subnet overlaps with already configured internal subnets: user defined subnet \"10.1.7.0/24\" overlaps user defined subnet \"10.1.0.0/16\""
)]
#[case::stray_exclude(
    r#""topology": "layer2", "subnets": "10.1.0.0/24", "excludeSubnets": "10.2.0.0/30""#,
    "invalid subnet configuration: error while parsing subnets: the provided network subnets do not contain excluded subnets 10.2.0.0/30"
)]
#[case::primary_without_subnets(
    r#""topology": "layer2", "role": "primary""#,
    "the subnet attribute must be defined for layer2 primary user defined networks"
)]
#[case::gateway_on_localnet(
    r#""topology": "localnet", "defaultGatewayIPs": "10.0.0.1""#,
    "defaultGatewayIPs is only supported for layer2 topology"
)]
fn refusals(#[case] fields: &str, #[case] expected: &str) {
    assert_eq!(parse(fields).unwrap_err(), expected);
}

#[test]
fn names_must_agree() {
    let text = r#"{"name": "net", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "err/other"}"#;
    let error = NetConf::parse(&ClusterConfig::default(), &Key::new("err", "nad"), text);
    assert_eq!(
        error.unwrap_err().to_string(),
        "net-attach-def name (err/nad) is inconsistent with config (err/other)"
    );
}

#[test]
fn missing_and_reserved_names() {
    let parse = |text: &str| {
        let error = NetConf::parse(&ClusterConfig::default(), &Key::new("err", "nad"), text);
        error.unwrap_err().to_string()
    };
    assert_eq!(
        parse(r#"{"name": "net", "type": "ovn-k8s-cni-overlay", "topology": "layer2"}"#),
        "error parsing Network Attachment Definition err/nad: missing NADName in secondary network netconf net"
    );
    assert_eq!(
        parse(
            r#"{"name": "default", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "err/nad"}"#
        ),
        "error parsing Network Attachment Definition err/nad: invalid name in in secondary network netconf (default)"
    );
    assert_eq!(
        parse(
            r#"{"name": "net", "plugins": [{"type": "ovn-k8s-cni-overlay"}, {"type": "tuning"}]}"#
        ),
        "error parsing Network Attachment Definition err/nad: CNI plugin chaining is not supported"
    );
    assert_eq!(
        parse(r#"{"type": "macvlan"}"#),
        "net-attach-def not managed by OVN"
    );
    assert_eq!(
        parse(r#"{"name": "net""#),
        "error parsing Network Attachment Definition err/nad: unexpected end of JSON input"
    );
}

#[test]
fn lists_of_one_plugin_are_fine() {
    let text = r#"{"name": "net", "plugins": [{"type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "err/nad"}]}"#;
    let error = NetConf::parse(&ClusterConfig::default(), &Key::new("err", "nad"), text);
    // As upstream: the plugin itself has no name, and is checked before it gets the list's.
    assert!(error.is_ok(), "{error:?}");
}

#[test]
fn dual_stack_and_excludes() {
    let conf = parse(r#""topology": "layer2", "subnets": "10.1.0.0/24,fd01::/64", "excludeSubnets": "10.1.0.0/30", "mtu": 1300"#).unwrap();
    assert_eq!(conf.subnets.len(), 2);
    assert_eq!(conf.excluded.len(), 1);
    assert_eq!(conf.mtu, 1300);
    assert!(!conf.primary);
}
