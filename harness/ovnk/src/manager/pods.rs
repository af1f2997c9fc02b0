//! Addresses, MACs and tunnel keys of pods (`pkg/allocator/pod`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use trunkline_fabric::NodeName;

use crate::alloc::Subnets;
use crate::config::ClusterConfig;
use crate::events::{Happening, Severity, Source, Subject};
use crate::nad::{Network, Topology};
use crate::names::{DEFAULT_NETWORK, Key, mac_of};
use crate::selection::{self, Selected};
use crate::world::{Attachment, Node, Pod, PodNetworks, PodRoute, Role, World};

use super::Action;
use super::pool::{Pool, Refusal, choose_addresses, node_pool, random_mac, routes};

#[derive(Debug, Default)]
struct Given {
    node: Option<NodeName>,
    networks: PodNetworks,
    /// The name of each attachment's network.
    names: HashMap<String, String>,
    written: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pods {
    nodes: HashMap<NodeName, Subnets>,
    pools: HashMap<String, Pool>,
    given: HashMap<String, Given>,
    told: HashSet<(String, String)>,
}

impl Pods {
    pub(super) fn new() -> Pods {
        Pods::default()
    }

    pub(super) fn forget_write(&mut self, uid: &str) {
        if let Some(given) = self.given.get_mut(uid) {
            given.written = false;
        }
    }

    pub(super) fn reconcile(&mut self, world: &World) -> Vec<Action> {
        let networks = world.networks();
        self.follow_pools(world, &networks);
        self.release_gone(world);
        let mut pods: Vec<_> = world.running_pods().collect();
        // What pods have comes before what others want.
        for (_, pod, node) in &pods {
            self.adopt(&networks, pod, node);
        }
        pods.sort_by_key(|(_, pod, _)| pod.order);
        let mut actions = Vec::new();
        for (key, pod, node) in pods {
            let Some(node) = world.nodes.get(node) else {
                continue;
            };
            let mut pending = Pending {
                key,
                pod,
                zones: world.nodes.len(),
                problems: Vec::new(),
            };
            self.allocate(&world.config, &networks, node, &mut pending);
            let problems = std::mem::take(&mut pending.problems);
            actions.extend(self.complain(key, pod, problems));
            actions.extend(self.write(key, pod));
        }
        actions
    }

    fn follow_pools(&mut self, world: &World, networks: &BTreeMap<String, Network>) {
        self.nodes.retain(|name, _| world.nodes.contains_key(name));
        for (name, node) in &world.nodes {
            let pool = self.nodes.entry(name.clone());
            pool.or_insert_with(|| node_pool(&[node.subnet.into()]));
        }
        self.pools.retain(|name, pool| {
            networks
                .get(name)
                .is_some_and(|network| network.conf.is_compatible(&pool.conf))
        });
        for (name, network) in networks {
            let pool = self.pools.entry(name.clone());
            let pool = pool.or_insert_with(|| Pool::new(&network.conf));
            pool.follow(world.nodes.values().map(AsRef::as_ref));
        }
    }

    /// Deleted and completed pods give back what they have.
    fn release_gone(&mut self, world: &World) {
        let running: HashSet<&str> = world
            .running_pods()
            .map(|(_, pod, _)| pod.uid.as_str())
            .collect();
        let gone: Vec<String> = self
            .given
            .keys()
            .filter(|uid| !running.contains(uid.as_str()))
            .cloned()
            .collect();
        for uid in gone {
            let given = self.given.remove(&uid).unwrap_or_default();
            for (nad, attachment) in &given.networks {
                if nad == DEFAULT_NETWORK {
                    let pool = given.node.as_ref().and_then(|n| self.nodes.get_mut(n));
                    if let Some(pool) = pool {
                        pool.release(&attachment.addresses);
                    }
                } else if let Some(pool) = given.names.get(nad).and_then(|n| self.pools.get_mut(n))
                {
                    if pool.conf.has_ipam()
                        && let Some(subnets) = pool.of(given.node.as_ref())
                    {
                        subnets.release(&attachment.addresses);
                    }
                    pool.tunnel_ids.release(&(nad.clone(), uid.clone()));
                }
            }
            self.told.retain(|(other, _)| *other != uid);
        }
    }

