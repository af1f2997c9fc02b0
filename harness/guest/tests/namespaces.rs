//! The four ways of not getting through, from a network namespace with a router behind it.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use rstest::rstest;
use support::{AGENT, Agent};
use trunkline_guest::Octets;
use trunkline_guest::protocol::{
    Answer, Curl, Dns, Icmp, Lookup, Outcome, Ping, Probe, Reason, RecordType, Refusal, Stage, Tcp,
    Udp,
};

/// A host 10.0.0.2 whose only way out is a router 10.0.0.1, which has an opinion on every network
/// behind it. Everything lies in fresh namespaces and ends with the agent.
const NETWORK: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
ip link set lo up
ip netns add router
ip link add eth0 type veth peer name eth0 netns router
ip addr add 10.0.0.2/24 dev eth0
ip addr add fd00::2/64 dev eth0 nodad
ip link set eth0 up
ip route add default via 10.0.0.1
ip route add prohibit 10.9.0.0/16
ip route add unreachable 10.10.0.0/16
ip -n router link set lo up
ip -n router addr add 10.0.0.1/24 dev eth0
ip -n router addr add fd00::1/64 dev eth0 nodad
ip -n router link set eth0 up
ip netns exec router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/icmp_ratelimit'
ip -n router route add unreachable 10.1.0.0/16
ip -n router route add prohibit 10.2.0.0/16
ip -n router route add blackhole 10.3.0.0/16
ip neigh add 10.0.0.8 lladdr 02:00:00:00:00:08 dev eth0 nud permanent
mkdir /run/etc
echo 'nameserver 10.0.0.8
search svc.test
options ndots:2 timeout:1 attempts:1' > /run/etc/resolv.conf
echo '10.0.0.1 router gateway.test
10.3.0.1 hole' > /run/etc/hosts
mount --bind /run/etc/resolv.conf /etc/resolv.conf
mount --bind /run/etc/hosts /etc/hosts
exec "$0"
"#;

/// A namespace that has no route at all.
const LONELY: &str = r#"ip link set lo up; exec "$0""#;

/// Why the test cannot run here, else the agent in its network.
fn inside(network: &str) -> Result<Agent, String> {
    let mut check = Command::new("unshare");
    let output = check
        .args(["--map-root-user", "--net", "--mount", "ip", "link"])
        .output()
        .map_err(|error| format!("unshare and ip are needed: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("no namespaces here: {why}"));
    }
    let mut command = Command::new("unshare");
    command
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "--fork",
            "--kill-child",
        ])
        .args(["sh", "-c", network, AGENT]);
    Ok(Agent::from(command))
}

macro_rules! agent_inside {
    ($network:expr) => {
        match inside($network) {
            Ok(agent) => agent,
            Err(reason) => {
                println!("skipped: {reason}");
                return;
            }
        }
    };
}

fn tcp(host: &str) -> Probe {
    Probe::Tcp(Tcp {
        host: host.to_owned(),
        port: 81,
        timeout_ms: 700,
        send: None,
        expect: None,
        family: None,
    })
}

fn udp(host: &str) -> Probe {
    Probe::Udp(Udp {
        host: host.to_owned(),
        port: 81,
        timeout_ms: 700,
        send: Octets::from("x"),
        expect: None,
        family: None,
    })
}

fn ping(host: &str) -> Probe {
    Probe::Ping(Ping {
        count: 2,
        interval_ms: 50,
        timeout_ms: 700,
        ..Ping::new(host)
    })
}

fn curl(host: &str) -> Probe {
    Probe::Curl(Curl {
        timeout_ms: 700,
        ..Curl::get(format!("http://{host}:81/"))
    })
}

type MakeProbe = fn(&str) -> Probe;

const EVERY_VERB: [(&str, MakeProbe); 4] =
    [("tcp", tcp), ("udp", udp), ("ping", ping), ("curl", curl)];

// A router of its own each: it sends no more than five such messages in a row.
#[rstest]
#[case("10.1.0.1", Reason::Host, 1)]
#[case("10.2.0.1", Reason::Prohibited, 13)]
fn a_router_says_no_and_is_named(#[case] host: &str, #[case] reason: Reason, #[case] code: u8) {
    let mut agent = agent_inside!(NETWORK);
    for (verb, probe) in EVERY_VERB {
        match agent.ask(probe(host)) {
            Outcome::Unreachable(unreachable) => {
                assert_eq!(unreachable.reason, reason, "{verb}");
                let from = "10.0.0.1".parse().unwrap();
                let expected = Icmp {
                    from,
                    kind: 3,
                    code,
                };
                assert_eq!(unreachable.icmp, Some(expected), "{verb}");
            }
            other => panic!("{verb}: {other:?}"),
        }
    }
}

