//! When a client says what. Time comes from outside, so nothing here waits.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::codec::{Answer, Ask, Lease, decode, encode};

/// Under a loaded emulation an answer may take this long; a server that is not there yet is
/// asked again soon all the same.
const FIRST_RETRY: Duration = Duration::from_millis(150);
const LONGEST_RETRY: Duration = Duration::from_secs(8);
/// After so many unanswered requests for an offer another one is looked for.
const REQUESTS: u32 = 5;
/// Between requests for more time.
const SHORTEST_EXTENSION: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// To everybody on the link; `from` is the unspecified address where there is no lease.
    Broadcast {
        from: Ipv4Addr,
        message: Vec<u8>,
    },
    /// To the server that gave the lease.
    Unicast {
        to: Ipv4Addr,
        message: Vec<u8>,
    },
    Bound(Lease),
    /// The address must not be used any more.
    Lost(Lease),
}

#[derive(Clone, Debug)]
enum State {
    Selecting,
    Requesting {
        offer: Lease,
        tries: u32,
    },
    /// The link was away: is the address still ours?
    Confirming {
        lease: Lease,
        since: Instant,
        tries: u32,
    },
    Bound {
        lease: Lease,
        since: Instant,
    },
}

#[derive(Debug)]
pub struct Client {
    mac: [u8; 6],
    host_name: Option<String>,
    xid: u32,
    state: State,
    started: Instant,
    retry: Duration,
    next: Option<Instant>,
}

impl Client {
    /// A client that speaks at once.
    pub fn new(mac: [u8; 6], host_name: Option<String>, xid: u32, now: Instant) -> Self {
        Self {
            mac,
            host_name,
            xid,
            state: State::Selecting,
            started: now,
            retry: FIRST_RETRY,
            next: Some(now),
        }
    }

