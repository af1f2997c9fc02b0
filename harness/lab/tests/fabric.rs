//! The fabric inside a lab, with rows written by hand where OVN-Kubernetes would write them.

#![allow(
    clippy::unwrap_used,
    reason = "a test may; without a harness clippy does not know that it is one"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::unistd::Pid;
use ovsdb::{Client, Condition, Datum, Row, Transaction};
use serde::{Deserialize, Serialize};
use trunkline_fabric::{
    Error, Fabric, FabricSpec, MacAddr, NetNs, Node, NodeGateway, NodeName, NodeSpec, Port,
};
use trunkline_lab::boot::{self, Exit, ServerContext, Supervisor};

use support::{Test, Verdict, spec};

/// What a lab's server does and reports.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Job {
    Layer2,
    Gateway,
    Death,
    Fall,
}

/// Measured inside, judged outside.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    /// From the server's first instruction until three zones had converged.
    up: Duration,
    /// Resident memory of all OVN and Open vSwitch processes, in MiB.
    memory: u64,
    barrier: Duration,
    plug: Duration,
    ping: Vec<Duration>,
    /// Mbit/s.
    tcp_across: u64,
    tcp_local: u64,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    boot::main_if_reexec(server);
    support::main(TESTS)
}

const TESTS: &[(&str, Test)] = &[
    ("layer2_across_three_zones", |rootfs| {
        Box::pin(layer2_across_three_zones(rootfs))
    }),
    ("a_gateway_shares_address_and_mac_with_its_node", |rootfs| {
        Box::pin(done(rootfs, Job::Gateway))
    }),
    ("a_dead_daemon_is_named", |rootfs| {
        Box::pin(done(rootfs, Job::Death))
    }),
    ("a_daemon_that_fell_is_started_again", |rootfs| {
        Box::pin(done(rootfs, Job::Fall))
    }),
];

async fn server(context: ServerContext<(), Report>) -> Outcome<()> {
    let started = Instant::now();
    let job: Job = serde_json::from_value(context.config.clone())?;
    let fabric = Fabric::start(three_nodes()).await?;
    let up = started.elapsed();
    match job {
        Job::Layer2 => {
            let report = layer2(&fabric, up).await?;
            context.control.send(&report)?;
            Ok(())
        }
        Job::Gateway => gateway(&fabric).await,
        Job::Death => death(&fabric).await,
        Job::Fall => fall(&fabric).await,
    }
}

async fn run(rootfs: PathBuf, job: Job) -> Result<(Exit, Option<Report>), String> {
    let started = Supervisor::<(), Report>::start(spec(&rootfs, &job)).await;
    let mut lab = started.map_err(|e| e.to_string())?;
    let report = lab.control().receive().await;
    let exit = lab.wait().await.map_err(|e| e.to_string())?;
    Ok((exit, report))
}

async fn layer2_across_three_zones(rootfs: PathBuf) -> Verdict {
    let (exit, report) = run(rootfs, Job::Layer2).await?;
    if exit != Exit::Done {
        return Err(format!("{exit:?}"));
    }
    let report = report.ok_or("no report")?;
    eprintln!("{report:#?}");
    // How fast it is, is ci/bench's to say.
    assert!(report.memory < 220, "{report:#?}");
    assert!(report.tcp_across > 0, "{report:#?}");
    Ok(())
}

async fn done(rootfs: PathBuf, job: Job) -> Verdict {
    match run(rootfs, job).await? {
        (Exit::Done, _) => Ok(()),
        (other, _) => Err(format!("{other:?}")),
    }
}

const NODES: [(&str, &str); 3] = [
    ("lab-control-plane", "172.18.0.2/16"),
    ("lab-worker", "172.18.0.3/16"),
    ("lab-worker2", "172.18.0.4/16"),
];

fn three_nodes() -> FabricSpec {
    let node =
        |(name, ip): (&str, &str)| NodeSpec::new(NodeName::new(name).unwrap(), ip.parse().unwrap());
    FabricSpec::new(NODES.into_iter().map(node).collect())
}

async fn northbound(node: &Node) -> ovsdb::Result<Client> {
    Client::connect(&node.zone.nb, "OVN_Northbound").await
}

