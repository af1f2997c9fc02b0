//! Bringing one node up.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};

use crate::barrier::Counter;
use crate::daemon::{Daemons, Launch};
use crate::dbfile::Templates;
use crate::link::Hop;
use crate::node::SOCKET;
use crate::physical::{PhysicalNetwork, assign};
use crate::southbound::Southbound;
use crate::vswitch::{EXTERNAL, Vswitch};
use crate::{Error, NetNs, Node, NodeSpec, PhysicalSpec, Result, Zone, unixctl};

/// For a daemon to be there; takes tens of milliseconds.
pub(crate) const DAEMON_LIMIT: Duration = Duration::from_secs(20);

/// For a neighbour's answer; takes less than a millisecond.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
const DISCARD: u16 = 9;

/// Seconds for which Open vSwitch remembers a MAC that it does not need.
const LONGEST_AGING: &str = "3600";

pub(crate) const VSWITCHD_CONTROL: &str = "ovs-vswitchd.ctl";

/// Settings of a node's namespace.
const NODE: [(&str, &str); 2] = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];

/// What a node's interface receives is Open vSwitch's, but the userspace datapath only gets a copy of it. The
/// kernel's own copy must go nowhere: no route leads through the interface, so the strict filter drops everything.
const NIC_OF_NODE: [(&str, &str); 3] = [
    ("ipv4/conf/eth0/rp_filter", "1"),
    ("ipv4/conf/eth0/arp_ignore", "8"),
    ("ipv6/conf/eth0/disable_ipv6", "1"),
];

/// A switch that has just been configured may drop a packet; the kernel would wait a second before it asks again for
/// a neighbour. It still asks for a second in all.
const BRIDGE: [(&str, &str); 2] = [
    ("ipv4/neigh/breth0/retrans_time_ms", "50"),
    ("ipv4/neigh/breth0/mcast_solicit", "20"),
];

/// A node with its connections.
#[derive(Debug)]
pub(crate) struct RunningNode {
    pub(crate) node: Node,
    pub(crate) dir: PathBuf,
    pub(crate) vswitch: Vswitch,
    pub(crate) counter: Counter,
    pub(crate) southbound: Southbound,
}

/// What all nodes share while they start.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) physical: &'a PhysicalSpec,
    pub(crate) run_dir: &'a Path,
    pub(crate) templates: &'a Templates,
    pub(crate) daemons: &'a Daemons,
}

/// Starts a node's daemons in the order in which they need each other, and no earlier: each of them waits a second
/// before it tries again what it could not connect to.
pub(crate) async fn node(
    site: &Site<'_>,
    spec: &NodeSpec,
    network: impl Future<Output = Result<&PhysicalNetwork>>,
) -> Result<RunningNode> {
    let dir = site.run_dir.join(spec.name.as_str());
    fs::create_dir_all(&dir).map_err(Error::io(format!("make {}", dir.display())))?;
    let netns = NetNs::create().await?;
    let launcher = Launcher {
        site,
        spec,
        dir: &dir,
        netns: &netns,
    };
    let socket = dir.join(SOCKET);

    let wired = async {
        netns.set(&NODE).await?;
        network.await?.connect(&netns, spec.mac).await?;
        netns.set(&NIC_OF_NODE).await
    };
    let databases = async {
        launcher.databases().await?;
        let connected = async {
            tokio::try_join!(
                Counter::connect(&spec.name, &socket, DAEMON_LIMIT),
                Southbound::connect(&spec.name, &socket, DAEMON_LIMIT),
                Vswitch::connect(&spec.name, &socket, DAEMON_LIMIT),
            )
        };
        let (counter, southbound, vswitch) = site.daemons.guard(connected).await?;
        launcher.northd().await?;
        vswitch.configure(spec, &dir).await?;
        Ok((counter, southbound, vswitch))
    };
    let ((), (counter, southbound, vswitch)) = tokio::try_join!(wired, databases)?;
    launcher.vswitchd().await?;
    site.daemons.guard(vswitch.settled(DAEMON_LIMIT)).await?;
    // Connects to the bridge's management socket, which exists only now.
    launcher.controller().await?;
    address(&netns, spec, site.physical).await?;
    Ok(RunningNode {
        node: Node {
            name: spec.name.clone(),
            ip: spec.ip,
            mac: spec.mac,
            chassis: spec.chassis,
            netns,
            zone: Zone {
                nb: socket.clone(),
                sb: socket.clone(),
            },
            vswitch: socket,
        },
        dir,
        vswitch,
        counter,
        southbound,
    })
}

