//! A TCP connection, and a few bytes over it.

use std::io::{Read, Write};

use trunkline_guest::Octets;
use trunkline_guest::protocol::{Answer, Outcome, Stage, Tcp, TcpAnswer};

use super::contains;
use crate::deadline::Deadline;
use crate::dial::{self, Timed};
use crate::resolve::Resolver;
use crate::verdict;

/// More than this says nothing new about a connection.
const KEPT: u64 = 1 << 20;

pub fn run(probe: &Tcp, resolver: &Resolver, deadline: Deadline) -> Outcome {
    match talk(probe, resolver, deadline) {
        Ok(answer) => Outcome::Answered(Answer::Tcp(answer)),
        Err(outcome) => outcome,
    }
}

fn talk(probe: &Tcp, resolver: &Resolver, deadline: Deadline) -> Result<TcpAnswer, Outcome> {
    let addresses = resolver.addresses(&probe.host, probe.family, deadline)?;
    let before = deadline.elapsed_ms();
    let stream = dial::connect(&addresses, probe.port, deadline)?;
    let connect_ms = deadline.elapsed_ms() - before;
    let ends = stream
        .local_addr()
        .and_then(|local| Ok((local, stream.peer_addr()?)));
    let (local, remote) =
        ends.map_err(|error| verdict::error(format!("the connection is gone: {error}")))?;
    let broken =
        |error: &std::io::Error| verdict::of(error, None, deadline, Stage::Response, remote.ip());

    let mut stream = Timed::new(stream, deadline);
    if let Some(send) = &probe.send {
        stream
            .write_all(send.as_ref())
            .map_err(|error| broken(&error))?;
    }
    let mut received = Vec::new();
    let mut matched = None;
    if let Some(expect) = &probe.expect {
        let end = read_until(&mut stream, expect.as_ref(), &mut received);
        let found = contains(&received, expect.as_ref());
        match end {
            // Something came before it fell silent, only not what was expected: an answer too.
            Err(error) if verdict::is_silence(&error) && !received.is_empty() => {
                matched = Some(found);
            }
            Err(error) => return Err(broken(&error)),
            Ok(()) => matched = Some(found),
        }
    }
    Ok(TcpAnswer {
        remote,
        local,
        connect_ms,
        received: Octets(received),
        matched,
    })
}

fn read_until(stream: &mut Timed, expect: &[u8], received: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 8192];
    while !contains(received, expect) && (received.len() as u64) < KEPT {
        match stream.read(&mut buffer)? {
            0 => break,
            read => received.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(())
}
