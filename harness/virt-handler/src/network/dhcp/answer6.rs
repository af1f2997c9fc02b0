//! A DHCPv6 question and its answer.

use dhcproto::v6::{DhcpOption, IAAddr, IANA, Message, MessageType, OptionCode, UnknownOption};
use dhcproto::{Decodable, Decoder, Encodable};
use trunkline_fabric::MacAddr;

use super::{LEASE, Lease6};

/// A DUID made of a hardware address (RFC 8415, 11.4).
const LINK_LAYER: u16 = 3;
const ETHERNET: u16 = 1;

/// The one address for every question that wants one.
pub(super) fn to(packet: &[u8], server: MacAddr, lease: &Lease6) -> Option<Vec<u8>> {
    let question = Message::decode(&mut Decoder::new(packet)).ok()?;
    let options = question.opts();
    let quick = options.get(OptionCode::RapidCommit).is_some();
    let kind = match question.msg_type() {
        MessageType::Solicit if !quick => MessageType::Advertise,
        MessageType::Solicit
        | MessageType::Request
        | MessageType::Confirm
        | MessageType::Renew
        | MessageType::Rebind
        | MessageType::Release
        | MessageType::InformationRequest => MessageType::Reply,
        _ => return None,
    };
    let client = options.get(OptionCode::ClientId)?.clone();
    let mut answer = Message::new_with_id(kind, question.xid());
    let answers = answer.opts_mut();
    answers.insert(client);
    answers.insert(server_id(server));
    if quick && question.msg_type() == MessageType::Solicit {
        answers.insert(DhcpOption::RapidCommit);
    }
    answers.insert(association(options.get(OptionCode::IANA), lease));
    if !lease.servers.is_empty() {
        answers.insert(DhcpOption::DomainNameServers(lease.servers.clone()));
    }
    answer.to_vec().ok()
}

fn server_id(mac: MacAddr) -> DhcpOption {
    let mut duid = LINK_LAYER.to_be_bytes().to_vec();
    duid.extend(ETHERNET.to_be_bytes());
    duid.extend(mac.octets());
    DhcpOption::Unknown(UnknownOption::new(OptionCode::ServerId, duid))
}

/// With the number that the client gave its own.
fn association(asked: Option<&DhcpOption>, lease: &Lease6) -> DhcpOption {
    let id = match asked {
        Some(DhcpOption::IANA(asked)) => asked.id,
        _ => 0,
    };
    let lifetime = u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX);
    let mut opts = dhcproto::v6::DhcpOptions::new();
    opts.insert(DhcpOption::IAAddr(IAAddr {
        addr: lease.address,
        preferred_life: lifetime,
        valid_life: lifetime,
        opts: dhcproto::v6::DhcpOptions::new(),
    }));
    DhcpOption::IANA(IANA {
        id,
        t1: 0,
        t2: 0,
        opts,
    })
}
