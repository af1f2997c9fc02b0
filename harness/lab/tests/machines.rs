//! Machines' networks on OVN: what they send reaches routers and other nodes whole, in both directions.
//!
//! The machines are namespaces behind their taps, which offload to them what QEMU's virtio offloads.

#![allow(
    clippy::unwrap_used,
    reason = "a test may; without a harness clippy does not know that it is one"
)]

#[path = "../../virt-handler/tests/network/guest.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod guest;
#[path = "../../virt-handler/tests/network/offload.rs"]
mod offload;
#[path = "../../virt-handler/tests/network/stream.rs"]
#[allow(dead_code, reason = "as above")]
mod stream;
#[allow(dead_code, reason = "as above")]
mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use guest::Guest;
use ovsdb::{Client, Datum, Row, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stream::bulk;
use support::{Test, Verdict, spec};
use trunkline_fabric::{Fabric, FabricSpec, MacAddr, NetNs, Node, NodeName, NodeSpec, Port};
use trunkline_lab::boot::{self, Exit, ServerContext, Supervisor};
use trunkline_virt_handler::network::{Attached, Request, attach};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Mbit/s.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    masquerade: [u64; 2],
    bridge: [u64; 2],
    layer2: [u64; 2],
}

const LENGTH: usize = 4 << 20;
const MTU: u16 = 1400;

fn main() -> ExitCode {
    boot::main_if_reexec(server);
    support::main(TESTS)
}

const TESTS: &[(&str, Test)] = &[(
    "machines_stream_through_routers_and_across_nodes",
    |rootfs| Box::pin(streams(rootfs)),
)];

async fn streams(rootfs: PathBuf) -> Verdict {
    let started = Supervisor::<(), Report>::start(spec(&rootfs, &())).await;
    let mut lab = started.map_err(|e| e.to_string())?;
    let report = lab.control().receive().await;
    let exit = lab.wait().await.map_err(|e| e.to_string())?;
    if exit != Exit::Done {
        return Err(format!("{exit:?}"));
    }
    let report = report.ok_or("no report")?;
    eprintln!("{report:?}");
    // Data that routers drop is sent again in small pieces after a pause each: less than one Mbit/s.
    let slowest = [report.masquerade, report.bridge, report.layer2].concat();
    if slowest.iter().any(|rate| *rate < 5) {
        return Err(format!("{report:?}"));
    }
    Ok(())
}

async fn server(context: ServerContext<(), Report>) -> Outcome<()> {
    let node = |number: u8| {
        let ip = format!("172.18.0.{number}/16");
        NodeSpec::new(
            NodeName::new(format!("node{number}")).unwrap(),
            ip.parse().unwrap(),
        )
    };
    let fabric = Fabric::start(FabricSpec::new(vec![node(2), node(3)])).await?;
    let [one, two] = [2, 3].map(|number| {
        let name = NodeName::new(format!("node{number}")).unwrap();
        fabric.node(&name).unwrap().clone()
    });
    introduce(&one, &two).await?;
    introduce(&two, &one).await?;
    let report = Report {
        masquerade: through_a_router(&fabric, &one, "masquerade", 10).await?,
        bridge: through_a_router(&fabric, &one, "bridge", 20).await?,
        layer2: across_nodes(&fabric, &one, &two).await?,
    };
    context.control.send(&report)?;
    Ok(())
}

/// A zone knows the other's chassis.
async fn introduce(to: &Node, other: &Node) -> Outcome<()> {
    let sb = Client::connect(&to.zone.sb, "OVN_Southbound").await?;
    let chassis = other.chassis.to_string();
    let mut tx = Transaction::new();
    let encap = tx.insert(
        "Encap",
        Row::new()
            .with("type", "geneve")
            .with("ip", other.ip.addr().to_string())
            .with("chassis_name", chassis.as_str())
            .with("options", Datum::map([("csum", "true")])),
    );
    tx.insert(
        "Chassis",
        Row::new()
            .with("name", chassis.as_str())
            .with("hostname", other.name.as_str())
            .with("encaps", Datum::set([encap]))
            .with("other_config", Datum::map([("is-remote", "true")])),
    );
    sb.transact(tx).await?;
    Ok(())
}

/// From a machine to a pod behind a router that looks at lengths, as those of OVN-Kubernetes do, and back.
async fn through_a_router(
    fabric: &Fabric,
    node: &Node,
    binding: &str,
    net: u8,
) -> Outcome<[u64; 2]> {
    let nets = [net, net + 1];
    let names = nets.map(|net| format!("ns_pod{net}"));
    let mut tx = Transaction::new();
    let mut routers = Vec::new();
    for (net, name) in nets.iter().zip(&names) {
        let router_port = format!("rtos-{net}");
        routers.push(
            tx.insert(
                "Logical_Router_Port",
                Row::new()
                    .with("name", router_port.as_str())
                    .with("mac", format!("0a:58:0a:00:{net:02x}:01"))
                    .with("networks", format!("10.0.{net}.1/24"))
                    .with(
                        "options",
                        Datum::map([("gateway_mtu", MTU.to_string().as_str())]),
                    ),
            ),
        );
        let to_router = tx.insert(
            "Logical_Switch_Port",
            Row::new()
                .with("name", format!("stor-{net}"))
                .with("type", "router")
                .with("addresses", "router")
                .with(
                    "options",
                    Datum::map([("router-port", router_port.as_str())]),
                ),
        );
        let pod = tx.insert(
            "Logical_Switch_Port",
            Row::new()
                .with("name", name.as_str())
                .with("addresses", format!("{} 10.0.{net}.2", mac(*net))),
        );
        tx.insert(
            "Logical_Switch",
            Row::new()
                .with("name", format!("switch{net}"))
                .with("ports", Datum::set([to_router, pod])),
        );
    }
    tx.insert(
        "Logical_Router",
        Row::new()
            .with("name", format!("router{net}"))
            .with("ports", Datum::set(routers)),
    );
    let nb = Client::connect(&node.zone.nb, "OVN_Northbound").await?;
    nb.transact(tx).await?;

    let pods = [NetNs::create().await?, NetNs::create().await?];
    for ((net, name), netns) in nets.iter().zip(&names).zip(&pods) {
        let mut port = port(node, netns, name, "eth0", *net);
        port.gateways = vec![format!("10.0.{net}.1").parse()?];
        fabric.plug(&port).await?;
    }
    fabric.barrier().await?;
    let mut interface = json!({"name": "default"});
    interface[binding] = json!({});
    let vmi = vmi(&interface, &json!({"name": "default", "pod": {}}));
    let mut attached = attached(&pods[0], &vmi).await?;
    let machine = Guest::start(&mut attached).await;
    let own = format!("10.0.{net}.2");
    let (address, gateway) = match binding {
        "masquerade" => ("10.0.2.2/24".to_owned(), "10.0.2.1".to_owned()),
        _ => (format!("{own}/24"), format!("10.0.{net}.1")),
    };
    machine.configure("eth0", &address, Some(&gateway)).await;
    both(
        (&machine.netns, own.parse()?),
        (&pods[1], format!("10.0.{}.2", net + 1).parse()?),
    )
    .await
}