    /// When [`Self::tick`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    pub fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound { .. })
    }

    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { lease, .. } | State::Confirming { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// The link is back after having been away.
    pub fn link_is_back(&mut self, now: Instant) {
        self.state = match std::mem::replace(&mut self.state, State::Selecting) {
            State::Bound { lease, since } | State::Confirming { lease, since, .. } => {
                State::Confirming {
                    lease,
                    since,
                    tries: 0,
                }
            }
            State::Selecting | State::Requesting { .. } => State::Selecting,
        };
        self.begin(now);
    }

    fn begin(&mut self, now: Instant) {
        self.xid = self.xid.wrapping_mul(0x9E37_79B1).wrapping_add(1);
        self.started = now;
        self.retry = FIRST_RETRY;
        self.next = Some(now);
    }

    fn message(&self, ask: Ask, now: Instant) -> Vec<u8> {
        let seconds = now.saturating_duration_since(self.started).as_secs();
        let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        encode(ask, self.xid, seconds, self.mac, self.host_name.as_deref())
    }

    fn broadcast(&self, ask: Ask, now: Instant) -> Event {
        let from = match ask {
            Ask::Extend { address } => address,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let message = self.message(ask, now);
        Event::Broadcast { from, message }
    }

    fn again_later(&mut self, now: Instant) {
        self.next = Some(now + self.retry);
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
    }

    /// What is due.
    pub fn tick(&mut self, now: Instant) -> Vec<Event> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        match self.state.clone() {
            State::Selecting => {
                let event = self.broadcast(Ask::Discover, now);
                self.again_later(now);
                vec![event]
            }
            State::Requesting { tries, .. } if tries >= REQUESTS => self.start_over(now),
            State::Requesting { offer, tries } => {
                let ask = Ask::Take {
                    address: offer.address,
                    server: offer.server,
                };
                let event = self.broadcast(ask, now);
                self.again_later(now);
                self.state = State::Requesting {
                    offer,
                    tries: tries + 1,
                };
                vec![event]
            }
            // Nobody says no, so the lease holds.
            State::Confirming {
                lease,
                since,
                tries,
            } if tries >= REQUESTS => {
                self.hold(lease, since, now);
                Vec::new()
            }
            State::Confirming {
                lease,
                since,
                tries,
            } => {
                let ask = Ask::Confirm {
                    address: lease.address,
                };
                let event = self.broadcast(ask, now);
                self.again_later(now);
                self.state = State::Confirming {
                    lease,
                    since,
                    tries: tries + 1,
                };
                vec![event]
            }
            State::Bound { lease, since } => self.extend(lease, since, now),
        }
    }

    fn start_over(&mut self, now: Instant) -> Vec<Event> {
        self.state = State::Selecting;
        self.begin(now);
        self.tick(now)
    }

    fn extend(&mut self, lease: Lease, since: Instant, now: Instant) -> Vec<Event> {
        let times = Times::of(&lease);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= times.end {
            let mut events = vec![Event::Lost(lease)];
            events.extend(self.start_over(now));
            return events;
        }
        let ask = Ask::Extend {
            address: lease.address,
        };
        let (event, until) = if elapsed >= times.rebind {
            (self.broadcast(ask, now), times.end)
        } else {
            let message = self.message(ask, now);
            let to = lease.server;
            (Event::Unicast { to, message }, times.rebind)
        };
        let left = until.saturating_sub(elapsed);
        self.next = Some(now + (left / 2).max(SHORTEST_EXTENSION).min(left));
        vec![event]
    }

    fn hold(&mut self, lease: Lease, since: Instant, now: Instant) {
        let times = Times::of(&lease);
        self.next = lease.seconds.map(|_| (since + times.renew).max(now));
        self.state = State::Bound { lease, since };
    }

    /// A message came.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Vec<Event> {
        let Some(answer) = decode(bytes, self.xid, self.mac) else {
            return Vec::new();
        };
        match (answer, self.state.clone()) {
            (Answer::Offer(offer), State::Selecting) => {
                self.state = State::Requesting { offer, tries: 0 };
                self.retry = FIRST_RETRY;
                self.next = Some(now);
                self.tick(now)
            }
            (Answer::Ack(lease), State::Requesting { .. }) => self.bind(lease, None, now),
            (Answer::Ack(lease), State::Confirming { lease: old, .. }) => {
                self.bind(lease, Some(old), now)
            }
            // One that was not asked for would be an answer to a request before the last lease.
            (Answer::Ack(lease), State::Bound { lease: old, since })
                if now.saturating_duration_since(since) >= Times::of(&old).renew =>
            {
                self.bind(lease, Some(old), now)
            }
            (Answer::Nak, State::Requesting { .. }) => self.start_over(now),
            (Answer::Nak, State::Confirming { lease, .. } | State::Bound { lease, .. }) => {
                let mut events = vec![Event::Lost(lease)];
                events.extend(self.start_over(now));
                events
            }
            _ => Vec::new(),
        }
    }

    fn bind(&mut self, lease: Lease, old: Option<Lease>, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        events.extend(
            old.filter(|old| (old.address, old.prefix) != (lease.address, lease.prefix))
                .map(Event::Lost),
        );
        self.started = now;
        self.hold(lease.clone(), now, now);
        events.push(Event::Bound(lease));
        events
    }
}

/// When to ask for more time, whom, and when it is over.
struct Times {
    renew: Duration,
    rebind: Duration,
    end: Duration,
}

impl Times {
    fn of(lease: &Lease) -> Self {
        let end = lease.seconds.unwrap_or(u32::MAX).max(2);
        let within = |given: Option<u32>, default: u32, most: u32| {
            Duration::from_secs(u64::from(
                given.filter(|given| *given <= most).unwrap_or(default),
            ))
        };
        let rebind = within(lease.rebind, end - end / 8, end);
        let renew = within(lease.renew, end / 2, end).min(rebind);
        Self {
            renew,
            rebind,
            end: Duration::from_secs(u64::from(end)),
        }
    }
}

#[cfg(test)]
mod tests;
