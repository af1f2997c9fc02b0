//! Lists of subnets as configurations write them.

use ipnet::IpNet;

/// What a node gets of a layer 3 network that does not say.
const DEFAULT_SHARE_V4: u8 = 24;
const DEFAULT_SHARE_V6: u8 = 64;

/// A network's subnets, and of layer 3 networks the length of each node's share of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subnets {
    pub(super) nets: Vec<IpNet>,
    pub(super) shares: Vec<u8>,
}

/// Reads `a.b.c.d/n, …`; the error is in Go's words, which users know.
pub(super) fn parse(text: &str) -> Result<Vec<IpNet>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(str::trim).map(cidr).collect()
}

/// Reads the subnets of a network. Only layer 3 networks are shared out among the nodes.
pub(super) fn parse_network(text: &str, shared: bool) -> Result<Subnets, String> {
    let mut subnets = Subnets::default();
    if text.trim().is_empty() {
        return Ok(subnets);
    }
    let mut share_v4 = None;
    for entry in text.split(',').map(str::trim) {
        let parts: Vec<_> = entry.split('/').collect();
        let malformed = || format!("CIDR {entry:?} not properly formatted");
        let (net, share) = match parts.as_slice() {
            [address, length] => (cidr(&format!("{address}/{length}"))?, None),
            [address, length, share] if shared => {
                (cidr(&format!("{address}/{length}"))?, Some(*share))
            }
            _ => return Err(malformed()),
        };
        if shared {
            let share = share_of(&net, share)?;
            if net.addr().is_ipv4() {
                let first = *share_v4.get_or_insert(share);
                if first != share {
                    return Err(format!(
                        "all IPv4 cluster subnet entries must have the same host subnet length; found {first} and \
                         {share}"
                    ));
                }
            }
            subnets.shares.push(share);
        }
        subnets.nets.push(net);
    }
    Ok(subnets)
}

fn share_of(net: &IpNet, text: Option<&str>) -> Result<u8, String> {
    let v4 = net.addr().is_ipv4();
    let default = if v4 {
        DEFAULT_SHARE_V4
    } else {
        DEFAULT_SHARE_V6
    };
    let share = match text {
        None => default,
        Some(text) => text
            .parse()
            .map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))?,
    };
    if !v4 && share != DEFAULT_SHARE_V6 {
        return Err("IPv6 only supports /64 host subnets".to_owned());
    }
    if v4 && share > 32 {
        return Err("invalid host subnet, IPv4 subnet must be < 32".to_owned());
    }
    if share <= net.prefix_len() {
        return Err(format!(
            "cannot use a host subnet length mask shorter than or equal to the cluster subnet mask. host subnet \
             length: {share}, cluster subnet length: {}",
            net.prefix_len()
        ));
    }
    Ok(share)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_or_usual() {
        let subnets = parse_network("10.128.0.0/16/26, fd00:1::/48", true).unwrap();
        assert_eq!(subnets.shares, [26, 64]);
        assert_eq!(parse_network("10.128.0.0/16", true).unwrap().shares, [24]);
        assert!(
            parse_network("10.1.0.0/16", false)
                .unwrap()
                .shares
                .is_empty()
        );
        assert!(parse_network("10.128.0.0/16/24", false).is_err());
    }

    #[test]
    fn shares_must_fit() {
        for (text, expected) in [
            ("10.128.0.0/16/16", "shorter than or equal to"),
            ("10.128.0.0/24", "shorter than or equal to"),
            ("10.128.0.0/16/33", "must be < 32"),
            ("fd00:1::/48/80", "only supports /64"),
            (
                "10.1.0.0/16/24,10.2.0.0/16/25",
                "the same host subnet length; found 24 and 25",
            ),
            ("10.128.0.0/16/x", "invalid syntax"),
            ("10.128.0.0", "not properly formatted"),
        ] {
            let error = parse_network(text, true).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