/// The node's own address is on its bridge, as its interface belongs to the bridge.
async fn address(netns: &NetNs, spec: &NodeSpec, physical: &PhysicalSpec) -> Result<()> {
    netns.set(&BRIDGE).await?;
    let links = netns.links().await?;
    links.up(EXTERNAL).await?;
    let index = assign(links, EXTERNAL, spec.ip.into()).await?;
    let default = IpNet::V4(Ipv4Net::default());
    links
        .add_route(index, default, &Hop::via(physical.gateway))
        .await
}

/// Tells every node's Open vSwitch the others' MACs, without which it would drop the first packet of every tunnel, and
/// proves that the nodes reach each other.
pub(crate) async fn introduce(nodes: &[RunningNode]) -> Result<()> {
    let pairs = nodes
        .iter()
        .flat_map(|from| nodes.iter().map(move |to| (from, &to.node)))
        .filter(|(from, to)| from.node.name != to.name);
    let meet = |(from, to): (_, _)| async move {
        tokio::try_join!(teach(from, to), greet(&from.node, to))
    };
    futures::future::try_join_all(pairs.map(meet)).await?;
    Ok(())
}

/// Open vSwitch could also learn it from an ARP reply, but it only looks at those for addresses that it had noticed
/// on its bridge before.
async fn teach(from: &RunningNode, to: &Node) -> Result<()> {
    let action = || Error::io(format!("tell {} the MAC of {}", from.node.name, to.name));
    let (ip, mac) = (to.ip.addr().to_string(), to.mac.to_string());
    let socket = from.dir.join(VSWITCHD_CONTROL);
    for (command, args) in [
        ("tnl/neigh/aging", &[LONGEST_AGING][..]),
        ("tnl/neigh/set", &[EXTERNAL, &ip, &mac]),
    ] {
        unixctl::call(&socket, command, args)
            .await
            .map_err(action())?;
    }
    Ok(())
}

/// A datagram to a port that nobody listens on: the other kernel's refusal is the answer. It is sent again when nothing
/// comes back, as a switch that has just been configured may drop one.
async fn greet(from: &Node, to: &Node) -> Result<()> {
    let (own, other) = (from.ip.addr(), to.ip.addr());
    let answered = from.netns.run(move || {
        let socket = UdpSocket::bind((own, 0))?;
        socket.connect((other, DISCARD))?;
        let deadline = Instant::now() + GREETING_LIMIT;
        let mut patience = Duration::from_millis(20);
        loop {
            socket.set_read_timeout(Some(patience))?;
            match socket.send(&[]).and_then(|_| socket.recv(&mut [])) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(io::Error::other("the discard port answered")),
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            patience *= 2;
        }
    });
    let action = format!(
        "reach {} from {} over the physical network",
        to.name, from.name
    );
    answered.await?.map_err(Error::io(action))
}

struct Launcher<'a> {
    site: &'a Site<'a>,
    spec: &'a NodeSpec,
    dir: &'a Path,
    netns: &'a NetNs,
}

impl Launcher<'_> {
    async fn launch(&self, program: &'static str, args: Vec<String>) -> Result<()> {
        let launch = Launch {
            node: self.spec.name.clone(),
            program,
            args,
            dir: self.dir.to_owned(),
            netns: self.netns.clone(),
            // All that these two know is in the databases.
            may_fall: matches!(program, "ovn-controller" | "ovn-northd"),
        };
        self.site.daemons.launch(launch).await
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn remote(&self) -> String {
        format!("unix:{}", self.file(SOCKET))
    }

    fn unixctl(&self, name: &str) -> String {
        format!("--unixctl={}", self.file(name))
    }

    /// One server for all three databases of the node.
    async fn databases(&self) -> Result<()> {
        let files = self.site.templates.write(self.dir)?;
        let mut args = vec![
            format!("--remote=p{}", self.remote()),
            self.unixctl("ovsdb-server.ctl"),
        ];
        args.extend(files.iter().map(|file| file.display().to_string()));
        self.launch("ovsdb-server", args).await
    }

    async fn northd(&self) -> Result<()> {
        let args = vec![
            format!("--ovnnb-db={}", self.remote()),
            format!("--ovnsb-db={}", self.remote()),
            self.unixctl("ovn-northd.ctl"),
        ];
        self.launch("ovn-northd", args).await
    }

    async fn vswitchd(&self) -> Result<()> {
        let args = vec![self.remote(), self.unixctl(VSWITCHD_CONTROL)];
        self.launch("ovs-vswitchd", args).await
    }

    async fn controller(&self) -> Result<()> {
        // Takes its options only before the database.
        let args = vec![self.unixctl("ovn-controller.ctl"), self.remote()];
        self.launch("ovn-controller", args).await
    }
}
