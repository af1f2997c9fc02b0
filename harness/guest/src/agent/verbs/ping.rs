//! ICMP echo, over an unprivileged datagram socket where the kernel lets us, else a raw one.

mod socket;

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use trunkline_guest::protocol::{
    Answer, Blocked, Outcome, Packet, Ping, PingAnswer, RoundTrip, Stage,
};

use self::socket::{Echo, EchoSocket};
use crate::deadline::{Deadline, milliseconds};
use crate::resolve::Resolver;
use crate::sys::Reported;
use crate::verdict;

pub fn run(probe: &Ping, resolver: &Resolver, deadline: Deadline) -> Outcome {
    let addresses = match resolver.addresses(&probe.host, probe.family, deadline) {
        Ok(addresses) => addresses,
        Err(outcome) => return outcome,
    };
    let Some(&address) = addresses.first() else {
        return verdict::error("no address to ping");
    };
    let socket = match EchoSocket::open(address, probe.dont_fragment) {
        Ok(socket) => socket,
        Err(message) => return verdict::error(message),
    };
    let mut round = Round {
        probe,
        address,
        deadline,
        packets: Vec::new(),
        duplicates: 0,
        trouble: None,
    };
    match round.play(&socket) {
        Ok(()) => round.outcome(),
        Err(failure) => verdict::of(&failure, None, deadline, Stage::Response, address),
    }
}

/// The requests sent so far and what became of them.
struct Round<'a> {
    probe: &'a Ping,
    address: IpAddr,
    deadline: Deadline,
    packets: Vec<Sent>,
    duplicates: u32,
    /// The last error about one of our packets.
    trouble: Option<(io::Error, Option<Reported>)>,
}

struct Sent {
    at: Instant,
    /// Milliseconds since the probe began.
    since_start: f64,
    fate: Fate,
}

enum Fate {
    Underway,
    Replied { rtt: Duration, ttl: Option<u8> },
    Failed,
}

impl Round<'_> {
    fn play(&mut self, socket: &EchoSocket) -> io::Result<()> {
        let interval = Duration::from_millis(self.probe.interval_ms);
        let mut next = Instant::now();
        loop {
            let more = self.packets.len() < self.probe.count as usize;
            if more && Instant::now() >= next {
                self.send(socket)?;
                next += interval;
                continue;
            }
            if !more && self.packets.iter().all(|packet| !packet.is_underway()) {
                return Ok(());
            }
            let Ok(left) = self.deadline.left() else {
                return Ok(());
            };
            let wait = if more {
                left.min(next.saturating_duration_since(Instant::now()))
            } else {
                left
            };
            self.hear(socket, wait)?;
        }
    }

    fn send(&mut self, socket: &EchoSocket) -> io::Result<()> {
        let sequence = sequence_of(self.packets.len());
        let at = Instant::now();
        let fate = match socket.send(sequence, self.probe.size) {
            Ok(()) => Fate::Underway,
            // Dropped by a packet filter of this machine: as silent as one further away.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Fate::Underway,
            Err(error) if self.replies() > 0 || self.probe.count > 1 => {
                self.trouble = Some((error, None));
                Fate::Failed
            }
            Err(error) => return Err(error),
        };
        self.packets.push(Sent {
            at,
            since_start: self.deadline.elapsed_ms(),
            fate,
        });
        Ok(())
    }

    fn hear(&mut self, socket: &EchoSocket, wait: Duration) -> io::Result<()> {
        match socket.receive(wait) {
            Ok(Some(Echo { sequence, ttl })) => {
                let now = Instant::now();
                if let Some(packet) = self.packet(sequence) {
                    if packet.is_underway() {
                        let rtt = now.duration_since(packet.at);
                        packet.fate = Fate::Replied { rtt, ttl };
                    } else {
                        self.duplicates += 1;
                    }
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                let reports = socket.errors();
                // Without an entry in the queue the error is about the socket itself.
                if reports.is_empty() && !verdict::is_silence(&error) {
                    return Err(error);
                }
                for (sequence, report) in reports {
                    if let Some(packet) = sequence.and_then(|sequence| self.packet(sequence)) {
                        packet.fate = Fate::Failed;
                    }
                    let error = io::Error::from_raw_os_error(report.errno);
                    self.trouble = Some((error, Some(report)));
                }
                Ok(())
            }
        }
    }

    /// The latest packet with that sequence number.
    fn packet(&mut self, sequence: u16) -> Option<&mut Sent> {
        let last = self.packets.len().checked_sub(1)?;
        let back = usize::from(sequence_of(last).wrapping_sub(sequence));
        self.packets.get_mut(last.checked_sub(back)?)
    }

    fn replies(&self) -> usize {
        self.packets
            .iter()
            .filter(|packet| matches!(packet.fate, Fate::Replied { .. }))
            .count()
    }

    fn outcome(self) -> Outcome {
        let sent = count(self.packets.len());
        let received = count(self.replies());
        if received == 0 {
            return match self.trouble {
                Some((error, report)) => {
                    verdict::of(&error, report, self.deadline, Stage::Response, self.address)
                }
                None => Outcome::Blocked(Blocked {
                    after_ms: self.deadline.elapsed_ms(),
                    stage: Stage::Response,
                    address: Some(self.address),
                    sent: Some(sent),
                }),
            };
        }
        let ttl = self
            .packets
            .iter()
            .rev()
            .find_map(|packet| match packet.fate {
                Fate::Replied { ttl, .. } => ttl,
                _ => None,
            });
        Outcome::Answered(Answer::Ping(PingAnswer {
            remote: self.address,
            sent,
            received,
            loss: 100.0 * f64::from(sent - received) / f64::from(sent),
            rtt: round_trip(&self.packets),
            ttl,
            duplicates: self.duplicates,
            packets: if self.probe.packets {
                list(&self.packets)
            } else {
                Vec::new()
            },
        }))
    }
}

impl Sent {
    fn is_underway(&self) -> bool {
        matches!(self.fate, Fate::Underway)
    }
}

/// Sequence numbers start at 1, as those of ping do, and wrap.
#[allow(clippy::cast_possible_truncation)] // masked
fn sequence_of(index: usize) -> u16 {
    (index.wrapping_add(1) & 0xffff) as u16
}

fn count(packets: usize) -> u32 {
    u32::try_from(packets).unwrap_or(u32::MAX)
}

fn round_trip(packets: &[Sent]) -> Option<RoundTrip> {
    let times: Vec<f64> = packets
        .iter()
        .filter_map(|packet| match packet.fate {
            Fate::Replied { rtt, .. } => Some(milliseconds(rtt)),
            _ => None,
        })
        .collect();
    let sum: f64 = times.iter().sum();
    Some(RoundTrip {
        min: times.iter().copied().reduce(f64::min)?,
        avg: (sum / f64::from(count(times.len())) * 1_000.0).round() / 1_000.0,
        max: times.iter().copied().reduce(f64::max)?,
    })
}

fn list(packets: &[Sent]) -> Vec<Packet> {
    packets
        .iter()
        .enumerate()
        .map(|(index, packet)| {
            let (rtt_ms, ttl) = match packet.fate {
                Fate::Replied { rtt, ttl } => (Some(milliseconds(rtt)), ttl),
                _ => (None, None),
            };
            Packet {
                seq: sequence_of(index),
                sent_ms: packet.since_start,
                rtt_ms,
                ttl,
            }
        })
        .collect()
}
