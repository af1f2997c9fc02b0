//! Lists of subnets as configurations write them.

use ipnet::IpNet;

/// Reads `a.b.c.d/n, …`; the error is in Go's words, which users know.
pub(super) fn parse(text: &str) -> Result<Vec<IpNet>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(str::trim).map(cidr).collect()
}

/// Reads the subnets of a network. Only layer 3 networks say how large each node's share is.
pub(super) fn parse_network(text: &str, host_lengths: bool) -> Result<Vec<IpNet>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(str::trim)
        .map(|entry| {
            let parts: Vec<_> = entry.split('/').collect();
            match parts.as_slice() {
                [address, length] => cidr(&format!("{address}/{length}")),
                [address, length, _] if host_lengths => cidr(&format!("{address}/{length}")),
                _ => Err(format!("CIDR {entry:?} not properly formatted")),
            }
        })
        .collect()
}

fn cidr(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map(|net| net.trunc())
        .map_err(|_| format!("invalid CIDR address: {text}"))
}

/// Whether the two share an address.
pub(super) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}
