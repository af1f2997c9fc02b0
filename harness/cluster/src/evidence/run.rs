//! Asking OVN-Kubernetes' pods.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client, ResourceExt as _,
    api::{Api, AttachParams, ListParams},
};
use tokio::io::AsyncReadExt as _;
use trunkline_engine::api_message;

use super::{
    microflow::Microflow,
    rows::{self, Responsible, Table},
    trace::AclFlow,
};

/// The label of the pods that hold a zone, in the chart and in the operator of OpenShift.
const LABEL: &str = "app=ovnkube-node";

/// A container that has every socket of the zone; the first one where it is called otherwise.
const CONTAINER: &str = "ovnkube-controller";

/// They answer within milliseconds; a flow dump of a big node within a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// The zone of a node.
pub(super) struct Zone {
    pods: Api<Pod>,
    pod: String,
    container: Option<String>,
}

impl Zone {
    pub async fn of(client: &Client, node: &str) -> Result<Self, String> {
        let pods: Api<Pod> = Api::all(client.clone());
        let params = ListParams::default()
            .labels(LABEL)
            .fields(&format!("spec.nodeName={node}"));
        let found = pods
            .list(&params)
            .await
            .map_err(|error| api_message(&error))?;
        let pod = found
            .items
            .into_iter()
            .next()
            .ok_or_else(|| format!("no pod with the label {LABEL} runs on node {node}"))?;
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let container = containers
            .map(|container| &container.name)
            .find(|name| *name == CONTAINER)
            .cloned();
        Ok(Self {
            pods: Api::namespaced(
                client.clone(),
                pod.namespace().as_deref().unwrap_or("ovn-kubernetes"),
            ),
            pod: pod.name_any(),
            container,
        })
    }

    /// The way of a packet that begins a connection, at every place where connections are looked at.
    pub async fn trace(&self, flow: &Microflow) -> Result<String, String> {
        let mut command = vec!["ovn-trace".to_owned()];
        for _ in 0..8 {
            command.extend(["--ct".to_owned(), "new".to_owned()]);
        }
        command.push(flow.to_string());
        self.run(command).await
    }

    pub async fn flows(&self) -> Result<String, String> {
        self.run(
            ["ovs-appctl", "dpctl/dump-flows"]
                .map(str::to_owned)
                .to_vec(),
        )
        .await
    }

    pub async fn responsible(
        &self,
        acl: &AclFlow,
        port: &str,
        secondary: bool,
    ) -> Result<Option<Responsible>, String> {
        let find = |columns: &str, table: &str, condition: String| {
            let words = ["ovn-nbctl", "--format=json", columns, "find", table];
            let mut command: Vec<_> = words.map(str::to_owned).to_vec();
            command.push(condition);
            self.run(command)
        };
        let (acls, groups, ports) = futures::try_join!(
            find(
                "--columns=direction,priority,match,external_ids",
                "ACL",
                "action=drop".into()
            ),
            find(
                "--columns=ports,external_ids",
                "Port_Group",
                "external_ids:\"k8s.ovn.org/owner-type\"=NetworkPolicy".into()
            ),
            find(
                "--columns=_uuid",
                "Logical_Switch_Port",
                format!("name=\"{port}\"")
            ),
        )?;
        Ok(rows::responsible(
            acl,
            &Table::parse(&acls)?,
            &Table::parse(&groups)?,
            &Table::parse(&ports)?,
            secondary,
        ))
    }

    /// What a program in the pod prints.
    async fn run(&self, command: Vec<String>) -> Result<String, String> {
        let name = command.first().cloned().unwrap_or_default();
        let params = AttachParams {
            container: self.container.clone(),
            ..AttachParams::default().stdin(false)
        };
        let ask = async {
            let mut process = self
                .pods
                .exec(&self.pod, command, &params)
                .await
                .map_err(|error| api_message(&error))?;
            let (Some(mut stdout), Some(mut stderr), Some(status)) =
                (process.stdout(), process.stderr(), process.take_status())
            else {
                return Err("the API gave no streams to read".to_owned());
            };
            let (mut out, mut err) = (String::new(), String::new());
            let (read, _, status) = tokio::join!(
                stdout.read_to_string(&mut out),
                stderr.read_to_string(&mut err),
                status
            );
            read.map_err(|error| error.to_string())?;
            match status {
                Some(status) if status.status.as_deref() != Some("Success") => {
                    let why = status.message.unwrap_or_default();
                    Err(format!("{why} {}", err.trim()).trim().to_owned())
                }
                _ => Ok(out),
            }
        };
        match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(why)) => Err(format!("{name} in pod {}: {why}", self.pod)),
            Err(_) => Err(format!("{name} in pod {} does not end", self.pod)),
        }
    }
}

/// The node behind a remote port: of a node itself on a transit switch, of a pod on a network that spans zones.
pub(super) async fn node_of_port(client: &Client, port: &str) -> Result<Option<String>, String> {
    if let Some((_, node)) = port.split_once("tstor-") {
        return Ok(Some(node.to_owned()));
    }
    // Neither names of namespaces nor of pods have an underscore.
    let mut parts = port.rsplit('_');
    let (Some(pod), Some(namespace)) = (parts.next(), parts.next()) else {
        return Ok(None);
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = pods
        .get_opt(pod)
        .await
        .map_err(|error| api_message(&error))?;
    Ok(pod.and_then(|pod| pod.spec?.node_name))
}