/// On a layer 2 network, from a machine on one node to a pod on another, and back.
async fn across_nodes(fabric: &Fabric, one: &Node, two: &Node) -> Outcome<[u64; 2]> {
    let pods = [(30, "ns_pod30", one), (31, "ns_pod31", two)];
    for zone in [one, two] {
        let mut tx = Transaction::new();
        let ports: Vec<_> = pods
            .iter()
            .map(|(net, name, node)| {
                let remote = if node.name == zone.name { "" } else { "remote" };
                let options = [
                    ("requested-tnl-key", net.to_string()),
                    ("requested-chassis", node.name.to_string()),
                ];
                tx.insert(
                    "Logical_Switch_Port",
                    Row::new()
                        .with("name", *name)
                        .with("type", remote)
                        .with("addresses", mac(*net).to_string())
                        .with("options", Datum::map(options)),
                )
            })
            .collect();
        let config = [("interconn-ts", "blue"), ("requested-tnl-key", "16711684")];
        tx.insert(
            "Logical_Switch",
            Row::new()
                .with("name", "blue")
                .with("ports", Datum::set(ports))
                .with("other_config", Datum::map(config)),
        );
        let nb = Client::connect(&zone.zone.nb, "OVN_Northbound").await?;
        nb.transact(tx).await?;
    }
    let namespaces = [NetNs::create().await?, NetNs::create().await?];
    for ((net, name, node), netns) in pods.iter().zip(&namespaces) {
        let interface = ["pod16477688c0e", "net1"][usize::from(*net != 30)];
        let mut port = port(node, netns, name, interface, *net);
        port.addresses.clear();
        if *net == 31 {
            port.addresses.push("192.168.200.31/24".parse()?);
        }
        let ids = [
            ("k8s.ovn.org/network", "blue"),
            ("k8s.ovn.org/nad", "ns/blue"),
        ];
        port.external_ids = ids.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        fabric.plug(&port).await?;
    }
    fabric.barrier().await?;
    let vmi = vmi(
        &json!({"name": "blue", "bridge": {}}),
        &json!({"name": "blue", "multus": {"networkName": "blue"}}),
    );
    let mut attached = attached(&namespaces[0], &vmi).await?;
    let machine = Guest::start(&mut attached).await;
    machine.configure("eth0", "192.168.200.30/24", None).await;
    both(
        (&machine.netns, "192.168.200.30".parse()?),
        (&namespaces[1], "192.168.200.31".parse()?),
    )
    .await
}

async fn both(machine: (&NetNs, IpAddr), pod: (&NetNs, IpAddr)) -> Outcome<[u64; 2]> {
    Ok([
        bulk(machine.0, pod.0, pod.1, LENGTH).await,
        bulk(pod.0, machine.0, machine.1, LENGTH).await,
    ])
}

async fn attached(pod: &NetNs, vmi: &Value) -> Outcome<Attached> {
    let request = Request {
        netns: pod,
        pod: &serde_json::from_value(json!({"metadata": {"name": "virt-launcher"}}))?,
        vmi: &serde_json::from_value(vmi.clone())?,
        resolv_conf: "",
        plugins: &BTreeMap::new(),
        nft: &["nft"],
    };
    Ok(attach(&request).await?)
}

fn vmi(interface: &Value, network: &Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "vm", "namespace": "ns"},
        "spec": {"domain": {"devices": {"interfaces": [interface]}}, "networks": [network]},
    })
}

fn port(node: &Node, netns: &NetNs, name: &str, interface: &str, net: u8) -> Port {
    Port {
        node: node.name.clone(),
        netns: netns.clone(),
        ifname: interface.to_owned(),
        mac: mac(net),
        addresses: vec![format!("10.0.{net}.2/24").parse().unwrap()],
        gateways: Vec::new(),
        routes: Vec::new(),
        mtu: MTU,
        iface_id: name.to_owned(),
        iface_id_ver: "5da28b37-78ec-41d2-9907-dff1ff317654".to_owned(),
        sandbox: format!("{:0<64}", format!("{net}{net}")),
        external_ids: BTreeMap::new(),
    }
}

fn mac(net: u8) -> MacAddr {
    MacAddr::new([0x0a, 0x58, 10, 0, net, 2])
}
