//! What users see when they ask for something that cannot be (recorded case 13).

use kube::ResourceExt;

use crate::overlay::IPAM;
use crate::rig::Cluster;

pub async fn run(cluster: &Cluster) {
    cluster.namespace("err").await;
    let absent = cluster.pod("err", "absent", "lab-worker", "nosuch").await;
    let error = cluster.connect(&absent, 20).await.unwrap_err();
    let uid = absent.uid().unwrap();
    let missing = "cannot find a network-attachment-definition (nosuch) in namespace (err): network-attachment-definitions.k8s.cni.cncf.io \"nosuch\" not found";
    assert_eq!(
        error,
        format!(
            "plugin type=\"multus\" name=\"multus-cni-network\" failed (add): Multus: [err/absent/{uid}]: error loading k8s delegates k8s args: TryLoadPodDelegates: error in getting k8s network for pod: GetNetworkDelegates: failed getting the delegate: getKubernetesDelegate: {missing}"
        )
    );
    let broken = cluster
        .pod("err", "badjson", "lab-worker", r#"[{"name":"ipam""#)
        .await;
    let error = cluster.connect(&broken, 21).await.unwrap_err();
    let uid = broken.uid().unwrap();
    assert_eq!(
        error,
        format!(
            "plugin type=\"multus\" name=\"multus-cni-network\" failed (add): Multus: [err/badjson/{uid}]: error loading k8s delegates k8s args: parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: unexpected end of JSON input"
        )
    );
    let config = r#"{"name": "nomap", "type": "ovn-k8s-cni-overlay", "topology": "localnet", "netAttachDefName": "err/loc"}"#;
    cluster.nad("err", "loc", config).await;
    let unmapped = cluster.pod("err", "nomap", "lab-worker", "loc").await;
    let error = cluster.connect(&unmapped, 22).await.unwrap_err();
    let (uid, sandbox) = (unmapped.uid().unwrap(), format!("{:064x}", 22));
    let sandbox: String = sandbox.chars().rev().collect();
    let who = format!("[err/nomap {sandbox} network nomap NAD err/loc]");
    assert_eq!(
        error,
        format!(
            "plugin type=\"multus\" name=\"multus-cni-network\" failed (add): [err/nomap/{uid}:nomap]: error adding container to network \"nomap\": CNI request failed with status 400: '{who} {who} failed bridge mapping validation: failed to find OVN bridge-mapping for network: \"nomap\"\n'"
        )
    );
    cluster
        .nad("err", "wrongname", &IPAM.replace("NS", "other"))
        .await;
    let config = r#"{"name": "mac", "type": "macvlan"}"#;
    cluster.nad("err", "mac", config).await;
    let foreign = cluster.pod("err", "foreign", "lab-worker", "mac").await;
    let error = cluster.connect(&foreign, 23).await.unwrap_err();
    assert!(error.ends_with("error adding container to network \"mac\": failed to find plugin \"macvlan\" in path [/opt/cni/bin]"), "{error}");

    let expected = ("NoNetworkFound".to_owned(), missing.to_owned(), 1);
    cluster
        .until_events("err", "absent", |events| events.contains(&expected))
        .await;
    let reason = "Failed to parse network config: net-attach-def name (err/wrongname) is inconsistent with config (other/shared-net)";
    let expected = [("InvalidConfig".to_owned(), reason.to_owned(), 1)];
    cluster
        .until_events("err", "wrongname", |events| events == expected)
        .await;
    let count = |events: &[(String, String, i32)], reason: &str| {
        events.iter().find(|e| e.0 == reason).map(|e| e.2)
    };
    let told = |events: &[_]| {
        count(events, "ErrorAllocatingPod") == Some(1)
            && count(events, "ErrorReconcilingPod") == Some(3)
    };
    cluster.until_events("err", "badjson", told).await;
}
