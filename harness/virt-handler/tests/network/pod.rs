//! A pod, and the world around it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use trunkline_fabric::{End, Hop, MacAddr, NetNs};
use trunkline_kubevirt::types::{InterfaceBindingPlugin, VirtualMachineInstance};
use trunkline_userland::Cache;
use trunkline_userland::rootfs::{self, RootKind};
use trunkline_virt_handler::network::{Attached, NetworkError, Request, attach};

use crate::guest::Guest;

pub(crate) const POD_MAC: MacAddr = MacAddr::new([0x0a, 0x58, 0x0a, 0xf4, 1, 0x18]);
pub(crate) const RESOLV_CONF: &str = "search ipam-l2.svc.cluster.local svc.cluster.local cluster.local\n\
                                      nameserver 10.96.0.10\noptions ndots:5\n";

/// What a test needs of the machine it runs on.
pub(crate) struct Ground {
    nft: Vec<String>,
}

impl Ground {
    /// `None` after saying what is missing.
    pub(crate) async fn find() -> Option<Self> {
        let found = match NetNs::create().await {
            Ok(_) => nft(),
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(nft) => Some(Self { nft }),
            Err(reason) => {
                eprintln!("skipped: {reason}");
                None
            }
        }
    }
}

/// The host's `nft`, or that of the lab's root file system.
fn nft() -> Result<Vec<String>, String> {
    if Command::new("nft").arg("--version").output().is_ok() {
        return Ok(vec!["nft".to_owned()]);
    }
    let root = if let Some(path) = std::env::var_os("TRUNKLINE_TEST_ROOTFS") {
        PathBuf::from(path)
    } else {
        let cache = Cache::locate().map_err(|error| error.to_string())?;
        rootfs::find(&cache, RootKind::Lab)
            .map_err(|error| error.to_string())?
            .ok_or("no nft, and no root file system of the lab to take it from")?
            .path
    };
    let root = root
        .to_str()
        .ok_or("the root file system's path is no text")?;
    Ok(vec!["chroot".to_owned(), root.to_owned(), "nft".to_owned()])
}

/// An interface as a CNI plugin makes it; its other end is the world's.
pub(crate) struct Nic<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u16,
    pub(crate) addresses: &'a [&'a str],
    pub(crate) default: Option<&'a str>,
    /// The world's addresses on the same wire.
    pub(crate) world: &'a [&'a str],
}

pub(crate) const ETH0: Nic<'static> = Nic {
    name: "eth0",
    mac: POD_MAC,
    mtu: 1400,
    addresses: &["10.244.1.24/24"],
    default: Some("10.244.1.1"),
    world: &["10.244.1.1/24"],
};

pub(crate) struct World {
    pub(crate) pod: NetNs,
    pub(crate) outside: NetNs,
    ground: Ground,
}

impl World {
    /// `None` if there is no ground for it.
    pub(crate) async fn with(nics: &[Nic<'_>]) -> Option<Self> {
        let ground = Ground::find().await?;
        let pod = NetNs::create().await.unwrap();
        let outside = NetNs::create().await.unwrap();
        for nic in nics {
            plug(&pod, &outside, nic).await;
        }
        Some(Self {
            pod,
            outside,
            ground,
        })
    }

    pub(crate) async fn try_attach(&self, vmi: &Value) -> Result<Attached, NetworkError> {
        let vmi: VirtualMachineInstance = serde_json::from_value(vmi.clone()).unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "virt-launcher-vm-ipam-abcde", "namespace": "ipam-l2"},
            "spec": {"hostname": "vm-ipam", "containers": []},
        }))
        .unwrap();
        let plugin = |attachment: &str| InterfaceBindingPlugin {
            domain_attachment_type: Some(attachment.to_owned()),
            ..InterfaceBindingPlugin::default()
        };
        let plugins = BTreeMap::from([
            ("l2bridge".to_owned(), plugin("managedTap")),
            ("other".to_owned(), plugin("tap")),
        ]);
        let nft: Vec<&str> = self.ground.nft.iter().map(String::as_str).collect();
        attach(&Request {
            netns: &self.pod,
            pod: &pod,
            vmi: &vmi,
            resolv_conf: RESOLV_CONF,
            plugins: &plugins,
            nft: &nft,
        })
        .await
    }

    /// Attaches and starts a machine on what came of it.
    pub(crate) async fn machine(&self, vmi: &Value) -> (Attached, Guest) {
        let mut attached = self.try_attach(vmi).await.unwrap();
        let guest = Guest::start(&mut attached).await;
        (attached, guest)
    }

    /// The mean size of the frames that the world has received from the pod.
    pub(crate) async fn frame_size(&self, interface: &str) -> u64 {
        let interface = interface.to_owned();
        let output = self
            .outside
            .run(move || {
                let show = ["-s", "-j", "link", "show", &interface];
                Command::new("ip").args(show).output().unwrap().stdout
            })
            .await
            .unwrap();
        let shown: Value = serde_json::from_slice(&output).unwrap();
        let received = &shown[0]["stats64"]["rx"];
        let count = |what: &str| received[what].as_u64().unwrap();
        count("bytes") / count("packets")
    }

    /// The translation that is in force.
    pub(crate) async fn nft_list(&self) -> String {
        let mut command: Vec<&str> = self.ground.nft.iter().map(String::as_str).collect();
        command.extend(["list", "ruleset"]);
        self.in_pod(&command).await
    }

    /// The lines that `ip` or another tool prints inside the pod.
    pub(crate) async fn in_pod(&self, command: &[&str]) -> String {
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        self.pod
            .run(move || {
                let output = Command::new(&command[0]).args(&command[1..]).output();
                String::from_utf8(output.unwrap().stdout).unwrap()
            })
            .await
            .unwrap()
    }
}

async fn plug(pod: &NetNs, outside: &NetNs, nic: &Nic<'_>) {
    let links = pod.links().await.unwrap();
    let world = format!("w-{}", &nic.name[..nic.name.len().min(8)]);
    links
        .add_pair(
            End::new(nic.name, nic.mac, nic.mtu),
            End::new(&world, None, nic.mtu),
            outside,
        )
        .await
        .unwrap();
    let index = links.index(nic.name).await.unwrap();
    for address in nic.addresses {
        links.add_address(index, net(address)).await.unwrap();
    }
    if let Some(gateway) = nic.default {
        // As the fabric does where a router follows.
        links.cut_segments(index, nic.mtu).await.unwrap();
        let hop = Hop::via(gateway.parse::<std::net::IpAddr>().unwrap());
        let all = if gateway.contains(':') {
            "::/0"
        } else {
            "0.0.0.0/0"
        };
        links.add_route(index, net(all), &hop).await.unwrap();
    }
    let there = outside.links().await.unwrap();
    let index = there.index(&world).await.unwrap();
    for address in nic.world {
        there.add_address(index, net(address)).await.unwrap();
    }
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A machine's object with these interfaces and networks.
pub(crate) fn vmi(interfaces: &Value, networks: &Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "vm-ipam", "namespace": "ipam-l2"},
        "spec": {
            "domain": {"devices": {"interfaces": interfaces}},
            "networks": networks,
        },
    })
}

pub(crate) fn masquerade(ports: &Value) -> Value {
    vmi(
        &json!([{"name": "default", "masquerade": {}, "ports": ports}]),
        &json!([{"name": "default", "pod": {}}]),
    )
}

pub(crate) fn bridge_on_pod_network() -> Value {
    vmi(
        &json!([{"name": "default", "bridge": {}}]),
        &json!([{"name": "default", "pod": {}}]),
    )
}
