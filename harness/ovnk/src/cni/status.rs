//! The annotation `k8s.v1.cni.cncf.io/network-status`, byte for byte as Multus writes it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use serde::Serialize;
use serde_json::json;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::delegate::Delegate;
use super::{CniError, Context, Request};
use crate::world::Attachment;

const ANNOTATION: &str = "k8s.v1.cni.cncf.io/network-status";

/// Fields in Multus' order.
#[derive(Serialize)]
struct Entry {
    name: String,
    interface: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<String>,
    mac: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    dns: Empty,
}

#[derive(Serialize)]
struct Empty {}

/// Each entry is indented by itself; commas and brackets follow directly.
fn render(entries: &[Entry]) -> Result<String, serde_json::Error> {
    let entries = entries
        .iter()
        .map(|entry| {
            let mut out = Vec::new();
            let formatter = PrettyFormatter::with_indent(b"    ");
            entry.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
            Ok(String::from_utf8_lossy(&out).into_owned())
        })
        .collect::<Result<Vec<_>, serde_json::Error>>()?;
    Ok(format!("[{}]", entries.join(",")))
}

fn entries(delegates: &[Delegate], attached: &[Attachment]) -> Vec<Entry> {
    delegates
        .iter()
        .zip(attached)
        .map(|(delegate, attachment)| Entry {
            name: delegate.display_name(),
            interface: delegate.interface.clone(),
            ips: attachment
                .addresses
                .iter()
                .map(|net| net.addr().to_string())
                .collect(),
            mac: attachment.mac.to_string(),
            default: delegate.nad.is_none(),
            dns: Empty {},
        })
        .collect()
}

pub(super) async fn write(
    cx: &Context,
    request: &Request,
    delegates: &[Delegate],
    attached: &[Attachment],
) -> Result<(), CniError> {
    let failed = |error: &dyn std::fmt::Display| {
        let pod = &request.key.name;
        request.error(format!(
            "error setting the networks status: SetPodNetworkStatusAnnotation: failed to update the pod {pod} in out \
             of cluster comm: {error}"
        ))
    };
    let text = render(&entries(delegates, attached)).map_err(|error| failed(&error))?;
    let patch = json!({"metadata": {"uid": request.uid, "annotations": {ANNOTATION: text}}});
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), &request.key.namespace);
    let params = PatchParams {
        field_manager: Some("multus".to_owned()),
        ..PatchParams::default()
    };
    match api
        .patch(&request.key.name, &params, &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        // A pod that is gone needs no status.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn as_multus_writes_it() {
        let entry = |name: &str, ips: &[&str], default: bool| Entry {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
            ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
            mac: "0a:58:0a:f4:01:04".to_owned(),
            default,
            dns: Empty {},
        };
        let text = render(&[
            entry("ovn-kubernetes", &["10.244.1.4"], true),
            entry("ns/nad", &[], false),
        ])
        .unwrap();
        assert_eq!(
            text,
            r#"[{
    "name": "ovn-kubernetes",
    "interface": "eth0",
    "ips": [
        "10.244.1.4"
    ],
    "mac": "0a:58:0a:f4:01:04",
    "default": true,
    "dns": {}
},{
    "name": "ns/nad",
    "interface": "eth0",
    "mac": "0a:58:0a:f4:01:04",
    "dns": {}
}]"#
        );
    }
}
