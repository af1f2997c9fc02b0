//! What `ovs-appctl dpctl/dump-flows` prints: which flows drop a packet. Pure.

use std::net::IpAddr;

use super::microflow::Microflow;

/// The flows that dropped packets like this one, as printed.
pub(super) fn dropping(dump: &str, flow: &Microflow) -> Vec<String> {
    dump.lines()
        .map(str::trim)
        .filter(|line| line.ends_with("actions:drop"))
        .filter(|line| packets(line) > 0)
        .filter(|line| covers(line, "src", flow.src) && covers(line, "dst", flow.dst))
        // A flow that looks at neither address says nothing about this packet.
        .filter(|line| addresses(line, flow.dst).is_some())
        .map(str::to_owned)
        .collect()
}

fn packets(line: &str) -> u64 {
    let digits = line
        .split_once("packets:")
        .and_then(|(_, rest)| rest.split(',').next());
    digits
        .and_then(|digits| digits.trim().parse().ok())
        .unwrap_or(0)
}

/// What stands in `ipv4(…)` or `ipv6(…)`.
fn addresses(line: &str, family: IpAddr) -> Option<&str> {
    let key = if family.is_ipv4() { "ipv4(" } else { "ipv6(" };
    let (_, rest) = line.split_once(key)?;
    rest.split_once(')').map(|(inside, _)| inside)
}

/// Whether the flow's address, with its mask, is this one; a flow that does not look at it covers everything.
fn covers(line: &str, key: &str, address: IpAddr) -> bool {
    let Some(inside) = addresses(line, address) else {
        return false;
    };
    let mut fields = inside.split(',');
    let Some(value) = fields.find_map(|field| field.strip_prefix(key)?.strip_prefix('=')) else {
        return true;
    };
    let (wanted, mask) = value.split_once('/').unwrap_or((value, ""));
    let Ok(wanted) = wanted.parse::<IpAddr>() else {
        return false;
    };
    match (wanted, address) {
        (IpAddr::V4(wanted), IpAddr::V4(address)) => {
            let mask: u32 = mask
                .parse()
                .map_or(u32::MAX, |mask: std::net::Ipv4Addr| mask.into());
            u32::from(wanted) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(wanted), IpAddr::V6(address)) => {
            let mask: u128 = mask
                .parse()
                .map_or(u128::MAX, |mask: std::net::Ipv6Addr| mask.into());
            u128::from(wanted) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}