/// What makes the other zones' chassis known to a zone.
async fn introduce_chassis(fabric: &Fabric) -> Outcome<()> {
    for node in fabric.nodes() {
        let sb = Client::connect(&node.zone.sb, "OVN_Southbound").await?;
        let mut tx = Transaction::new();
        for other in fabric.nodes().filter(|other| other.name != node.name) {
            let chassis = other.chassis.to_string();
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
        }
        sb.transact(tx).await?;
    }
    Ok(())
}

/// A pod of the tests.
struct Pod {
    name: String,
    node: Node,
    ip: Ipv4Addr,
    netns: NetNs,
}

impl Pod {
    async fn create(node: &Node, number: u8) -> Outcome<Self> {
        Ok(Self {
            name: format!("ns_pod{number}"),
            node: node.clone(),
            ip: Ipv4Addr::new(192, 168, 200, number),
            netns: NetNs::create().await?,
        })
    }

    fn mac(&self) -> MacAddr {
        let [a, b, c, d] = self.ip.octets();
        MacAddr::new([0x0a, 0x58, a, b, c, d])
    }

    fn port(&self) -> Port {
        let network = [
            ("k8s.ovn.org/network", "blue"),
            ("k8s.ovn.org/nad", "ns/blue"),
        ];
        Port {
            node: self.node.name.clone(),
            netns: self.netns.clone(),
            ifname: "net1".to_owned(),
            mac: self.mac(),
            addresses: vec![format!("{}/24", self.ip).parse().unwrap()],
            gateways: Vec::new(),
            routes: Vec::new(),
            mtu: 1400,
            iface_id: self.name.clone(),
            iface_id_ver: "5da28b37-78ec-41d2-9907-dff1ff317654".to_owned(),
            sandbox: format!("{:0>64}", self.name.replace('_', ""))
                .chars()
                .rev()
                .collect(),
            external_ids: network.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }
}

const SWITCH_KEY: &str = "16711684";

/// The rows of one layer 2 network in every zone.
async fn write_switch(fabric: &Fabric, pods: &[Pod]) -> Outcome<()> {
    for node in fabric.nodes() {
        let mut tx = Transaction::new();
        let ports: Vec<_> = pods
            .iter()
            .enumerate()
            .map(|(index, pod)| {
                let key = (index + 10).to_string();
                let options = [
                    ("requested-tnl-key", key),
                    ("requested-chassis", pod.node.name.to_string()),
                ];
                let remote = if pod.node.name == node.name {
                    ""
                } else {
                    "remote"
                };
                tx.insert(
                    "Logical_Switch_Port",
                    Row::new()
                        .with("name", pod.name.as_str())
                        .with("type", remote)
                        .with("addresses", format!("{} {}", pod.mac(), pod.ip))
                        .with("options", Datum::map(options)),
                )
            })
            .collect();
        let config = [("interconn-ts", "blue"), ("requested-tnl-key", SWITCH_KEY)];
        tx.insert(
            "Logical_Switch",
            Row::new()
                .with("name", "blue")
                .with("ports", Datum::set(ports))
                .with("other_config", Datum::map(config)),
        );
        northbound(node).await?.transact(tx).await?;
    }
    Ok(())
}

async fn layer2(fabric: &Fabric, up: Duration) -> Outcome<Report> {
    introduce_chassis(fabric).await?;
    let nodes: Vec<Node> = fabric.nodes().cloned().collect();
    let mut pods = Vec::new();
    // The last shares a node with the first.
    for (number, node) in (1..).zip(nodes.iter().chain([&nodes[0]])) {
        pods.push(Pod::create(node, number).await?);
    }
    write_switch(fabric, &pods).await?;

    let started = Instant::now();
    let plugs = pods
        .iter()
        .map(|pod| async { fabric.plug(&pod.port()).await });
    let plugged = futures::future::try_join_all(plugs).await?;
    let plug = started.elapsed();
    for (pod, plugged) in pods.iter().zip(&plugged) {
        let expected = format!("{}_{}", &pod.port().sandbox[..13], plugged.ifindex);
        assert_eq!(plugged.host_ifname, expected[..expected.len().min(15)]);
    }
    check_interface(&pods[0], &plugged[0].host_ifname).await?;
    check_path(&pods[0].netns)?;

    let convergence = fabric.barrier().await?;
    assert_eq!(convergence.zones.len(), 3);
    // Whatever the first packet has to wait for, it must not be lost.
    let mut round_trips = Vec::new();
    for target in &pods[1..] {
        for _ in 0..5 {
            round_trips.push(ping(&pods[0].netns, target.ip).await??);
        }
    }
    let report = Report {
        up,
        memory: memory_of_daemons(),
        barrier: fabric.barrier().await?.took,
        plug,
        ping: round_trips,
        tcp_across: throughput(&pods[0], &pods[1]).await?,
        tcp_local: throughput(&pods[0], &pods[3]).await?,
    };

    // A port that cannot be: its name is taken in the pod.
    let error = fabric.plug(&pods[0].port()).await.unwrap_err();
    assert!(error.to_string().contains("File exists"), "{error}");

    // Gone is gone: from the database, from the node and from the pod.
    fabric
        .unplug(&pods[1].node.name, &plugged[1].host_ifname)
        .await?;
    fabric
        .unplug(&pods[1].node.name, &plugged[1].host_ifname)
        .await?;
    fabric
        .unplug_sandbox(&pods[2].node.name, &pods[2].port().sandbox)
        .await?;
    for pod in &pods[1..3] {
        let left = pod
            .netns
            .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
            .await??;
        assert!(!left.contains("net1"), "{left}");
        assert!(ping(&pods[0].netns, pod.ip).await?.is_err());
    }
    assert!(ping(&pods[0].netns, pods[3].ip).await?.is_ok());
    let unnamed = nodes[0]
        .netns
        .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
    assert!(!unnamed.await??.contains("unnamed"));
    Ok(report)
}

/// Other programs, such as the container runtime, enter by the path.
fn check_path(netns: &NetNs) -> Outcome<()> {
    let output = Command::new("nsenter")
        .arg(format!("--net={}", netns.path().display()))
        .args(["cat", "/proc/self/net/dev"])
        .output()?;
    let seen = String::from_utf8(output.stdout)?;
    assert!(seen.contains("net1:"), "{seen}{:?}", output.stderr);
    Ok(())
}

/// What upstream's CNI plugin writes.
async fn check_interface(pod: &Pod, ifname: &str) -> Outcome<()> {
    let vswitch = Client::connect(&pod.node.vswitch, "Open_vSwitch").await?;
    let mut tx = Transaction::new();
    let read = tx.select("Interface", Condition::eq("name", ifname), ["external_ids"]);
    let outcome = vswitch.transact(tx).await?;
    let (_, row) = &outcome.rows(read)[0];
    let ids: BTreeMap<String, String> = row
        .get("external_ids")
        .into_iter()
        .flat_map(Datum::pairs)
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .filter(|(key, _)| key != "ovn-installed-ts")
        .collect();
    let port = pod.port();
    let expected = [
        ("attached_mac", port.mac.to_string()),
        ("iface-id", port.iface_id),
        ("iface-id-ver", port.iface_id_ver),
        ("ip_addresses", "192.168.200.1/24".to_owned()),
        ("k8s.ovn.org/nad", "ns/blue".to_owned()),
        ("k8s.ovn.org/network", "blue".to_owned()),
        ("ovn-installed", "true".to_owned()),
        ("pod-if-name", "net1".to_owned()),
        ("sandbox", port.sandbox),
    ];
    let expected: BTreeMap<String, String> = expected.map(|(k, v)| (k.to_owned(), v)).into();
    assert_eq!(ids, expected);
    Ok(())
}

/// Sends one echo request and waits a second for the answer.
async fn ping(from: &NetNs, to: Ipv4Addr) -> Outcome<std::io::Result<Duration>> {
    let answered = from.run(move || -> std::io::Result<Duration> {
        let (inet, datagram) = (AddressFamily::Inet, SockType::Datagram);
        let fd: OwnedFd = socket(inet, datagram, SockFlag::empty(), SockProtocol::Icmp)?;
        let socket = UdpSocket::from(fd);
        socket.set_read_timeout(Some(Duration::from_millis(900)))?;
        let started = Instant::now();
        // Type 8, code 0; the kernel fills in checksum and identifier.
        socket.send_to(&[8, 0, 0, 0, 0, 0, 0, 1, b't'], (IpAddr::V4(to), 0))?;
        let mut buffer = [0; 64];
        let (_, from) = socket.recv_from(&mut buffer)?;
        assert_eq!((from.ip(), buffer[0]), (IpAddr::V4(to), 0));
        Ok(started.elapsed())
    });
    Ok(answered.await?)
}

const TCP_PORT: u16 = 5001;
const TCP_TIME: Duration = Duration::from_secs(1);

/// Mbit/s of one connection, counted by the receiver.
async fn throughput(from: &Pod, to: &Pod) -> Outcome<u64> {
    let address = (IpAddr::V4(to.ip), TCP_PORT);
    let listener = to.netns.run(move || TcpListener::bind(address)).await??;
    let receiving = tokio::task::spawn_blocking(move || -> std::io::Result<(u64, Duration)> {
        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0; 1 << 18];
        let (started, mut bytes) = (Instant::now(), 0);
        loop {
            match socket.read(&mut buffer)? {
                0 => return Ok((bytes, started.elapsed())),
                read => bytes += read as u64,
            }
        }
    });
    let sent = from.netns.run(move || -> std::io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        let (started, buffer) = (Instant::now(), vec![0; 1 << 18]);
        while started.elapsed() < TCP_TIME {
            socket.write_all(&buffer)?;
        }
        Ok(())
    });
    sent.await??;
    let (bytes, took) = receiving.await??;
    Ok(bytes * 8 / u64::try_from(took.as_micros())?)
}