#[test]
fn silence_is_blocked_whoever_keeps_it() {
    let mut agent = agent_inside!(NETWORK);
    // A router that drops, and a neighbour that is not there but whose address is known.
    for host in ["10.3.0.1", "10.0.0.8", "hole"] {
        let probes = EVERY_VERB
            .iter()
            .map(|(verb, probe)| (*verb, probe(host)))
            .collect();
        for (verb, outcome) in agent.ask_all(probes) {
            match outcome {
                Outcome::Blocked(blocked) => {
                    let expected = match verb.as_str() {
                        "tcp" | "curl" => Stage::Connect,
                        _ => Stage::Response,
                    };
                    assert_eq!(blocked.stage, expected, "{verb} {host}");
                    assert!(blocked.after_ms >= 690.0, "{verb} {host}: {blocked:?}");
                    assert_eq!(blocked.sent, (verb == "ping").then_some(2));
                }
                other => panic!("{verb} {host}: {other:?}"),
            }
        }
    }
}

#[test]
fn this_machine_says_so_itself() {
    let mut agent = agent_inside!(NETWORK);
    for (host, reason) in [
        ("10.9.0.1", Reason::Prohibited),
        ("10.10.0.1", Reason::Host),
    ] {
        for (verb, outcome) in agent.ask_all(
            EVERY_VERB
                .iter()
                .map(|(verb, probe)| (*verb, probe(host)))
                .collect(),
        ) {
            match outcome {
                Outcome::Unreachable(unreachable) => {
                    assert_eq!(unreachable.reason, reason, "{verb} {host}");
                    assert_eq!(unreachable.icmp, None, "{verb} {host}");
                }
                other => panic!("{verb} {host}: {other:?}"),
            }
        }
    }
    let mut agent = agent_inside!(LONELY);
    for (verb, outcome) in agent.ask_all(
        EVERY_VERB
            .iter()
            .map(|(verb, probe)| (*verb, probe("192.0.2.1")))
            .collect(),
    ) {
        match outcome {
            Outcome::Unreachable(unreachable) => {
                assert_eq!(unreachable.reason, Reason::Network, "{verb}");
            }
            other => panic!("{verb}: {other:?}"),
        }
    }
}

#[test]
fn a_neighbour_that_does_not_answer_is_no_route_to_host() {
    let mut agent = agent_inside!(NETWORK);
    let patient = Probe::Tcp(Tcp {
        host: "10.0.0.77".to_owned(),
        port: 81,
        timeout_ms: 8_000,
        send: None,
        expect: None,
        family: None,
    });
    match agent.ask(patient) {
        Outcome::Unreachable(unreachable) => {
            assert_eq!(unreachable.reason, Reason::Host);
            // Our own kernel gave up on it.
            assert_eq!(
                unreachable.icmp.map(|icmp| icmp.from.to_string()),
                Some("10.0.0.2".to_owned())
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_neighbour_refuses_and_answers_pings() {
    let mut agent = agent_inside!(NETWORK);
    // IPv6 needs a moment after a link has come up.
    let until_it_is_there = Ping {
        count: 25,
        timeout_ms: 5_000,
        ..Ping::new("fd00::1")
    };
    assert!(matches!(
        agent.ask(Probe::Ping(until_it_is_there)),
        Outcome::Answered(_)
    ));
    for host in ["10.0.0.1", "router", "gateway.test", "fd00::1"] {
        match agent.ask(tcp(host)) {
            Outcome::Refused(refused) => assert_eq!(refused.how, Refusal::Connection, "{host}"),
            other => panic!("{host}: {other:?}"),
        }
        match agent.ask(udp(host)) {
            Outcome::Refused(refused) => {
                assert_eq!(refused.how, Refusal::Port, "{host}");
                assert_eq!(
                    refused.icmp.map(|icmp| icmp.from),
                    Some(refused.address),
                    "{host}"
                );
            }
            other => panic!("{host}: {other:?}"),
        }
        match agent.ask(ping(host)) {
            Outcome::Answered(Answer::Ping(answer)) => assert_eq!(answer.received, 2, "{host}"),
            other => panic!("{host}: {other:?}"),
        }
    }
}

#[test]
fn a_packet_may_be_too_big() {
    let mut agent = agent_inside!(NETWORK);
    let probe = Probe::Ping(Ping {
        size: 1_473,
        dont_fragment: true,
        ..Ping::new("10.0.0.1")
    });
    match agent.ask(probe) {
        Outcome::Unreachable(unreachable) => assert_eq!(unreachable.reason, Reason::TooBig),
        other => panic!("{other:?}"),
    }
    let probe = Probe::Ping(Ping {
        size: 1_472,
        dont_fragment: true,
        ..Ping::new("10.0.0.1")
    });
    assert!(matches!(agent.ask(probe), Outcome::Answered(_)));
}

#[test]
fn a_silent_name_server_leaves_names_unresolved() {
    let mut agent = agent_inside!(NETWORK);
    match agent.ask(curl("db")) {
        Outcome::Unresolved(unresolved) => {
            assert_eq!(
                (unresolved.name.as_str(), unresolved.why),
                ("db", Lookup::NoAnswer)
            );
            assert_eq!(unresolved.server, Some("10.0.0.8:53".parse().unwrap()));
        }
        other => panic!("{other:?}"),
    }
    let dns = Probe::Dns(Dns {
        name: "db".to_owned(),
        record_type: RecordType::A,
        server: None,
        timeout_ms: 700,
    });
    match agent.ask(dns) {
        Outcome::Blocked(blocked) => assert_eq!(blocked.stage, Stage::Resolve),
        other => panic!("{other:?}"),
    }
}
