//! One question to one name server: UDP, and TCP when the reply does not fit.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};
use socket2::{Domain, Socket, Type};
use trunkline_guest::protocol::{Lookup, Outcome, Stage, Unresolved};

use crate::deadline::Deadline;
use crate::dial::{self, Timed};
use crate::{sys, verdict};

/// A positive reply. Records borrow from the message, so they are looked at through
/// [`Reply::with_records`].
#[derive(Debug)]
pub struct Reply {
    pub server: SocketAddr,
    pub name: String,
    pub authoritative: bool,
    message: Vec<u8>,
}

impl Reply {
    pub fn with_records<T>(&self, look: impl FnOnce(&[ResourceRecord<'_>]) -> T) -> T
    where
        T: Default,
    {
        // It was parsed once already to become a `Reply`.
        Packet::parse(&self.message)
            .map(|packet| look(&packet.answers))
            .unwrap_or_default()
    }
}

/// Why there is no reply with records.
#[derive(Debug)]
pub enum Failed {
    /// A server said so.
    Negative(Unresolved),
    /// No server could be heard; what came of asking the last one.
    Unanswered {
        server: SocketAddr,
        outcome: Outcome,
    },
}

pub fn exchange(
    server: SocketAddr,
    name: &str,
    record_type: TYPE,
    id: u16,
    deadline: Deadline,
) -> Result<Reply, Failed> {
    let Some(question) = question(name, record_type, id) else {
        return Err(Failed::negative(Lookup::InvalidName, name, None));
    };
    let unanswered = |outcome| Failed::Unanswered { server, outcome };
    let mut message = over_udp(server, &question, id, deadline).map_err(unanswered)?;
    let truncated =
        Packet::parse(&message).is_ok_and(|reply| reply.has_flags(PacketFlag::TRUNCATION));
    if truncated {
        message = over_tcp(server, &question, deadline).map_err(unanswered)?;
    }
    judge(server, name, record_type, message)
}

/// `None` for what is not a name. The codec lets empty labels pass.
fn question(name: &str, record_type: TYPE, id: u16) -> Option<Vec<u8>> {
    if !name.is_empty() && name.split('.').any(str::is_empty) {
        return None;
    }
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new(name).ok()?,
        QTYPE::TYPE(record_type),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

fn over_udp(
    server: SocketAddr,
    question: &[u8],
    id: u16,
    deadline: Deadline,
) -> Result<Vec<u8>, Outcome> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)
        .map_err(|error| verdict::error(format!("cannot open a UDP socket: {error}")))?;
    let mut buffer = [0; 4096];
    let attempt = (|| {
        sys::report_errors(socket.as_fd(), server.is_ipv6())?;
        socket.connect(&server.into())?;
        socket.send(question)?;
        loop {
            socket.set_read_timeout(Some(deadline.left()?))?;
            let received = sys::receive(socket.as_fd(), &mut buffer)?;
            // A late reply to an earlier question of the same port is not ours.
            if received.len >= 2 && buffer[..2] == id.to_be_bytes() {
                return Ok(buffer[..received.len].to_vec());
            }
        }
    })();
    attempt.map_err(|error: io::Error| {
        let report =
            sys::next_error(socket.as_fd(), &mut [0; 512]).and_then(|received| received.error);
        verdict::of(&error, report, deadline, Stage::Resolve, server.ip())
    })
}

fn over_tcp(server: SocketAddr, question: &[u8], deadline: Deadline) -> Result<Vec<u8>, Outcome> {
    let stream = dial::connect(&[server.ip()], server.port(), deadline)?;
    let mut stream = Timed::new(stream, deadline);
    let attempt = (|| {
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(question)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        Ok(message)
    })();
    attempt.map_err(|error: io::Error| {
        verdict::of(&error, None, deadline, Stage::Response, server.ip())
    })
}

fn judge(
    server: SocketAddr,
    name: &str,
    record_type: TYPE,
    message: Vec<u8>,
) -> Result<Reply, Failed> {
    let negative = |why| Err(Failed::negative(why, name, Some(server)));
    let Ok(packet) = Packet::parse(&message) else {
        return negative(Lookup::ServerFailure);
    };
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return negative(Lookup::NoSuchName),
        RCODE::Refused => return negative(Lookup::Refused),
        _ => return negative(Lookup::ServerFailure),
    }
    let answered = packet
        .answers
        .iter()
        .any(|record| record.rdata.type_code() == record_type);
    if !answered {
        return negative(Lookup::NoRecord);
    }
    let authoritative = packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    Ok(Reply {
        server,
        name: name.to_owned(),
        authoritative,
        message,
    })
}