    /// Takes over what an annotation says that we have not written ourselves.
    fn adopt(&mut self, networks: &BTreeMap<String, Network>, pod: &Pod, node: &NodeName) {
        let given = self.given.entry(pod.uid.clone()).or_insert_with(|| Given {
            node: Some(node.clone()),
            ..Given::default()
        });
        for (nad, attachment) in &pod.networks {
            if given.networks.contains_key(nad) {
                continue;
            }
            if nad == DEFAULT_NETWORK {
                let Some(pool) = self.nodes.get_mut(node) else {
                    continue;
                };
                if pool.reserve(&attachment.addresses).is_err() {
                    tracing::warn!(%nad, uid = pod.uid, "annotated address is another pod's too");
                }
            } else {
                let Some(network) = Key::parse(nad)
                    .and_then(|key| networks.values().find(|n| n.nads.contains(&key)))
                else {
                    continue;
                };
                let name = network.conf.name.clone();
                let Some(pool) = self.pools.get_mut(&name) else {
                    continue;
                };
                let has_ipam = pool.conf.has_ipam();
                let reserved = pool
                    .of(Some(node))
                    .map(|s| s.reserve(&attachment.addresses));
                if has_ipam && matches!(reserved, Some(Err(_))) {
                    tracing::warn!(%nad, uid = pod.uid, "annotated address is another pod's too");
                }
                if let Some(id) = attachment.tunnel_id {
                    pool.tunnel_ids.reserve((nad.clone(), pod.uid.clone()), id);
                }
                given.names.insert(nad.clone(), name);
            }
            given.networks.insert(nad.clone(), attachment.clone());
        }
    }

    fn allocate(
        &mut self,
        config: &ClusterConfig,
        networks: &BTreeMap<String, Network>,
        node: &Node,
        pending: &mut Pending<'_>,
    ) {
        let Some(selected) = pending.selection(!networks.is_empty()) else {
            return;
        };
        self.allocate_default(config, node, pending, &selected);
        for network in networks.values() {
            for selected in pending.on_network(network, &selected) {
                self.allocate_on(network, node, selected, pending);
            }
        }
    }

    fn allocate_default(
        &mut self,
        config: &ClusterConfig,
        node: &Node,
        pending: &mut Pending<'_>,
        selected: &[Selected],
    ) {
        let uid = &pending.pod.uid;
        let done = |given: &Given| given.networks.contains_key(DEFAULT_NETWORK);
        if self.given.get(uid).is_some_and(done) {
            return;
        }
        let Some(pool) = self.nodes.get_mut(&node.name) else {
            return;
        };
        let addresses = match pool.allocate() {
            Ok(addresses) => addresses,
            Err(error) => {
                let key = pending.key;
                let switch = &node.name;
                let message = format!(
                    "addLogicalPort failed for {key}: failed to update pod {key}: failed to assign pod addresses for \
                     default/{key}: failed to allocate new IPs for {switch}: {error}"
                );
                return pending.problem("ErrorAddingResource", 1, message);
            }
        };
        let gateway = IpAddr::V4(node.gateway());
        let routes = [
            config.cluster,
            config.services,
            config.hairpin().into(),
            config.join,
        ];
        // Another network that shall have the default route takes it from this one.
        let elsewhere = selected
            .iter()
            .any(|selected| selected.gateways.iter().any(IpAddr::is_ipv4));
        let attachment = Attachment {
            mac: mac_of(addresses[0].addr()),
            addresses,
            gateways: if elsewhere { Vec::new() } else { vec![gateway] },
            routes: routes
                .map(|dest| PodRoute {
                    dest: dest.into(),
                    next_hop: gateway,
                })
                .to_vec(),
            tunnel_id: None,
            role: Role::Primary,
        };
        self.give(uid, DEFAULT_NETWORK, None, attachment);
    }

    fn allocate_on(
        &mut self,
        network: &Network,
        node: &Node,
        selected: &Selected,
        pending: &mut Pending<'_>,
    ) {
        let uid = pending.pod.uid.clone();
        let nad = selected.nad.to_string();
        if self
            .given
            .get(&uid)
            .is_some_and(|given| given.networks.contains_key(&nad))
        {
            return;
        }
        let waits_for_share = network.conf.topology == Topology::Layer3
            && !node.shares.contains_key(&network.conf.name);
        if waits_for_share || network.conf.primary {
            return;
        }
        let Some(pool) = self.pools.get_mut(&network.conf.name) else {
            return;
        };
        let addresses = match choose_addresses(pool, node, selected, pending.key) {
            Ok(addresses) => addresses,
            Err(Refusal::Told(message)) => {
                return pending.problem("ErrorAllocatingPod", 1, message);
            }
            Err(Refusal::Logged(message)) => {
                if self.told.insert((uid, message.clone())) {
                    tracing::warn!("{message}");
                }
                return;
            }
        };
        let tunnel_id = if pool.conf.has_tunnel_ids() {
            let Some(id) = pool.tunnel_ids.allocate((nad.clone(), uid.clone())) else {
                if pool.conf.has_ipam()
                    && let Some(subnets) = pool.of(Some(&node.name))
                {
                    subnets.release(&addresses);
                }
                tracing::warn!(network = network.conf.name, "no tunnel key left");
                return;
            };
            Some(id)
        } else {
            None
        };
        let mac = selected
            .mac
            .or_else(|| addresses.first().map(|net| mac_of(net.addr())))
            .unwrap_or_else(random_mac);
        let attachment = Attachment {
            addresses,
            mac,
            gateways: selected.gateways.clone(),
            routes: routes(network, node),
            tunnel_id,
            role: Role::Secondary,
        };
        self.give(&uid, &nad, Some(&network.conf.name), attachment);
    }

