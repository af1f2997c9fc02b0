//! ICMP echo by the guest's `ping`, that of iputils or that of busybox.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use trunkline_guest::protocol::{
    Answer, Blocked, Family, Icmp, Lookup, Outcome, Ping, PingAnswer, Reason, Refusal, Refused,
    RoundTrip, Stage, Unreachable, Unresolved,
};

use super::{GRACE, lacks, puzzled, words};
use crate::console::{
    job::{Command, Finished},
    shell::Words,
};

/// For starting the program.
const START: Duration = Duration::from_millis(300);

/// Without `all` only options that the smallest `ping` knows.
pub(super) fn command(probe: &Ping, all: bool) -> Command {
    let timeout = Duration::from_millis(probe.timeout_ms);
    let interval = Duration::from_millis(probe.interval_ms);
    let sending = interval * probe.count.saturating_sub(1);
    let mut words = Words::of([
        "-c",
        &probe.count.to_string(),
        "-s",
        &probe.size.to_string(),
    ]);
    if all {
        // iputils waits for late replies only with a deadline, and then goes on sending until all have come. It is
        // ended before that deadline, which must be whole seconds.
        let deadline = timeout.as_secs_f64().ceil() + 5.0;
        words.push("-n").push("-w").push(&format!("{deadline:.0}"));
        words
            .push("-i")
            .push(&format!("{:.3}", interval.as_secs_f64()));
    } else {
        let wait = timeout.saturating_sub(sending).as_secs_f64();
        words
            .push("-W")
            .push(&format!("{:.0}", wait.ceil().max(1.0)));
    }
    if probe.dont_fragment {
        words.push("-M").push("do");
    }
    match probe.family {
        Some(Family::Ipv4) => {
            words.push("-4");
        }
        Some(Family::Ipv6) => {
            words.push("-6");
        }
        None => {}
    }
    words.push(&probe.host);
    let pause = if all {
        START
    } else {
        Duration::from_secs(1) * probe.count + GRACE
    };
    Command {
        script: format!("x ping\n{}", words.script("LC_ALL=C exec ping")),
        stdin: None,
        timeout: timeout + pause,
    }
}

/// An old busybox waits whole seconds and says so.
pub(super) fn wants_other_options(finished: &Finished) -> bool {
    let said = String::from_utf8_lossy(&finished.stderr).to_lowercase();
    finished.code != 0
        && finished.stdout.is_empty()
        && [
            "invalid option",
            "unrecognized option",
            "invalid number",
            "usage:",
        ]
        .iter()
        .any(|words| said.contains(words))
}

pub(super) fn outcome(probe: &Ping, finished: &Finished) -> Outcome {
    if finished.missing {
        return lacks("ping");
    }
    let printed = String::from_utf8_lossy(&finished.stdout);
    let said = String::from_utf8_lossy(&finished.stderr);
    let both = format!("{printed}\n{said}");
    let Some(seen) = Seen::read(&printed, probe.count) else {
        return match words::miss(&both) {
            Some(miss) => miss
                .outcome(&probe.host, &both)
                .unwrap_or_else(|| blocked(probe, None, 0)),
            None if both.contains("Operation not permitted") && !both.contains("socket") => {
                // Dropped by a packet filter of the guest: as silent as one further away.
                blocked(probe, words::found(&probe.host, &both), probe.count)
            }
            None if finished.timed_out => unanswered_name(probe),
            None => puzzled("ping", finished),
        };
    };
    let address = words::address(&probe.host, printed.lines().next().unwrap_or_default());
    if seen.received == 0 {
        return seen
            .icmp(address)
            .or_else(|| words::miss(&both).and_then(|miss| miss.outcome(&probe.host, &both)))
            .unwrap_or_else(|| blocked(probe, Some(address), seen.sent));
    }
    Outcome::Answered(Answer::Ping(PingAnswer {
        remote: address,
        sent: seen.sent,
        received: seen.received,
        loss: 100.0 * f64::from(seen.sent.saturating_sub(seen.received))
            / f64::from(seen.sent.max(1)),
        rtt: seen.rtt,
        ttl: seen.ttl,
        duplicates: seen.duplicates,
        packets: Vec::new(),
    }))
}

fn blocked(probe: &Ping, address: Option<IpAddr>, sent: u32) -> Outcome {
    Outcome::Blocked(Blocked {
        after_ms: super::milliseconds(Duration::from_millis(probe.timeout_ms)),
        stage: Stage::Response,
        address,
        sent: Some(sent),
    })
}

/// It never came to printing a summary: it was still looking for the address.
fn unanswered_name(probe: &Ping) -> Outcome {
    match probe.host.parse() {
        Ok(address) => blocked(probe, Some(address), 0),
        Err(_) => Outcome::Unresolved(Unresolved {
            name: probe.host.clone(),
            why: Lookup::NoAnswer,
            server: None,
        }),
    }
}

