//! What the containers of a pod share: network, host name, IPC and the files that describe them.

mod files;
mod namespaces;
mod resolv;

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use trunkline_fabric::NetNs;

pub(crate) use files::{hostname, hosts};
use namespaces::PodNamespaces;
pub(crate) use resolv::ResolvConf;

use crate::NodeConfig;
use crate::error::{Error, Result};
use crate::oci::{Mount, SharedNamespaces, file_mount};

/// A pod's sandbox. Dropping it releases the namespaces and the files; the network is the [`crate::Cni`]'s.
#[derive(Debug)]
pub(crate) struct PodSandbox {
    pub id: String,
    pub netns: NetNs,
    pub hostname: String,
    namespaces: PodNamespaces,
    dir: PathBuf,
}

impl PodSandbox {
    pub(crate) async fn create(
        pod: &Pod,
        node: &NodeConfig,
        resolv_conf: &ResolvConf,
        state: &Path,
    ) -> Result<Self> {
        let id = crate::refs::new_id();
        let spec = pod.spec.clone().unwrap_or_default();
        let netns = if spec.host_network == Some(true) {
            node.netns.clone()
        } else {
            NetNs::create().await?
        };
        let name = hostname(pod, node);
        let namespaces = PodNamespaces::create(&name, spec.host_ipc == Some(true))?;
        let sandbox = Self {
            dir: state.join("sandboxes").join(&id),
            id,
            netns,
            hostname: name,
            namespaces,
        };
        sandbox.write_files(&resolv_conf.to_string())?;
        Ok(sandbox)
    }

    fn write_files(&self, resolv_conf: &str) -> Result<()> {
        let shm = self.dir.join("shm");
        std::fs::create_dir_all(&shm).map_err(Error::file("create", &shm))?;
        let options = "mode=1777,size=65536k";
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("shm"), &shm, Some("tmpfs"), flags, Some(options))
            .map_err(|e| Error::file("mount", &shm)(e.into()))?;
        self.write("hostname", &format!("{}\n", self.hostname))?;
        self.write("resolv.conf", resolv_conf)?;
        // to be filled when the addresses are known
        self.write("hosts", "")
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).map_err(Error::file("write", &path))
    }

    /// The file that containers see as `/etc/resolv.conf`.
    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.dir.join("resolv.conf")
    }

    /// Writes the hosts file, in place: containers have it mounted.
    pub(crate) fn set_hosts(&self, text: &str) -> Result<()> {
        self.write("hosts", text)
    }

    pub(crate) fn shared(&self) -> SharedNamespaces {
        SharedNamespaces {
            network: self.netns.path(),
            ipc: self.namespaces.ipc(),
            uts: self.namespaces.uts(),
        }
    }

    /// What containers get of it, except where they mount something themselves.
    pub(crate) fn mounts(&self, taken: &[&Path]) -> Vec<Mount> {
        [
            ("hosts", "/etc/hosts"),
            ("hostname", "/etc/hostname"),
            ("resolv.conf", "/etc/resolv.conf"),
            ("shm", "/dev/shm"),
        ]
        .into_iter()
        .filter(|(_, destination)| !taken.contains(&Path::new(destination)))
        .map(|(file, destination)| file_mount(&self.dir.join(file), destination, false))
        .collect()
    }
}

impl Drop for PodSandbox {
    fn drop(&mut self) {
        // what remains after a failure vanishes with the lab's mount namespace and tmpfs
        if let Err(error) = umount2(&self.dir.join("shm"), MntFlags::MNT_DETACH) {
            tracing::debug!(%error, id = self.id, "shared memory not unmounted");
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
