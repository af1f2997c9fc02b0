//! OpenFlow of breth0: how a node and its gateway router share one address and one MAC.
//!
//! The rules are OVN-Kubernetes' for shared gateway mode and one address family (its
//! `go-controller/pkg/node/bridgeconfig`): connections are committed with a mark that says who opened them, and
//! replies go to that one. What nobody opened goes to the node. Tunnel traffic bypasses all this.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::{Ingress, MacAddr};

/// Connections through the physical interface.
const ZONE: u16 = 64000;
/// Connections of the node to services, and of services to the node.
const HOST_MASQUERADE_ZONE: u16 = 64001;
const OVN_MASQUERADE_ZONE: u16 = 64002;
/// Who opened a connection.
const MARK_OVN: &str = "0x1";
const MARK_HOST: &str = "0x2";
const COOKIE: &str = "0xdeff105";
const GENEVE: u16 = 6081;

/// What the rules depend on.
#[derive(Debug, Clone)]
pub(crate) struct SharedGateway {
    /// OpenFlow numbers of the physical interface and of the patch port towards OVN.
    pub(crate) phys: i64,
    pub(crate) patch: i64,
    pub(crate) mac: MacAddr,
    pub(crate) node_ip: Ipv4Addr,
    pub(crate) node_net: Ipv4Net,
    pub(crate) service_cidr: Ipv4Net,
    pub(crate) masquerade: Masquerade,
}

/// Addresses that exist only between a node and its gateway router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masquerade {
    pub(crate) net: Ipv4Net,
    /// The gateway router, as the node sees it.
    pub(crate) ovn: Ipv4Addr,
    /// The node, as services see it.
    pub(crate) host: Ipv4Addr,
    /// A node's endpoint of a service that only has local ones.
    pub(crate) host_local: Ipv4Addr,
    /// The node's next hop towards services, which nobody has.
    pub(crate) next_hop: Ipv4Addr,
}

impl Masquerade {
    pub(crate) fn of(net: Ipv4Net) -> Self {
        let first = u32::from(net.network());
        let nth = |n: u32| Ipv4Addr::from(first.wrapping_add(n));
        Self {
            net,
            ovn: nth(1),
            host: nth(2),
            host_local: nth(3),
            next_hop: nth(4),
        }
    }
}

impl SharedGateway {
    /// All rules of the bridge, as `ovs-ofctl` reads them.
    pub(crate) fn rules(&self, ingress: &BTreeSet<Ingress>) -> Vec<String> {
        let rules = [
            self.services(),
            self.tunnels(),
            self.connections(),
            self.dispatch(),
            self.ingress(ingress),
        ]
        .concat();
        rules
            .into_iter()
            .map(|rule| format!("cookie={COOKIE},{rule}"))
            .collect()
    }

    /// Traffic between the node and services, which crosses the gateway router under masquerade addresses.
    fn services(&self) -> Vec<String> {
        let Self {
            patch,
            node_ip,
            service_cidr: services,
            ..
        } = self;
        let Masquerade { net, ovn, host, .. } = self.masquerade;
        let (host_zone, ovn_zone) = (HOST_MASQUERADE_ZONE, OVN_MASQUERADE_ZONE);
        vec![
            format!(
                "table=0,priority=500,in_port={patch},ip,nw_src={node_ip},nw_dst={host},actions=ct(commit,zone={host_zone},nat(dst={node_ip}),table=4)"
            ),
            format!(
                "table=0,priority=500,in_port=LOCAL,ip,nw_dst={ovn},actions=ct(zone={ovn_zone},nat,table=5)"
            ),
            format!(
                "table=0,priority=500,in_port=LOCAL,ip,nw_dst={services},actions=ct(commit,zone={host_zone},nat(src={host}),table=2)"
            ),
            format!(
                "table=0,priority=550,in_port=LOCAL,ip,nw_src={net},nw_dst={services},actions=ct(commit,zone={host_zone},table=2)"
            ),
            format!(
                "table=0,priority=500,in_port={patch},ip,nw_src={services},nw_dst={net},actions=ct(zone={host_zone},nat,table=3)"
            ),
            // A service that no load balancer has translated does not leave the cluster.
            format!("table=0,priority=115,in_port={patch},ip,nw_dst={services},actions=drop"),
        ]
    }

    fn tunnels(&self) -> Vec<String> {
        let Self { phys, mac, .. } = self;
        let geneve = format!("udp,udp_dst={GENEVE}");
        vec![
            format!(
                "table=0,priority=205,in_port={phys},dl_dst={mac},{geneve},actions=output:LOCAL"
            ),
            format!("table=0,priority=200,in_port={phys},{geneve},actions=NORMAL"),
            format!("table=0,priority=200,in_port=LOCAL,{geneve},actions=output:{phys}"),
        ]
    }

