//! The pod that a machine runs in, as its node sees it.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use trunkline_fabric::NetNs;
use trunkline_kubelet::Connector;
use trunkline_kubevirt::types::VirtualMachineInstance;

/// QEMU's user and group.
const QEMU: u32 = 107;

/// Where `private` is mounted in the pod.
const PRIVATE: &str = "/var/run/kubevirt-private";

#[derive(Debug)]
pub struct Place {
    pub pod: Pod,
    pub netns: NetNs,
    /// The text of the pod's `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Where the launcher listens.
    pub sockets: PathBuf,
    pub ephemeral: PathBuf,
    /// Where QEMU may write: for the serial line.
    pub private: PathBuf,
    /// The same as the pod sees it.
    pub private_in_pod: PathBuf,
    connector: Connector,
}

#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("cannot look for the virt-launcher pod: {0}")]
    Api(#[from] kube::Error),
    #[error("no virt-launcher pod of this machine runs on {0}")]
    NoPod(String),
    #[error("the virt-launcher pod has no {0}: it is ending")]
    Ending(String),
    #[error("cannot use {path}: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
}

impl Place {
    pub async fn find(
        client: kube::Client,
        connector: Connector,
        vmi: &VirtualMachineInstance,
        node: &str,
    ) -> Result<Self, PlaceError> {
        let uid = vmi.uid().unwrap_or_default();
        let namespace = vmi.namespace().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(client, &namespace);
        let selector = ListParams::default().labels(&format!("kubevirt.io/created-by={uid}"));
        let pod = pods
            .list(&selector)
            .await?
            .into_iter()
            .find(|pod| runs_on(pod, node))
            .ok_or_else(|| PlaceError::NoPod(node.to_owned()))?;
        let (name, pod_uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        let volume = |volume: &str| {
            connector
                .volume(&namespace, &name, &pod_uid, volume)
                .ok_or_else(|| PlaceError::Ending(format!("volume {volume}")))
        };
        let network = connector
            .network(&namespace, &name, &pod_uid)
            .ok_or_else(|| PlaceError::Ending("network".to_owned()))?;
        let resolv_conf =
            std::fs::read_to_string(&network.resolv_conf).map_err(failed(&network.resolv_conf))?;
        let private = volume("private")?.join(&uid);
        make_directory(&private)?;
        Ok(Self {
            netns: network.netns,
            resolv_conf,
            sockets: volume("sockets")?,
            ephemeral: volume("ephemeral-disks")?,
            private,
            private_in_pod: Path::new(PRIVATE).join(&uid),
            connector,
            pod,
        })
    }

    /// Where a volume of the pod lies.
    pub fn find_volume(&self, volume: &str) -> Option<PathBuf> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let uid = self.pod.uid().unwrap_or_default();
        self.connector
            .volume(&namespace, &self.pod.name_any(), &uid, volume)
    }
}

fn runs_on(pod: &Pod, node: &str) -> bool {
    let on_node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    on_node && phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

fn make_directory(path: &Path) -> Result<(), PlaceError> {
    if !path.exists() {
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(path)
            .map_err(failed(path))?;
    }
    chown(path, Some(QEMU), Some(QEMU)).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> PlaceError {
    let path = path.display().to_string();
    move |source| PlaceError::File {
        path: path.clone(),
        source,
    }
}