fn memory_of_daemons() -> u64 {
    let processes = std::fs::read_dir("/proc").unwrap();
    let resident = |entry: std::fs::DirEntry| -> Option<u64> {
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let name = field("Name:")?.trim();
        let kib = field("VmRSS:")?.trim().strip_suffix(" kB")?;
        let counts = name.starts_with("ov");
        counts.then(|| kib.parse().ok()).flatten()
    };
    let kib: u64 = processes.filter_map(|entry| resident(entry.unwrap())).sum();
    kib / 1024
}

/// The rows of a node's own network: a pod switch, a gateway router, and the physical network behind it.
async fn write_gateway(node: &Node, pod: &Pod) -> Outcome<()> {
    let mut tx = Transaction::new();
    let mut port = |name: &str, kind: &str, addresses: String, options: &[(&str, &str)]| {
        tx.insert(
            "Logical_Switch_Port",
            Row::new()
                .with("name", name)
                .with("type", kind)
                .with("addresses", addresses)
                .with("options", Datum::map(options.iter().copied())),
        )
    };
    let inside = [
        port(&pod.name, "", format!("{} {}", pod.mac(), pod.ip), &[]),
        port(
            &format!("k8s-{}", node.name),
            "",
            "0a:58:c0:a8:c8:fd 192.168.200.253".into(),
            &[],
        ),
        port(
            "stor",
            "router",
            "router".into(),
            &[("router-port", "rtos")],
        ),
    ];
    let physical = [
        port(
            &format!("breth0_{}", node.name),
            "localnet",
            "unknown".into(),
            &[("network_name", "physnet")],
        ),
        port(
            "etor",
            "router",
            "router".into(),
            &[("router-port", "rtoe"), ("nat-addresses", "router")],
        ),
    ];
    for (name, ports) in [("inside", inside.to_vec()), ("ext", physical.to_vec())] {
        tx.insert(
            "Logical_Switch",
            Row::new()
                .with("name", name)
                .with("ports", Datum::set(ports)),
        );
    }
    let mut router_port = |name: &str, mac: String, network: String| {
        let row = Row::new()
            .with("name", name)
            .with("mac", mac)
            .with("networks", network);
        tx.insert("Logical_Router_Port", row)
    };
    let ports = [
        router_port(
            "rtos",
            "0a:58:c0:a8:c8:fe".into(),
            "192.168.200.254/24".into(),
        ),
        router_port("rtoe", node.mac.to_string(), node.ip.to_string()),
    ];
    let route = tx.insert(
        "Logical_Router_Static_Route",
        Row::new()
            .with("ip_prefix", "0.0.0.0/0")
            .with("nexthop", "172.18.0.1")
            .with("output_port", "rtoe"),
    );
    let snat = tx.insert(
        "NAT",
        Row::new()
            .with("type", "snat")
            .with("external_ip", node.ip.addr().to_string())
            .with("logical_ip", "192.168.200.0/24"),
    );
    tx.insert(
        "Logical_Router",
        Row::new()
            .with("name", "GR")
            .with("ports", Datum::set(ports))
            .with("static_routes", Datum::set([route]))
            .with("nat", Datum::set([snat]))
            .with(
                "options",
                Datum::map([("chassis", node.chassis.to_string())]),
            ),
    );
    northbound(node).await?.transact(tx).await?;
    Ok(())
}

