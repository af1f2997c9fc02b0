//! The guest's network.

mod config;
mod dhcp;
mod formats;
mod netlink;
mod order;
mod resolv;
mod socket;
pub mod uevent;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use self::config::Interface;
use self::dhcp::{Client, Event, Lease, Sockets};
use self::netlink::{Link, LinkChange, Message, Origin, Route};
use self::resolv::Resolver;
use self::socket::Kernel;
use crate::{environment, log};

pub use self::config::Network as Config;
pub use self::formats::parse;

/// As NetworkManager counts: the first Ethernet connection has this, the next one more.
const FIRST_METRIC: u32 = 100;

#[derive(Debug)]
pub struct Network {
    kernel: Kernel,
    config: Config,
    ports: BTreeMap<u32, Port>,
    written: Option<String>,
    /// Nothing but a lease says what this machine is called.
    nameless: bool,
}

#[derive(Debug)]
struct Port {
    link: Link,
    settings: Interface,
    metric: u32,
    dhcp: Option<(Client, Sockets)>,
}

impl Network {
    /// The loopback, which needs nobody's configuration.
    pub fn open() -> io::Result<Self> {
        let network = Self {
            kernel: Kernel::open()?,
            config: Config::default(),
            ports: BTreeMap::new(),
            written: None,
            nameless: false,
        };
        network.change(
            1,
            "the loopback up",
            &LinkChange {
                up: Some(true),
                ..LinkChange::default()
            },
        );
        Ok(network)
    }

    fn change(&self, index: u32, what: &str, change: &LinkChange) {
        if let Err(error) = self.kernel.request(&netlink::set_link(index, change)) {
            log::error(&format!("network: {what}: {error}"));
        }
    }

    /// How many interfaces there are besides the loopback.
    pub fn count(&self) -> usize {
        let links = self.kernel.links().unwrap_or_default();
        links.iter().filter(|link| !link.loopback).count()
    }

    /// Configures what is there, and from now on what comes.
    pub fn start(&mut self, config: Config, nameless: bool, now: Instant) {
        self.config = config;
        self.nameless = nameless;
        // What has happened so far is in the list.
        let _known = self.kernel.news();
        let mut links = self.kernel.links().unwrap_or_default();
        self.put_in_order(&mut links);
        let mut wanted: Vec<(Link, Interface)> = links
            .into_iter()
            .filter_map(|link| self.settings(&link).map(|settings| (link, settings)))
            .collect();
        self.rename(&mut wanted);
        for (link, settings) in wanted {
            self.add(link, settings, now);
        }
        self.tick(now);
        self.write_resolver();
    }

    /// What is to become of an interface: what the configuration says or, for one that is not a
    /// creature of software, what NetworkManager would do.
    fn settings(&self, link: &Link) -> Option<Interface> {
        if link.loopback {
            return None;
        }
        self.config.of(link).or_else(|| {
            let device = format!("/sys/class/net/{}/device", link.name);
            let hardware = std::fs::exists(device).unwrap_or(false);
            hardware.then(Interface::automatic)
        })
    }

    /// Gives interfaces the names they are to have, also where they swap.
    fn rename(&self, wanted: &mut [(Link, Interface)]) {
        let (mut links, targets): (Vec<&mut Link>, Vec<Option<String>>) = wanted
            .iter_mut()
            .map(|(link, settings)| (link, settings.set_name.clone()))
            .unzip();
        self.rename_all(&mut links, targets);
    }

    /// Cards plugged in together get their names in whatever order the kernel finds them; as on
    /// a machine that was switched on, they are to follow the cards' places.
    fn put_in_order(&self, links: &mut [Link]) {
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let targets = order::names(&names, order::place);
        let mut links: Vec<&mut Link> = links.iter_mut().collect();
        self.rename_all(&mut links, targets);
    }

    fn rename_all(&self, links: &mut [&mut Link], targets: Vec<Option<String>>) {
        let targets: Vec<Option<String>> = targets
            .into_iter()
            .zip(links.iter())
            .map(|(target, link)| target.filter(|target| *target != link.name))
            .collect();
        for link in links.iter_mut() {
            if targets.iter().flatten().any(|target| *target == link.name) {
                self.rename_one(link, format!("rename{}", link.index));
            }
        }
        for (link, target) in links.iter_mut().zip(targets) {
            if let Some(target) = target {
                self.rename_one(link, target);
            }
        }
    }

    fn rename_one(&self, link: &mut Link, name: String) {
        let change = LinkChange {
            name: Some(name.clone()),
            ..LinkChange::default()
        };
        match self.kernel.request(&netlink::set_link(link.index, &change)) {
            Ok(()) => link.name = name,
            Err(error) => log::error(&format!(
                "network: {} cannot be renamed to {name}: {error}",
                link.name
            )),
        }
    }

