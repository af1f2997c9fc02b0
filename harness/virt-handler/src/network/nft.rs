//! The translation between a machine and its pod's address.
//!
//! By the program `nft`, in one transaction: no library that we may use speaks nf_tables itself, the others start the
//! program as well.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use trunkline_fabric::NetNs;

use super::NetworkError;
use super::plan::Nat;

/// The part of the rules that an address family has.
struct Family<'a> {
    /// As nft calls it.
    name: &'a str,
    loopback: &'a dyn Display,
    gateway: &'a dyn Display,
    guest: &'a dyn Display,
}

/// The rules of a masquerade binding, as a script for nft.
pub(super) fn rules(nat: &Nat, bridge: &str, pod_interface: &str) -> String {
    let mut script = String::new();
    if let Some(inside) = nat.v4 {
        let family = Family {
            name: "ip",
            loopback: &Ipv4Addr::LOCALHOST,
            gateway: &inside.gateway,
            guest: &inside.guest,
        };
        // Writing into a string does not fail.
        let _ = family.write(&mut script, nat, bridge, pod_interface);
    }
    if let Some(inside) = nat.v6 {
        let family = Family {
            name: "ip6",
            loopback: &Ipv6Addr::LOCALHOST,
            gateway: &inside.gateway,
            guest: &inside.guest,
        };
        let _ = family.write(&mut script, nat, bridge, pod_interface);
    }
    script
}

impl Family<'_> {
    fn write(&self, to: &mut String, nat: &Nat, bridge: &str, pod: &str) -> fmt::Result {
        let Self {
            name,
            loopback,
            gateway,
            guest,
        } = self;
        let mut inbound = String::new();
        let mut returning = String::new();
        let mut local = String::new();
        // A port says which protocol; without any, all traffic is the machine's.
        let matches: Vec<String> = if nat.ports.is_empty() {
            vec![String::new()]
        } else {
            let matched =
                |rule: &super::wanted::PortRule| format!("{} dport {} ", rule.protocol, rule.port);
            nat.ports.iter().map(matched).collect()
        };
        for matched in matches {
            writeln!(inbound, "    {matched}counter dnat to {guest}")?;
            writeln!(
                returning,
                "    {matched}{name} saddr {loopback} counter snat to {gateway}"
            )?;
            writeln!(
                local,
                "    {name} daddr {loopback} {matched}counter dnat to {guest}"
            )?;
        }
        write!(
            to,
            "table {name} nat {{
  chain prerouting {{
    type nat hook prerouting priority -100;
    iifname \"{pod}\" counter jump KUBEVIRT_PREINBOUND
  }}
  chain input {{
    type nat hook input priority 100;
  }}
  chain output {{
    type nat hook output priority -100;
{local}  }}
  chain postrouting {{
    type nat hook postrouting priority 100;
    {name} saddr {guest} counter masquerade
    oifname \"{bridge}\" counter jump KUBEVIRT_POSTINBOUND
  }}
  chain KUBEVIRT_PREINBOUND {{
{inbound}  }}
  chain KUBEVIRT_POSTINBOUND {{
{returning}  }}
}}
"
        )
    }
}

/// Has nft put rules in force inside a namespace.
pub(super) async fn apply(netns: &NetNs, nft: &[&str], script: String) -> Result<(), NetworkError> {
    let command: Vec<String> = nft.iter().map(ToString::to_string).collect();
    let program = command.first().cloned().unwrap_or_default();
    let ran = netns.run(move || run(&command, &script)).await?;
    let output = ran.map_err(|source| NetworkError::NftStart { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(NetworkError::Nft {
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn run(command: &[String], script: &str) -> io::Result<std::process::Output> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("no program named"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may stop reading at the first mistake; what it says then is the error.
        let _ = stdin.write_all(script.as_bytes());
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Inside;
    use super::super::wanted::PortRule;
    use super::*;

    fn nat(ports: &[(&str, i32)]) -> Nat {
        Nat {
            v4: Some(Inside {
                gateway: Ipv4Addr::new(10, 0, 2, 1),
                guest: Ipv4Addr::new(10, 0, 2, 2),
                prefix: 24,
            }),
            v6: None,
            ports: ports
                .iter()
                .map(|(protocol, port)| PortRule {
                    protocol: (*protocol).to_owned(),
                    port: *port,
                })
                .collect(),
        }
    }

    #[test]
    fn are_the_recorded_ones_for_one_port() {
        let script = rules(&nat(&[("tcp", 80)]), "k6t-eth0", "eth0");
        for line in [
            "iifname \"eth0\" counter jump KUBEVIRT_PREINBOUND",
            "ip daddr 127.0.0.1 tcp dport 80 counter dnat to 10.0.2.2",
            "ip saddr 10.0.2.2 counter masquerade",
            "oifname \"k6t-eth0\" counter jump KUBEVIRT_POSTINBOUND",
            "tcp dport 80 counter dnat to 10.0.2.2",
            "tcp dport 80 ip saddr 127.0.0.1 counter snat to 10.0.2.1",
        ] {
            let count = script.lines().filter(|l| l.trim() == line).count();
            assert_eq!(count, 1, "{line}\n{script}");
        }
        assert!(!script.contains("ip6"));
    }

    #[test]
    fn let_everything_in_without_ports_and_in_both_families() {
        let mut both = nat(&[]);
        both.v6 = Some(Inside {
            gateway: "fd10:0:2::1".parse().unwrap(),
            guest: "fd10:0:2::2".parse().unwrap(),
            prefix: 120,
        });
        let script = rules(&both, "k6t-eth0", "eth0");
        for line in [
            "counter dnat to 10.0.2.2",
            "ip saddr 127.0.0.1 counter snat to 10.0.2.1",
            "counter dnat to fd10:0:2::2",
            "ip6 daddr ::1 counter dnat to fd10:0:2::2",
            "ip6 saddr fd10:0:2::2 counter masquerade",
        ] {
            assert!(script.lines().any(|l| l.trim() == line), "{line}\n{script}");
        }
    }
}
