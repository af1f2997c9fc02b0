//! The annotation `k8s.v1.cni.cncf.io/networks`: which networks a pod wants
//! (Multus' `pkg/k8sclient`, `parsePodNetworkAnnotation`).

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;
use trunkline_fabric::MacAddr;

use crate::names::Key;

/// One network of the selection, namespace filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    pub nad: Key,
    /// The interface's name, `net1`… if not given.
    pub interface: Option<String>,
    /// Requested addresses, as written.
    pub ips: Vec<String>,
    pub mac: Option<MacAddr>,
    /// Default gateways through this network.
    pub gateways: Vec<IpAddr>,
    pub ipam_claim: Option<String>,
}

impl Selected {
    fn new(nad: Key) -> Selected {
        Selected {
            nad,
            interface: None,
            ips: Vec::new(),
            mac: None,
            gateways: Vec::new(),
            ipam_claim: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    #[error(
        "parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: {0}"
    )]
    Json(String),
    #[error(
        "parsePodNetworkAnnotation: parsePodNetworkObjectName: Invalid network object (failed at '{0}')"
    )]
    Separator(char),
    #[error(
        "parsePodNetworkAnnotation: parsePodNetworkObjectName: Failed to parse: one or more items did not match \
         comma-delimited format (must consist of lower case alphanumeric characters). Must start and end with an \
         alphanumeric character), mismatch @ '{0}'"
    )]
    Name(String),
    #[error(
        "parsePodNetworkAnnotation: parsePodNetworkObjectName: Failed to parse interface name: must be less than 15 \
         chars and not contain '/' or spaces. interface name '{0}'"
    )]
    Interface(String),
    #[error("parsePodNetworkAnnotation: failed to mac: address {0}: invalid MAC address")]
    Mac(String),
    #[error("failed to parse CIDR {0:?}: invalid CIDR address: {0}")]
    Cidr(String),
    #[error("failed to parse IP address {0:?}")]
    Ip(String),
}

#[derive(Deserialize)]
struct Element {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    ips: Option<Vec<String>>,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    interface: String,
    /// Multus before 3.2.
    #[serde(default, rename = "interfaceRequest")]
    old_interface: String,
    #[serde(default, rename = "default-route")]
    default_route: Option<Vec<IpAddr>>,
    #[serde(default, rename = "ipam-claim-reference")]
    ipam_claim: String,
}

/// Reads the annotation of a pod in the given namespace. JSON is told from the short form by its
/// first characters' being anywhere in it.
pub fn parse(text: &str, namespace: &str) -> Result<Vec<Selected>, SelectionError> {
    if text.contains(['[', '{', '"']) {
        parse_json(text, namespace)
    } else {
        text.split(',')
            .map(|item| parse_item(item.trim(), namespace))
            .collect()
    }
}

