use super::super::codec::tests::{MAC, answer};
use super::*;

const SERVER: (u8, &[u8]) = (54, &[10, 0, 2, 1]);
const HOUR: (u8, &[u8]) = (51, &3_600u32.to_be_bytes());
const MASK: (u8, &[u8]) = (1, &[255, 255, 255, 0]);
const ADDRESS: [u8; 4] = [10, 0, 2, 2];

fn kind(event: &Event) -> String {
    let kind = |message: &[u8]| message[242];
    match event {
        Event::Broadcast { from, message } => format!("broadcast {} from {from}", kind(message)),
        Event::Unicast { to, message } => format!("unicast {} to {to}", kind(message)),
        Event::Bound(lease) => format!("bound {}/{}", lease.address, lease.prefix),
        Event::Lost(lease) => format!("lost {}", lease.address),
    }
}

fn kinds(events: &[Event]) -> Vec<String> {
    events.iter().map(kind).collect()
}

struct Lab {
    client: Client,
    now: Instant,
}

impl Lab {
    fn new() -> Self {
        let now = Instant::now();
        let client = Client::new(MAC, Some("vm-a".to_owned()), 42, now);
        Self { client, now }
    }

    fn tick(&mut self) -> Vec<String> {
        kinds(&self.client.tick(self.now))
    }

    fn at_deadline(&mut self) -> (u128, Vec<String>) {
        let deadline = self.client.deadline().unwrap();
        let waited = deadline - self.now;
        self.now = deadline;
        (waited.as_millis(), self.tick())
    }

    fn receive(&mut self, kind: u8, address: [u8; 4]) -> Vec<String> {
        let bytes = answer(kind, self.client.xid, address, &[SERVER, HOUR, MASK]);
        kinds(&self.client.receive(&bytes, self.now))
    }

    fn bound() -> Self {
        let mut lab = Self::new();
        lab.tick();
        lab.receive(2, ADDRESS);
        assert_eq!(lab.receive(5, ADDRESS), ["bound 10.0.2.2/24"]);
        lab
    }
}

#[test]
fn four_messages_without_waiting() {
    let mut lab = Lab::new();
    assert_eq!(lab.tick(), ["broadcast 1 from 0.0.0.0"]);
    assert_eq!(lab.receive(2, ADDRESS), ["broadcast 3 from 0.0.0.0"]);
    assert_eq!(lab.receive(5, ADDRESS), ["bound 10.0.2.2/24"]);
    assert!(lab.client.is_bound());
    assert_eq!(lab.tick(), Vec::<String>::new());
}

#[test]
fn nobody_answers() {
    let mut lab = Lab::new();
    lab.tick();
    let waits: Vec<u128> = (0..8).map(|_| lab.at_deadline().0).collect();
    assert_eq!(waits, [150, 300, 600, 1_200, 2_400, 4_800, 8_000, 8_000]);
    // It never gives up, and takes the first offer that comes.
    assert_eq!(lab.receive(2, ADDRESS), ["broadcast 3 from 0.0.0.0"]);
}

#[test]
fn an_offer_that_is_not_kept() {
    let mut lab = Lab::new();
    lab.tick();
    lab.receive(2, ADDRESS);
    for _ in 0..4 {
        assert_eq!(lab.at_deadline().1, ["broadcast 3 from 0.0.0.0"]);
    }
    assert_eq!(lab.at_deadline().1, ["broadcast 1 from 0.0.0.0"]);
    lab.receive(2, ADDRESS);
    assert_eq!(lab.receive(6, [0; 4]), ["broadcast 1 from 0.0.0.0"]);
}

#[test]
fn a_lease_is_renewed_in_time() {
    let mut lab = Lab::bound();
    assert_eq!(
        lab.at_deadline(),
        (1_800_000, vec!["unicast 3 to 10.0.2.1".to_owned()])
    );
    assert_eq!(lab.receive(5, ADDRESS), ["bound 10.0.2.2/24"]);
    assert_eq!(lab.at_deadline().0, 1_800_000);
}

#[test]
fn a_lease_runs_out_when_nobody_answers() {
    let mut lab = Lab::bound();
    let mut seen = Vec::new();
    for _ in 0..100 {
        let (_, events) = lab.at_deadline();
        seen.extend(events);
        if seen.iter().any(|event| event.starts_with("lost")) {
            break;
        }
    }
    seen.dedup();
    assert_eq!(
        seen,
        [
            "unicast 3 to 10.0.2.1",
            "broadcast 3 from 10.0.2.2",
            "lost 10.0.2.2",
            "broadcast 1 from 0.0.0.0"
        ]
    );
}

#[test]
fn another_address_at_renewal() {
    let mut lab = Lab::bound();
    lab.at_deadline();
    assert_eq!(
        lab.receive(5, [10, 0, 2, 9]),
        ["lost 10.0.2.2", "bound 10.0.2.9/24"]
    );
}

#[test]
fn the_link_comes_back() {
    let mut lab = Lab::bound();
    lab.client.link_is_back(lab.now);
    assert_eq!(lab.tick(), ["broadcast 3 from 0.0.0.0"]);
    assert_eq!(lab.receive(5, ADDRESS), ["bound 10.0.2.2/24"]);
    lab.client.link_is_back(lab.now);
    lab.tick();
    assert_eq!(
        lab.receive(6, [0; 4]),
        ["lost 10.0.2.2", "broadcast 1 from 0.0.0.0"]
    );
}

#[test]
fn the_link_comes_back_and_nobody_is_there() {
    let mut lab = Lab::bound();
    lab.client.link_is_back(lab.now);
    lab.tick();
    for _ in 0..5 {
        lab.at_deadline();
    }
    assert!(lab.client.is_bound());
}

#[test]
fn answers_that_nobody_asked_for() {
    let mut lab = Lab::bound();
    assert!(lab.receive(5, [10, 0, 2, 9]).is_empty());
    assert!(lab.receive(2, [10, 0, 2, 9]).is_empty());
    let stray = answer(5, 7, ADDRESS, &[SERVER]);
    assert!(lab.client.receive(&stray, lab.now).is_empty());
}

#[test]
fn odd_times_of_a_lease() {
    let lease = |seconds, renew, rebind| Lease {
        address: ADDRESS.into(),
        prefix: 24,
        server: ADDRESS.into(),
        seconds,
        renew,
        rebind,
        routes: vec![],
        dns: vec![],
        search: vec![],
        host_name: None,
        mtu: None,
    };
    let times = |lease: Lease| {
        let times = Times::of(&lease);
        (
            times.renew.as_secs(),
            times.rebind.as_secs(),
            times.end.as_secs(),
        )
    };
    assert_eq!(times(lease(Some(80), None, None)), (40, 70, 80));
    assert_eq!(times(lease(Some(80), Some(500), Some(500))), (40, 70, 80));
    assert_eq!(times(lease(Some(80), Some(60), Some(50))), (50, 50, 80));
    assert_eq!(times(lease(Some(0), None, None)), (1, 2, 2));
}