    fn connections(&self) -> Vec<String> {
        let Self {
            phys,
            patch,
            mac,
            node_net,
            ..
        } = self;
        let commit = |mark| format!("ct(commit,zone={ZONE},exec(set_field:{mark}->ct_mark))");
        let (from_ovn, from_host) = (commit(MARK_OVN), commit(MARK_HOST));
        let mut rules = vec![
            // Neighbours on the physical network may be on this very bridge.
            format!(
                "table=0,priority=102,in_port={patch},dl_src={mac},ip,nw_dst={node_net},actions={from_ovn},NORMAL"
            ),
            format!(
                "table=0,priority=102,in_port=LOCAL,dl_src={mac},ip,nw_dst={node_net},actions={from_host},NORMAL"
            ),
            format!(
                "table=0,priority=100,in_port={patch},dl_src={mac},ip,actions={from_ovn},output:{phys}"
            ),
            format!("table=0,priority=100,in_port=LOCAL,ip,actions={from_host},output:{phys}"),
            format!("table=0,priority=50,ip,dl_dst={mac},actions=ct(zone={ZONE},nat,table=1)"),
            // ARP and the like: both have this address.
            format!("table=0,priority=10,dl_dst={mac},actions=output:{patch},output:LOCAL"),
            format!("table=0,priority=10,in_port={patch},dl_src={mac},actions=NORMAL"),
            // OVN must not speak with any other address.
            format!("table=0,priority=9,in_port={patch},actions=drop"),
            "table=0,priority=0,actions=NORMAL".to_owned(),
        ];
        for state in ["+trk+est", "+trk+rel"] {
            for (mark, to) in [
                (MARK_OVN, patch.to_string()),
                (MARK_HOST, "LOCAL".to_owned()),
            ] {
                rules.push(format!(
                    "table=1,priority=100,ip,ct_state={state},ct_mark={mark},actions=output:{to}"
                ));
            }
        }
        rules.push(format!(
            "table=1,priority=10,dl_dst={mac},actions=output:LOCAL"
        ));
        rules.push("table=1,priority=0,actions=NORMAL".to_owned());
        rules
    }

    fn dispatch(&self) -> Vec<String> {
        let Self { patch, mac, .. } = self;
        let ovn = self.masquerade.ovn;
        vec![
            format!("table=2,priority=100,actions=set_field:{mac}->eth_dst,output:{patch}"),
            format!(
                "table=3,actions=move:NXM_OF_ETH_DST[]->NXM_OF_ETH_SRC[],set_field:{mac}->eth_dst,output:LOCAL"
            ),
            format!(
                "table=4,ip,actions=ct(commit,zone={OVN_MASQUERADE_ZONE},nat(src={ovn}),table=3)"
            ),
            format!("table=5,ip,actions=ct(commit,zone={HOST_MASQUERADE_ZONE},nat,table=2)"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> SharedGateway {
        SharedGateway {
            phys: 1,
            patch: 2,
            mac: MacAddr::new([0x02, 0x42, 172, 18, 0, 3]),
            node_ip: Ipv4Addr::new(172, 18, 0, 3),
            node_net: "172.18.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            masquerade: Masquerade::of("169.254.0.0/17".parse().unwrap()),
        }
    }

    #[test]
    fn masquerade_addresses_are_the_first_of_the_network() {
        let masquerade = gateway().masquerade;
        assert_eq!(masquerade.ovn.to_string(), "169.254.0.1");
        assert_eq!(masquerade.host.to_string(), "169.254.0.2");
        assert_eq!(masquerade.next_hop.to_string(), "169.254.0.4");
    }

    #[test]
    fn replies_go_to_who_opened_the_connection() {
        let rules = gateway().rules(&BTreeSet::new());
        let has = |rule: &str| {
            let full = format!("cookie=0xdeff105,{rule}");
            assert!(
                rules.contains(&full),
                "{full}\nnot in\n{}",
                rules.join("\n")
            );
        };
        has(
            "table=0,priority=100,in_port=LOCAL,ip,actions=ct(commit,zone=64000,exec(set_field:0x2->ct_mark)),output:1",
        );
        has(
            "table=0,priority=100,in_port=2,dl_src=02:42:ac:12:00:03,ip,actions=ct(commit,zone=64000,exec(set_field:0x1->ct_mark)),output:1",
        );
        has("table=1,priority=100,ip,ct_state=+trk+est,ct_mark=0x1,actions=output:2");
        has("table=1,priority=100,ip,ct_state=+trk+est,ct_mark=0x2,actions=output:LOCAL");
        has("table=0,priority=10,dl_dst=02:42:ac:12:00:03,actions=output:2,output:LOCAL");
    }

    #[test]
    fn what_is_for_services_goes_to_ovn_and_comes_back() {
        use crate::Transport::{Tcp, Udp};

        let ingress = |transport, address, port| Ingress {
            transport,
            address,
            port,
        };
        let external = Some(Ipv4Addr::new(192, 0, 2, 7));
        let wanted = BTreeSet::from([ingress(Tcp, None, 30080), ingress(Udp, external, 53)]);
        let all = gateway().rules(&wanted);
        let without = gateway().rules(&BTreeSet::new());
        let more: Vec<_> = all.iter().filter(|rule| !without.contains(rule)).collect();
        assert_eq!(
            more,
            [
                "cookie=0xdeff105,table=0,priority=110,in_port=1,tcp,tp_dst=30080,actions=output:2",
                "cookie=0xdeff105,table=0,priority=110,in_port=2,dl_src=02:42:ac:12:00:03,tcp,tp_src=30080,actions=output:1",
                "cookie=0xdeff105,table=0,priority=110,in_port=1,udp,nw_dst=192.0.2.7,tp_dst=53,actions=output:2",
                "cookie=0xdeff105,table=0,priority=110,in_port=2,dl_src=02:42:ac:12:00:03,udp,nw_src=192.0.2.7,tp_src=53,actions=output:1",
            ]
        );
    }

    #[test]
    fn nothing_is_committed_before_the_tunnels_are_matched() {
        let priority = |rule: &String| -> u32 {
            let (_, rest) = rule.split_once("priority=").unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        };
        let rules = gateway().rules(&BTreeSet::new());
        let (tunnels, commits): (Vec<_>, Vec<_>) = rules
            .iter()
            .filter(|rule| rule.contains("udp_dst=6081") || rule.contains("ct(commit,zone=64000"))
            .partition(|rule| rule.contains("udp_dst=6081"));
        let lowest = tunnels.into_iter().map(priority).min();
        assert!(lowest > commits.into_iter().map(priority).max());
    }
}