fn parse_json(text: &str, namespace: &str) -> Result<Vec<Selected>, SelectionError> {
    let broken =
        |error: serde_json::Error| SelectionError::Json(crate::go::json_error(text, &error));
    let json: Value = serde_json::from_str(text).map_err(broken)?;
    let elements = match json {
        Value::Null => Vec::new(),
        Value::Array(elements) => elements,
        other => {
            let kind = match other {
                Value::Object(_) => "object",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            return Err(SelectionError::Json(format!(
                "json: cannot unmarshal {kind} into Go value of type []*types.NetworkSelectionElement"
            )));
        }
    };
    elements
        .into_iter()
        .map(|element| {
            let element: Element = serde_json::from_value(element).map_err(broken)?;
            selected(element, namespace)
        })
        .collect()
}

fn selected(element: Element, namespace: &str) -> Result<Selected, SelectionError> {
    let filled = |text: String| (!text.is_empty()).then_some(text);
    let namespace = filled(element.namespace).unwrap_or_else(|| namespace.to_owned());
    let mac = filled(element.mac)
        .map(|mac| mac.parse().map_err(|_| SelectionError::Mac(mac)))
        .transpose()?;
    let ips = element.ips.unwrap_or_default();
    for ip in &ips {
        if ip.contains('/') {
            let net: Result<ipnet::IpNet, _> = ip.parse();
            net.map_err(|_| SelectionError::Cidr(ip.clone()))?;
        } else {
            let address: Result<IpAddr, _> = ip.parse();
            address.map_err(|_| SelectionError::Ip(ip.clone()))?;
        }
    }
    Ok(Selected {
        interface: filled(element.interface).or(filled(element.old_interface)),
        ips,
        mac,
        gateways: element.default_route.unwrap_or_default(),
        ipam_claim: filled(element.ipam_claim),
        ..Selected::new(Key::new(namespace, element.name))
    })
}

/// `[namespace/]name[@interface]`
fn parse_item(item: &str, namespace: &str) -> Result<Selected, SelectionError> {
    let parts: Vec<_> = item.split('/').collect();
    let (namespace, name) = match parts.as_slice() {
        [name] => (namespace, *name),
        [namespace, name] => (namespace.trim(), *name),
        _ => return Err(SelectionError::Separator('/')),
    };
    let parts: Vec<_> = name.split('@').collect();
    let (name, interface) = match parts.as_slice() {
        [name] => (name.trim(), None),
        [name, interface] => (name.trim(), Some(interface.trim())),
        _ => return Err(SelectionError::Separator('@')),
    };
    for part in [namespace, name] {
        if !is_label(part) {
            return Err(SelectionError::Name(part.to_owned()));
        }
    }
    let interface = interface.filter(|name| !name.is_empty());
    let spaces = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r', '/'];
    let bad = |name: &&str| name.len() > 15 || name.contains(spaces);
    if let Some(name) = interface.filter(bad) {
        return Err(SelectionError::Interface(name.to_owned()));
    }
    Ok(Selected {
        interface: interface.map(str::to_owned),
        ..Selected::new(Key::new(namespace, name))
    })
}

/// A DNS label, or nothing (which no object is called, so that it is not found later).
fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().all(|b| plain(b) || b == b'-')
        && text.bytes().next().is_none_or(plain)
        && text.bytes().last().is_none_or(plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn short_forms() {
        let parsed = parse("a, ns2/b@eth7 ,c@", "ns1").unwrap();
        let seen: Vec<_> = parsed
            .iter()
            .map(|s| (s.nad.to_string(), s.interface.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("ns1/a".to_owned(), None),
                ("ns2/b".to_owned(), Some("eth7")),
                ("ns1/c".to_owned(), None)
            ]
        );
    }

    #[test]
    fn json_form() {
        let text = r#"[{"name": "a", "ips": ["192.168.200.20/24"], "mac": "02:00:00:00:00:42", "interface": "data",
            "default-route": ["192.168.200.1"]}, {"name": "b", "namespace": "other"}]"#;
        let parsed = parse(text, "ns1").unwrap();
        assert_eq!(parsed[0].interface.as_deref(), Some("data"));
        assert_eq!(parsed[0].ips, ["192.168.200.20/24"]);
        assert_eq!(parsed[0].mac.unwrap().to_string(), "02:00:00:00:00:42");
        assert_eq!(parsed[0].gateways.len(), 1);
        assert_eq!(parsed[1].nad.to_string(), "other/b");
    }

    #[rstest]
    #[case(
        r#"[{"name":"ipam""#,
        "parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: unexpected end of JSON input"
    )]
    #[case(
        r#"{"name":"a"}"#,
        "parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: json: cannot unmarshal object into Go value of type []*types.NetworkSelectionElement"
    )]
    #[case(
        "a/b/c",
        "parsePodNetworkAnnotation: parsePodNetworkObjectName: Invalid network object (failed at '/')"
    )]
    #[case(
        "a@b@c",
        "parsePodNetworkAnnotation: parsePodNetworkObjectName: Invalid network object (failed at '@')"
    )]
    #[case(
        r#"[{"name":"a","mac":"zz"}]"#,
        "parsePodNetworkAnnotation: failed to mac: address zz: invalid MAC address"
    )]
    #[case(
        r#"[{"name":"a","ips":["10.0.0.1/40"]}]"#,
        "failed to parse CIDR \"10.0.0.1/40\": invalid CIDR address: 10.0.0.1/40"
    )]
    #[case(
        r#"[{"name":"a","ips":["10.0.0"]}]"#,
        "failed to parse IP address \"10.0.0\""
    )]
    fn refusals(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parse(text, "ns").unwrap_err().to_string(), expected);
    }

    #[test]
    fn bad_names_are_quoted() {
        let error = parse("Bad", "ns").unwrap_err().to_string();
        assert!(error.ends_with("mismatch @ 'Bad'"), "{error}");
        let error = parse("a@interface-too-long", "ns").unwrap_err().to_string();
        assert!(
            error.ends_with("interface name 'interface-too-long'"),
            "{error}"
        );
    }
}