    fn add(&mut self, link: Link, settings: Interface, now: Instant) {
        let index = link.index;
        if let Some(accept) = settings.accept_ra {
            let value = if accept { "2" } else { "0" };
            let path = format!("/proc/sys/net/ipv6/conf/{}/accept_ra", link.name);
            if let Err(error) = std::fs::write(path, value) {
                log::error(&format!(
                    "network: {}: router advertisements: {error}",
                    link.name
                ));
            }
        }
        self.change(
            index,
            &link.name,
            &LinkChange {
                up: Some(true),
                mtu: settings.mtu,
                mac: settings.mac,
                ..LinkChange::default()
            },
        );
        let mac = settings.mac.unwrap_or(link.mac);
        let dhcp = settings
            .dhcp4
            .and_then(|_| match Sockets::open(index, &link.name) {
                Ok(sockets) => Some((Client::new(mac, own_name(), random(), now), sockets)),
                Err(error) => {
                    log::error(&format!("network: {}: no DHCP: {error}", link.name));
                    None
                }
            });
        let taken = u32::try_from(self.ports.len()).unwrap_or_default();
        let metric = settings
            .dhcp4
            .and_then(|dhcp| dhcp.metric)
            .unwrap_or(FIRST_METRIC + taken);
        for (address, length) in &settings.addresses {
            let message = netlink::add_address(index, *address, *length, None);
            if let Err(error) = self.kernel.request(&message) {
                log::error(&format!(
                    "network: {}: {address}/{length}: {error}",
                    link.name
                ));
            }
        }
        for route in &settings.routes {
            self.add_route(&link, route, metric, Origin::Static, None);
        }
        self.ports.insert(
            index,
            Port {
                link,
                settings,
                metric,
                dhcp,
            },
        );
    }

    /// A gateway outside the interface's networks is taken to be on the link.
    fn add_route(
        &self,
        link: &Link,
        route: &Route,
        metric: u32,
        origin: Origin,
        source: Option<IpAddr>,
    ) {
        let mut route = with_metric(route, metric);
        let mut result = self
            .kernel
            .request(&netlink::add_route(link.index, &route, origin, source));
        if result.is_err() && !route.on_link {
            route.on_link = true;
            result = self
                .kernel
                .request(&netlink::add_route(link.index, &route, origin, source));
        }
        if let Err(error) = result {
            let (to, length) = route.destination;
            log::error(&format!(
                "network: {}: route to {to}/{length}: {error}",
                link.name
            ));
        }
    }

    /// Interfaces came, went, or changed.
    pub fn on_news(&mut self, now: Instant) {
        for message in self.kernel.news() {
            match message {
                Message::Link(link) => {
                    if let Some(port) = self.ports.get_mut(&link.index) {
                        let is_back = link.carrier && !port.link.carrier;
                        port.link = link;
                        if let (true, Some((client, _))) = (is_back, &mut port.dhcp) {
                            client.link_is_back(now);
                        }
                    } else if let Some(settings) = self.settings(&link) {
                        let mut one = [(link, settings)];
                        self.rename(&mut one);
                        let [(link, settings)] = one;
                        self.add(link, settings, now);
                    }
                }
                Message::Gone(index) => {
                    self.ports.remove(&index);
                    self.write_resolver();
                }
                _ => {}
            }
        }
        self.tick(now);
    }