async fn gateway(fabric: &Fabric) -> Outcome<()> {
    let nodes: Vec<&Node> = fabric.nodes().collect();
    let (node, neighbour) = (nodes[1], nodes[2]);
    let pod = Pod::create(node, 7).await?;
    write_gateway(node, &pod).await?;
    let gateway = NodeGateway {
        mgmt_mac: "0a:58:c0:a8:c8:fd".parse()?,
        mgmt_ip: "192.168.200.253/24".parse()?,
        mgmt_gateway: Ipv4Addr::new(192, 168, 200, 254),
        mtu: 1400,
        cluster_cidr: "192.168.0.0/16".parse()?,
        service_cidr: "10.96.0.0/16".parse()?,
        masquerade: "169.254.0.0/17".parse()?,
    };
    let port = Port {
        gateways: vec![gateway.mgmt_gateway.into()],
        routes: Vec::new(),
        external_ids: BTreeMap::new(),
        ifname: "eth0".to_owned(),
        ..pod.port()
    };
    let (set_up, plugged) = tokio::join!(
        fabric.node_gateway(&node.name, &gateway),
        fabric.plug(&port)
    );
    set_up?;
    assert_eq!(plugged?.host_ifname, port.sandbox[..15]);
    fabric.barrier().await?;

    let outside = Ipv4Addr::new(172, 18, 0, 1);
    let (own, other) = (node.ip.addr(), neighbour.ip.addr());
    // The pod gets out under the node's address; the node itself still does, and is reached.
    for (what, from, to) in [
        ("pod to outside", &pod.netns, outside),
        ("node to outside", &node.netns, outside),
        ("outside to node", fabric.outside(), own),
        ("pod to another node", &pod.netns, other),
        ("node to its pod", &node.netns, pod.ip),
        ("pod to its node", &pod.netns, gateway.mgmt_ip.addr()),
        ("node to node", &node.netns, other),
        ("node to node, back", &neighbour.netns, own),
    ] {
        ping(from, to)
            .await?
            .map_err(|error| format!("{what}: {error}"))?;
    }
    // What the outside sees of both at once: connections with one source address, told apart.
    let listener = fabric
        .outside()
        .run(move || TcpListener::bind((outside, TCP_PORT)))
        .await??;
    let served = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<IpAddr>> {
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (mut socket, peer) = listener.accept()?;
            socket.write_all(peer.port().to_string().as_bytes())?;
            peers.push(peer.ip());
        }
        Ok(peers)
    });
    for netns in [&pod.netns, &node.netns] {
        let said = netns.run(move || -> std::io::Result<String> {
            let mut socket = TcpStream::connect((outside, TCP_PORT))?;
            let mut said = String::new();
            socket.read_to_string(&mut said)?;
            Ok(said)
        });
        assert!(!said.await??.is_empty());
    }
    assert_eq!(served.await??, [IpAddr::V4(own), IpAddr::V4(own)]);
    Ok(())
}