/// What a run of `ping` tells.
#[derive(Debug, Default)]
struct Seen {
    sent: u32,
    received: u32,
    duplicates: u32,
    rtt: Option<RoundTrip>,
    ttl: Option<u8>,
    /// The last router or host that said something else than a reply, and its words.
    trouble: Option<(Option<IpAddr>, String)>,
}

impl Seen {
    /// What became of the first `count` requests; `None` without the line with the numbers.
    fn read(printed: &str, count: u32) -> Option<Self> {
        let mut seen = Self::default();
        let mut summary = false;
        let mut replies = BTreeMap::new();
        for line in printed.lines() {
            let line = line.trim();
            if line.contains("packets transmitted") {
                summary = true;
                let number = |words: &str| {
                    let before = line.split(words).next()?.trim_end();
                    before.rsplit([' ', ',']).next()?.parse().ok()
                };
                seen.sent = number(" packets transmitted")?;
                seen.received = number(" packets received").or_else(|| number(" received"))?;
                seen.duplicates = number(" duplicates").unwrap_or_default();
            } else if line.contains("bytes from") {
                // iputils counts from 1, busybox from 0.
                let first = u32::from(line.contains("icmp_seq="));
                let sequence = after(line, "seq=").and_then(|text| text.parse::<u32>().ok());
                let sequence = sequence.and_then(|sequence| sequence.checked_sub(first));
                let Some(sequence) = sequence.filter(|sequence| *sequence < count) else {
                    continue;
                };
                let time = after(line, "time=").and_then(|text| text.parse::<f64>().ok());
                replies.entry(sequence).or_insert(time);
                let ttl = after(line, "ttl=").and_then(|text| text.parse().ok());
                seen.ttl = ttl.or(seen.ttl);
            } else if let Some(rest) = line
                .strip_prefix("From ")
                .or_else(|| line.strip_prefix("from "))
            {
                let who = rest
                    .split([' ', ':'])
                    .next()
                    .and_then(|who| who.parse().ok());
                seen.trouble = Some((who, line.to_owned()));
            }
        }
        if !replies.is_empty() {
            seen.received = u32::try_from(replies.len()).unwrap_or(u32::MAX);
        }
        seen.sent = seen.sent.min(count);
        seen.received = seen.received.min(seen.sent);
        let times: Vec<f64> = replies.into_values().flatten().collect();
        seen.rtt = round_trip(&times);
        summary.then_some(seen)
    }

    fn icmp(&self, address: IpAddr) -> Option<Outcome> {
        let (from, words) = self.trouble.as_ref()?;
        let words = words.to_lowercase();
        let says = |text: &str| words.contains(text);
        let (reason, kind, code) = if says("port unreachable") {
            let icmp = from.map(|from| Icmp {
                from,
                kind: 3,
                code: 3,
            });
            return Some(Outcome::Refused(Refused {
                how: Refusal::Port,
                address,
                icmp,
            }));
        } else if says("filtered") || says("prohibited") {
            (Reason::Prohibited, 3, 13)
        } else if says("host unreachable") || says("address unreachable") {
            (Reason::Host, 3, 1)
        } else if says("net unreachable") || says("network unreachable") || says("no route") {
            (Reason::Network, 3, 0)
        } else if says("protocol unreachable") {
            (Reason::Protocol, 3, 2)
        } else if says("frag needed") || says("too big") {
            (Reason::TooBig, 3, 4)
        } else if says("time to live exceeded") || says("time exceeded") {
            (Reason::TimeToLive, 11, 0)
        } else {
            return None;
        };
        // The numbers are those of IPv4; for IPv6 the words must do.
        let icmp = from
            .filter(IpAddr::is_ipv4)
            .map(|from| Icmp { from, kind, code });
        Some(Outcome::Unreachable(Unreachable {
            reason,
            address,
            icmp,
        }))
    }
}

/// The word that follows `key`.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(key)?.1.split([' ', '\t']).next()
}

