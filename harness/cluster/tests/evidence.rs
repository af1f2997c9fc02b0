//! Asking OVN-Kubernetes' pods about a probe, against pods that answer as those of two zones do: with what OVN 25.03 and
//! Open vSwitch 3.5 printed. There is no OVN-Kubernetes here.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure of a test"
)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use kubeapi::{
    ApiServer, AsyncReadWrite, ExecExit, ExecOptions, LogOptions, PodConnector, Status, Streams,
};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use trunkline_cluster::evidence;
use trunkline_engine::{
    EvidenceRequest, Protocol,
    events::{EvidenceSource, ObjectRef},
};

/// The pods of two zones.
#[derive(Default)]
struct Zones {
    asked: Arc<Mutex<Vec<String>>>,
    /// Its programs are not there.
    broken: bool,
}

#[async_trait]
impl PodConnector for Zones {
    async fn exec(
        &self,
        _: &str,
        pod: &str,
        opts: ExecOptions,
        mut streams: Streams,
    ) -> Result<ExecExit, Status> {
        self.asked.lock().unwrap().push(format!(
            "{pod}/{}: {}",
            opts.container,
            opts.command.join(" ")
        ));
        if self.broken {
            return Err(Status::internal("no such program"));
        }
        let last = opts.command.last().map(String::as_str).unwrap_or_default();
        let text = match (opts.command[0].as_str(), pod) {
            ("ovn-trace", "ovnkube-node-2") => include_str!("../src/evidence/data/leaves-zone.txt"),
            ("ovn-trace", _) => include_str!("../src/evidence/data/enters-zone-denied.txt"),
            ("ovs-appctl", _) => include_str!("../src/evidence/data/flows.txt"),
            ("ovn-nbctl", _) if last == "action=drop" => {
                include_str!("../src/evidence/data/acls.json")
            }
            ("ovn-nbctl", _) if last == "name=\"np_web\"" => {
                r#"{"headings":["_uuid"],"data":[[["uuid","f5dbe530-c6b4-46df-8a9f-f570027cb7e8"]]]}"#
            }
            ("ovn-nbctl", _) => include_str!("../src/evidence/data/groups.json"),
            (other, _) => panic!("nobody asks {other}"),
        };
        if let Some(stdout) = &mut streams.stdout {
            let _ = stdout.write_all(text.as_bytes()).await;
        }
        Ok(ExecExit { code: 0 })
    }

    async fn attach(
        &self,
        _: &str,
        _: &str,
        _: ExecOptions,
        _: Streams,
    ) -> Result<ExecExit, Status> {
        Err(Status::internal("not here"))
    }

    async fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        Err(Status::internal("not here"))
    }

    async fn port_forward(
        &self,
        _: &str,
        _: &str,
        _: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, Status> {
        Err(Status::internal("not here"))
    }
}

async fn pod(client: &Client, namespace: &str, name: &str, node: &str, networks: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = json!({"metadata": {"name": namespace}});
    let _ = namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(object).unwrap(),
        )
        .await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let object = json!({
        "metadata": {"name": name, "labels": {"app": if namespace == "np" { "web" } else { "ovnkube-node" }},
            "annotations": {"k8s.ovn.org/pod-networks": networks}},
        "spec": {"nodeName": node, "containers": [{"name": "nb-ovsdb", "image": "x"}, {"name": "ovnkube-controller", "image": "x"}]},
    });
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(object).unwrap(),
    )
    .await
    .unwrap();
    let running = json!({"status": {"phase": "Running"}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(running))
        .await
        .unwrap();
}

async fn cluster(zones: Zones) -> Client {
    let server = ApiServer::builder().pods(Arc::new(zones)).build().unwrap();
    let client = server.client("admin");
    pod(
        &client,
        "ovn-kubernetes",
        "ovnkube-node-1",
        "lab-worker",
        "{}",
    )
    .await;
    pod(
        &client,
        "ovn-kubernetes",
        "ovnkube-node-2",
        "lab-worker2",
        "{}",
    )
    .await;
    let networks = json!({"default": {"ip_addresses": ["10.244.2.3/24"], "mac_address": "0a:58:0a:f4:02:03",
        "gateway_ips": ["10.244.2.1"], "routes": [{"dest": "10.244.0.0/16", "nextHop": "10.244.2.1"}], "role": "primary"}});
    pod(
        &client,
        "np",
        "client",
        "lab-worker2",
        &networks.to_string(),
    )
    .await;
    client
}

fn question(host: &str) -> EvidenceRequest {
    EvidenceRequest {
        probe: 1,
        from: ObjectRef {
            kind: "pod".into(),
            namespace: Some("np".into()),
            name: "client".into(),
        },
        protocol: Protocol::Tcp,
        host: host.into(),
        port: Some(9000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_in_another_zone_is_followed_there_and_owed_to_its_policy() {
    let zones = Zones::default();
    let asked = Arc::clone(&zones.asked);
    let client = cluster(zones).await;
    let evidence = evidence::ask(&client, &question("10.244.1.3"))
        .await
        .unwrap();
    assert_eq!(evidence.source, EvidenceSource::Acl, "{evidence:?}");
    assert_eq!(
        evidence.object.unwrap().to_string(),
        "networkpolicy/np/deny"
    );
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].starts_with("ovnkube-node-2/ovnkube-controller: ovn-trace --ct new"),
        "{asked:?}"
    );
    assert!(
        asked[1].starts_with("ovnkube-node-1/")
            && asked[1].contains("inport == \"tstor-lab-worker2\""),
        "{asked:?}"
    );
    assert!(
        asked[2..]
            .iter()
            .all(|line| line.starts_with("ovnkube-node-1/")),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_said_and_names_are_not_asked_about() {
    let client = cluster(Zones {
        broken: true,
        ..Zones::default()
    })
    .await;
    let evidence = evidence::ask(&client, &question("10.244.1.3"))
        .await
        .unwrap();
    assert_eq!(evidence.source, EvidenceSource::Deadline);
    assert_eq!(evidence.object, None);
    assert!(
        evidence
            .summary
            .contains("could not be asked: ovn-trace in pod ovnkube-node-2: ")
            && evidence.summary.contains("no such program"),
        "{}",
        evidence.summary
    );
    assert_eq!(evidence::ask(&client, &question("web.np.svc")).await, None);
}
