//! What the words mean in which programs say that they did not get through. They are the C library's, and the same in
//! every program.

use std::net::{IpAddr, Ipv4Addr};

use trunkline_guest::protocol::{
    Lookup, Outcome, Reason, Refusal, Refused, Unreachable, Unresolved,
};

/// A way of not getting through, without its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Refused,
    Unreachable(Reason),
    Unresolved(Lookup),
    /// The kernel gave up waiting.
    Silent,
}

const WORDS: &[(&str, Miss)] = &[
    ("connection refused", Miss::Refused),
    ("no route to host", Miss::Unreachable(Reason::Host)),
    ("host is unreachable", Miss::Unreachable(Reason::Host)),
    ("network is unreachable", Miss::Unreachable(Reason::Network)),
    ("network unreachable", Miss::Unreachable(Reason::Network)),
    ("permission denied", Miss::Unreachable(Reason::Prohibited)),
    (
        "protocol not available",
        Miss::Unreachable(Reason::Protocol),
    ),
    ("message too long", Miss::Unreachable(Reason::TooBig)),
    ("connection timed out", Miss::Silent),
    ("operation timed out", Miss::Silent),
    (
        "name or service not known",
        Miss::Unresolved(Lookup::NoSuchName),
    ),
    (
        "name does not resolve",
        Miss::Unresolved(Lookup::NoSuchName),
    ),
    ("could not resolve", Miss::Unresolved(Lookup::NoSuchName)),
    ("bad address", Miss::Unresolved(Lookup::NoSuchName)),
    ("unknown host", Miss::Unresolved(Lookup::NoSuchName)),
    ("no address associated", Miss::Unresolved(Lookup::NoRecord)),
    (
        "address family for hostname not supported",
        Miss::Unresolved(Lookup::NoRecord),
    ),
    // What the C library says of a server that does not answer.
    (
        "temporary failure in name resolution",
        Miss::Unresolved(Lookup::NoAnswer),
    ),
    ("try again", Miss::Unresolved(Lookup::NoAnswer)),
];

/// The last of these words in a text: of several addresses the last one tried decides.
pub(super) fn miss(text: &str) -> Option<Miss> {
    let text = text.to_lowercase();
    WORDS
        .iter()
        .filter_map(|(words, miss)| text.rfind(words).map(|at| (at, *miss)))
        .max_by_key(|(at, _)| *at)
        .map(|(_, miss)| miss)
}

impl Miss {
    /// As an outcome; silence depends on the verb and has none.
    pub fn outcome(self, host: &str, text: &str) -> Option<Outcome> {
        let address = address(host, text);
        Some(match self {
            Self::Refused => Outcome::Refused(Refused {
                how: Refusal::Connection,
                address,
                icmp: None,
            }),
            Self::Unreachable(reason) => Outcome::Unreachable(Unreachable {
                reason,
                address,
                icmp: None,
            }),
            Self::Unresolved(why) => Outcome::Unresolved(Unresolved {
                name: host.to_owned(),
                why,
                server: None,
            }),
            Self::Silent => return None,
        })
    }
}

/// The address meant by `host`: itself, or the last one that a program mentions.
pub(super) fn address(host: &str, text: &str) -> IpAddr {
    found(host, text).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

pub(super) fn found(host: &str, text: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| {
        // Of a line the first address: the far end comes before the near one.
        text.lines().rev().find_map(|line| {
            line.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':')))
                .map(|word| word.trim_end_matches([':', '.']))
                .filter(|word| word.len() > 2 && word.contains(['.', ':']))
                .find_map(|word| {
                    let port = word.rsplit_once(':').filter(|(head, _)| head.contains('.'));
                    port.map_or(word, |(head, _)| head).parse().ok()
                })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(
        "bash: connect: Connection refused\nbash: line 1: /dev/tcp/10.0.0.1/80: Connection refused",
        Some(Miss::Refused)
    )]
    #[case(
        "* connect to 10.1.1.1 port 80 from 10.1.1.2 port 4 failed: No route to host",
        Some(Miss::Unreachable(Reason::Host))
    )]
    #[case(
        "ping: connect: Network is unreachable",
        Some(Miss::Unreachable(Reason::Network))
    )]
    #[case("nc: bad address 'nope'", Some(Miss::Unresolved(Lookup::NoSuchName)))]
    #[case(
        "bash: nope: Temporary failure in name resolution",
        Some(Miss::Unresolved(Lookup::NoAnswer))
    )]
    #[case(
        "* connect to ::1 port 1 failed: Connection refused\n* connect to 10.0.0.9 port 1 failed: Connection timed out",
        Some(Miss::Silent)
    )]
    #[case("segmentation fault", None)]
    fn words_have_one_meaning(#[case] text: &str, #[case] expected: Option<Miss>) {
        assert_eq!(miss(text), expected);
    }

    #[test]
    fn addresses_are_found_in_words() {
        let found = |host, text| address(host, text).to_string();
        assert_eq!(found("10.0.0.1", "10.0.0.2"), "10.0.0.1");
        assert_eq!(found("[fd00::1]", ""), "fd00::1");
        assert_eq!(found("db", "*   Trying 10.1.2.3:80..."), "10.1.2.3");
        assert_eq!(
            found("db", "* connect to fd00::5 port 80 failed"),
            "fd00::5"
        );
        assert_eq!(found("db", "nothing at all"), "0.0.0.0");
    }
}