fn round_trip(times: &[f64]) -> Option<RoundTrip> {
    let all = || times.iter().copied();
    let number = f64::from(u32::try_from(times.len()).ok()?);
    Some(RoundTrip {
        min: all().reduce(f64::min)?,
        avg: all().sum::<f64>() / number,
        max: all().reduce(f64::max)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(code: i32, stdout: &str, stderr: &str) -> String {
        let finished = Finished {
            code,
            timed_out: false,
            missing: false,
            stdout: stdout.into(),
            stderr: stderr.into(),
            truncated: false,
            took: Duration::ZERO,
        };
        let probe = Ping {
            count: 3,
            ..Ping::new("192.0.2.20")
        };
        crate::verdict::came(&super::outcome(&probe, &finished))
    }

    const IPUTILS: &str = "PING 192.0.2.20 (192.0.2.20) 56(84) bytes of data.\n64 bytes from 192.0.2.20: icmp_seq=1 ttl=64 time=1.20 ms\n64 bytes from 192.0.2.20: icmp_seq=3 ttl=63 time=0.80 ms\n\n--- 192.0.2.20 ping statistics ---\n3 packets transmitted, 2 received, 33.3333% packet loss, time 402ms\nrtt min/avg/max/mdev = 0.800/1.000/1.200/0.200 ms\n";
    const BUSYBOX: &str = "PING 192.0.2.20 (192.0.2.20): 56 data bytes\n64 bytes from 192.0.2.20: seq=0 ttl=64 time=0.051 ms\n\n--- 192.0.2.20 ping statistics ---\n1 packets transmitted, 1 packets received, 0% packet loss\nround-trip min/avg/max = 0.051/0.051/0.051 ms\n";
    /// The second reply was late, so that it went on sending.
    const MORE: &str = "64 bytes from 192.0.2.20: icmp_seq=1 ttl=64 time=1.00 ms\n64 bytes from 192.0.2.20: icmp_seq=3 ttl=64 time=1.00 ms\n64 bytes from 192.0.2.20: icmp_seq=4 ttl=64 time=1.00 ms\n64 bytes from 192.0.2.20: icmp_seq=2 ttl=64 time=4.00 ms\n64 bytes from 192.0.2.20: icmp_seq=2 ttl=64 time=4.50 ms (DUP!)\n\n5 packets transmitted, 4 received, +1 duplicates, 20% packet loss, time 802ms\n";
    const NOTHING: &str = "PING 192.0.2.20 (192.0.2.20) 56(84) bytes of data.\n\n--- 192.0.2.20 ping statistics ---\n3 packets transmitted, 0 received, 100% packet loss, time 2031ms\n";
    const NO_HOST: &str = "PING 192.0.2.20 (192.0.2.20) 56(84) bytes of data.\nFrom 192.0.2.10 icmp_seq=1 Destination Host Unreachable\nFrom 192.0.2.10 icmp_seq=2 Destination Host Unreachable\n\n--- 192.0.2.20 ping statistics ---\n3 packets transmitted, 0 received, +2 errors, 100% packet loss, time 2031ms\npipe 3\n";

    #[rstest::rstest]
    #[case(
        0,
        IPUTILS,
        "",
        "2 of 3 replies, loss 33.333333333333336%, round trip 1.00ms"
    )]
    #[case(0, BUSYBOX, "", "1 of 1 replies, loss 0%, round trip 0.05ms")]
    #[case(0, MORE, "", "3 of 3 replies, loss 0%, round trip 2.00ms")]
    #[case(
        1,
        NOTHING,
        "",
        "blocked: silence after the request was sent within 5000ms"
    )]
    #[case(
        1,
        NO_HOST,
        "",
        "unreachable: no route to host (192.0.2.20), said 192.0.2.10 (ICMP type 3 code 1)"
    )]
    #[case(
        1,
        "PING x (192.0.2.20): 56 data bytes\nFrom 192.0.2.1 icmp_seq=1 Packet filtered\n1 packets transmitted, 0 received, +1 errors, 100% packet loss\n",
        "",
        "unreachable: administratively prohibited (192.0.2.20), said 192.0.2.1 (ICMP type 3 code 13)"
    )]
    #[case(
        2,
        "",
        "ping: connect: Network is unreachable",
        "unreachable: network is unreachable (192.0.2.20)"
    )]
    #[case(
        2,
        "",
        "ping: nope: Name or service not known",
        "unresolved: 192.0.2.20, no such name"
    )]
    #[case(
        1,
        "",
        "ping: bad address 'nope'",
        "unresolved: 192.0.2.20, no such name"
    )]
    #[case(
        2,
        "",
        "ping: socktype: SOCK_RAW\nping: socket: Operation not permitted",
        "the probe could not be carried out: `ping` in the guest ended with exit code 2: ping: socket: Operation not permitted"
    )]
    #[case(
        1,
        "3 packets transmitted, 0 received, 100% packet loss",
        "ping: sendmsg: Operation not permitted",
        "blocked: silence after the request was sent within 5000ms"
    )]
    fn what_ping_prints_is_understood(
        #[case] code: i32,
        #[case] stdout: &str,
        #[case] stderr: &str,
        #[case] words: &str,
    ) {
        assert_eq!(came(code, stdout, stderr), words);
    }

    #[test]
    fn the_last_reply_tells_the_hops() {
        assert_eq!(Seen::read(IPUTILS, 3).unwrap().ttl, Some(63));
    }
}