    pub fn news_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }

    pub fn forget_news(&self) {
        let _forgotten = self.kernel.news();
    }

    pub fn dhcp_fds(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.ports.iter().filter_map(|(index, port)| {
            let (_, sockets) = port.dhcp.as_ref()?;
            Some((*index, sockets.as_fd()))
        })
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.ports
            .values()
            .filter(|port| port.link.carrier)
            .filter_map(|port| port.dhcp.as_ref()?.0.deadline())
            .min()
    }

    /// Whether every interface that waits for a lease and has a link has one.
    pub fn is_settled(&self) -> bool {
        self.ports
            .values()
            .filter(|port| port.link.carrier)
            .all(|port| {
                port.dhcp
                    .as_ref()
                    .is_none_or(|(client, _)| client.is_bound())
            })
    }

    pub fn tick(&mut self, now: Instant) {
        let indexes: Vec<u32> = self.ports.keys().copied().collect();
        for index in indexes {
            let events = match self.ports.get_mut(&index) {
                Some(Port {
                    dhcp: Some((client, _)),
                    link,
                    ..
                }) if link.carrier => client.tick(now),
                _ => Vec::new(),
            };
            self.act(index, events);
        }
    }

    /// Something came to an interface's client.
    pub fn on_dhcp(&mut self, index: u32, now: Instant) {
        loop {
            let events = match self.ports.get_mut(&index) {
                Some(Port {
                    dhcp: Some((client, sockets)),
                    ..
                }) => match sockets.receive() {
                    Some(message) => client.receive(&message, now),
                    None => return,
                },
                _ => return,
            };
            self.act(index, events);
        }
    }

    fn act(&mut self, index: u32, events: Vec<Event>) {
        for event in events {
            let Some(port) = self.ports.get_mut(&index) else {
                return;
            };
            let Some((client, sockets)) = &mut port.dhcp else {
                return;
            };
            let sent = match event {
                Event::Broadcast { from, message } => sockets.broadcast(from, &message),
                Event::Unicast { to, message } => {
                    let from = client
                        .lease()
                        .map_or(Ipv4Addr::UNSPECIFIED, |lease| lease.address);
                    sockets.unicast(from, to, &message)
                }
                Event::Bound(lease) => {
                    self.bind(index, &lease);
                    Ok(())
                }
                Event::Lost(lease) => {
                    self.release(index, &lease);
                    Ok(())
                }
            };
            if let Err(error) = sent {
                log::info(&format!("network: a DHCP message was not sent: {error}"));
            }
        }
    }

    fn bind(&mut self, index: u32, lease: &Lease) {
        let Some(port) = self.ports.get(&index) else {
            return;
        };
        let link = &port.link;
        let wants = port.settings.dhcp4.unwrap_or_default();
        let address = IpAddr::V4(lease.address);
        let message = netlink::add_address(index, address, lease.prefix, lease.seconds);
        if let Err(error) = self.kernel.request(&message) {
            log::error(&format!("network: {}: {address}: {error}", link.name));
        }
        if let (true, None, Some(mtu)) = (wants.mtu, port.settings.mtu, lease.mtu)
            && mtu != link.mtu
        {
            self.change(
                index,
                &link.name,
                &LinkChange {
                    mtu: Some(mtu),
                    ..LinkChange::default()
                },
            );
        }
        if wants.routes {
            for route in &lease.routes {
                self.add_route(link, route, port.metric, Origin::Dhcp, Some(address));
            }
        }
        let seconds = lease
            .seconds
            .map_or_else(|| "ever".to_owned(), |seconds| format!("{seconds} s"));
        log::info(&format!(
            "network: {}: {address}/{} from {} for {seconds}",
            link.name, lease.prefix, lease.server
        ));
        if let (true, true, Some(name)) = (self.nameless, wants.hostname, &lease.host_name) {
            self.nameless = false;
            if let Err(error) = environment::set_host_name(name) {
                log::error(&format!("network: the host name {name}: {error}"));
            }
        }
        self.write_resolver();
    }

    fn release(&mut self, index: u32, lease: &Lease) {
        let Some(port) = self.ports.get(&index) else {
            return;
        };
        for route in &lease.routes {
            let route = with_metric(route, port.metric);
            let _gone = self
                .kernel
                .request(&netlink::remove_route(index, &route, Origin::Dhcp));
        }
        let address = IpAddr::V4(lease.address);
        let _gone = self
            .kernel
            .request(&netlink::remove_address(index, address, lease.prefix));
        log::info(&format!(
            "network: {}: {address} is given up",
            port.link.name
        ));
        self.write_resolver();
    }

    fn write_resolver(&mut self) {
        let mut resolver = Resolver::default();
        resolver.add(&self.config.dns, &self.config.search);
        for port in self.ports.values() {
            resolver.add(&port.settings.dns, &port.settings.search);
            let lease = port.dhcp.as_ref().and_then(|(client, _)| client.lease());
            if let (Some(lease), true) = (lease, port.settings.dhcp4.is_some_and(|dhcp| dhcp.dns)) {
                resolver.add(&lease.dns, &lease.search);
            }
        }
        let text = resolver.text();
        if self.written.as_ref() == Some(&text) {
            return;
        }
        if let Err(error) = std::fs::write("/etc/resolv.conf", &text) {
            log::error(&format!("network: /etc/resolv.conf: {error}"));
        }
        self.written = Some(text);
    }
}

/// Default routes of several interfaces need an order.
fn with_metric(route: &Route, metric: u32) -> Route {
    let mut route = route.clone();
    if route.metric.is_none() && route.destination.1 == 0 {
        route.metric = Some(metric);
    }
    route
}

fn own_name() -> Option<String> {
    let name = environment::host_name();
    (name != "localhost").then_some(name)
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // A predictable number only means that a stranger on the link could answer, which it can.
    let _best_effort = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    u32::from_ne_bytes(bytes)
}