/// A daemon of lab-worker2.
fn victim(program: &str) -> Outcome<Pid> {
    std::fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let args = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            args.starts_with(program) && args.contains("/lab-worker2/")
        })
        .map(Pid::from_raw)
        .ok_or_else(|| format!("no {program} of lab-worker2").into())
}

/// What ovn-controller does when it meets an error of its own: it aborts, and is started again.
async fn fall(fabric: &Fabric) -> Outcome<()> {
    fabric.barrier().await?;
    let fallen = victim("ovn-controller")?;
    kill(fallen, Signal::SIGABRT)?;
    let again = async {
        // Nothing tells of births.
        while victim("ovn-controller").map_or(true, |pid| pid == fallen) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fabric.barrier().await
    };
    tokio::select! {
        convergence = tokio::time::timeout(Duration::from_secs(30), again) => {
            assert_eq!(convergence??.zones.len(), 3);
            Ok(())
        }
        death = fabric.failure() => Err(death.to_string().into()),
    }
}

async fn death(fabric: &Fabric) -> Outcome<()> {
    let victim = victim("ovn-northd")?;
    let failing = fabric.failure();
    kill(victim, Signal::SIGKILL)?;
    let death = failing.await;
    assert_eq!(
        (death.daemon, death.node.as_str()),
        ("ovn-northd", "lab-worker2")
    );
    assert!(death.log.contains("ovn-northd lock acquired"), "{death}");
    match fabric.barrier().await {
        Err(Error::DaemonDied(same)) if same == death => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