    fn give(&mut self, uid: &str, nad: &str, network: Option<&str>, attachment: Attachment) {
        let given = self.given.entry(uid.to_owned()).or_default();
        given.networks.insert(nad.to_owned(), attachment);
        if let Some(network) = network {
            given.names.insert(nad.to_owned(), network.to_owned());
        }
        given.written = false;
    }

    fn write(&mut self, key: &Key, pod: &Pod) -> Option<Action> {
        let given = self.given.get_mut(&pod.uid)?;
        if given.networks == pod.networks {
            // Arrived. Should somebody change it, it will be written again.
            given.written = false;
            return None;
        }
        if given.networks.is_empty() || given.written {
            return None;
        }
        given.written = true;
        Some(Action::AnnotatePod {
            key: key.clone(),
            uid: pod.uid.clone(),
            networks: given.networks.clone(),
        })
    }

    fn complain(&mut self, key: &Key, pod: &Pod, problems: Vec<Problem>) -> Vec<Action> {
        let mut actions = Vec::new();
        for problem in problems {
            let once = format!("{} {}", problem.reason, problem.message);
            if !self.told.insert((pod.uid.clone(), once)) {
                continue;
            }
            for _ in 0..problem.times {
                let subject = Subject::Pod {
                    key: key.clone(),
                    uid: pod.uid.clone(),
                };
                let happening = Happening {
                    source: Source::ControlPlane,
                    severity: Severity::Warning,
                    reason: problem.reason,
                    message: problem.message.clone(),
                };
                actions.push(Action::Tell(subject, happening));
            }
        }
        actions
    }
}

struct Problem {
    reason: &'static str,
    /// How many controllers say so.
    times: usize,
    message: String,
}

/// A pod that wants something.
struct Pending<'a> {
    key: &'a Key,
    pod: &'a Pod,
    zones: usize,
    problems: Vec<Problem>,
}

impl Pending<'_> {
    fn problem(&mut self, reason: &'static str, times: usize, message: String) {
        self.problems.push(Problem {
            reason,
            times,
            message,
        });
    }

    /// The parsed selection. When it makes no sense, the controllers of all networks say so, and
    /// the pod gets nothing at all.
    fn selection(&mut self, has_networks: bool) -> Option<Vec<Selected>> {
        let text = self.pod.selection.as_deref().unwrap_or_default();
        if text.is_empty() {
            return Some(Vec::new());
        }
        let key = self.key;
        match selection::parse(text, &key.namespace) {
            Ok(selected) => Some(selected),
            Err(error) => {
                let message =
                    format!("failed to get all NetworkSelectionElements for pod {key}: {error}");
                let long = format!(
                    "addLogicalPort failed for {key}: error while getting network attachment definition for [{key}]: \
                     {message}"
                );
                self.problem("ErrorAddingResource", 1, long.clone());
                self.problem("ErrorUpdatingResource", 1, long);
                if has_networks {
                    self.refused(message);
                }
                None
            }
        }
    }

    /// The cluster manager and the controller of each zone say the same.
    fn refused(&mut self, message: String) {
        self.problem("ErrorAllocatingPod", 1, message.clone());
        self.problem("ErrorReconcilingPod", self.zones, message);
    }

    /// The selected NADs of a network; none if one of them is selected twice.
    fn on_network<'s>(&mut self, network: &Network, selected: &'s [Selected]) -> Vec<&'s Selected> {
        let mut on: Vec<&Selected> = Vec::new();
        for selected in selected {
            let nad = &selected.nad;
            if !network.nads.contains(nad) {
                continue;
            }
            if on.iter().any(|other| other.nad == *nad) {
                let key = self.key;
                self.refused(format!(
                    "unexpected error: more than one of the same NAD {nad} specified for pod {key}"
                ));
                return Vec::new();
            }
            on.push(selected);
        }
        on
    }
}
