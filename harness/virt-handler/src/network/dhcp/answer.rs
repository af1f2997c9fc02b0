//! A DHCP question and its answer.

use dhcproto::v4::borrowed::Message as Question;
use dhcproto::v4::{
    DhcpOption, DhcpOptions, Encodable, Flags, HType, Message, MessageType, Opcode, OptionCode,
};

use super::Lease;

/// BOOTP relays of old drop what is shorter.
const SHORTEST: usize = 272;

/// Ethernet.
const HARDWARE_ADDRESS: u8 = 6;

/// An encoded answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) packet: Vec<u8>,
    /// The client cannot be reached at an address of its own yet.
    pub(super) broadcast: bool,
}

/// Whatever the client asks for, it gets what is planned for it. Nothing is answered to strangers, and nothing to those
/// who give their address back.
pub(super) fn to(packet: &[u8], lease: &Lease, options: &DhcpOptions) -> Option<Answer> {
    let question = Question::new(packet).ok()?;
    if question.opcode() != Opcode::BootRequest || question.hlen() != HARDWARE_ADDRESS {
        return None;
    }
    let client = question.chaddr();
    if lease.client.is_some_and(|mac| mac.octets() != client) {
        return None;
    }
    let kind = match message_type(&question)? {
        MessageType::Discover => MessageType::Offer,
        MessageType::Request => MessageType::Ack,
        _ => return None,
    };
    let mut message = Message::default();
    let mut options = options.clone();
    options.insert(DhcpOption::MessageType(kind));
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_xid(question.xid())
        .set_flags(question.flags())
        .set_yiaddr(lease.address)
        .set_giaddr(question.giaddr())
        .set_chaddr(client)
        .set_opts(options);
    let mut packet = message.to_vec().ok()?;
    packet.resize(packet.len().max(SHORTEST), 0);
    Some(Answer {
        packet,
        broadcast: Flags::from(u16::from(question.flags())).broadcast(),
    })
}

fn message_type(question: &Question<'_>) -> Option<MessageType> {
    let mut options = question.opts();
    let found = options.find(|option| option.code() == OptionCode::MessageType)?;
    match *found.data() {
        [code] => Some(MessageType::from(code)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::{Decodable, Decoder};
    use trunkline_fabric::MacAddr;
    use trunkline_kubevirt::types;

    use super::super::super::resolver::Resolver;
    use super::super::{Told, options};
    use super::*;

    const CLIENT: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 7]);

    fn lease() -> Lease {
        Lease {
            client: Some(CLIENT),
            address: [10, 0, 2, 2].into(),
            prefix: 24,
            server: [10, 0, 2, 1].into(),
            router: None,
            routes: Vec::new(),
            told: Told {
                mtu: 1400,
                resolver: Resolver::read("", None),
                hostname: "vm".to_owned(),
                options: types::DhcpOptions::default(),
            },
        }
    }

    fn question(kind: MessageType) -> Vec<u8> {
        let mut message = Message::default();
        let mut options = DhcpOptions::new();
        options.insert(DhcpOption::MessageType(kind));
        message
            .set_xid(0x0102_0304)
            .set_giaddr([10, 9, 9, 9])
            .set_chaddr(&CLIENT.octets())
            .set_opts(options);
        message.to_vec().unwrap()
    }

    fn answer(packet: &[u8]) -> Option<Answer> {
        to(packet, &lease(), &options::of(&lease()).unwrap())
    }

    #[test]
    fn belongs_to_its_question() {
        let answer = answer(&question(MessageType::Discover)).unwrap();
        assert!(!answer.broadcast);
        assert!(answer.packet.len() >= SHORTEST);
        let message = Message::decode(&mut Decoder::new(&answer.packet)).unwrap();
        assert_eq!(message.opcode(), Opcode::BootReply);
        assert_eq!(message.xid(), 0x0102_0304);
        assert_eq!(message.giaddr().to_string(), "10.9.9.9");
        assert_eq!(message.chaddr(), CLIENT.octets());
        assert_eq!(message.opts().msg_type(), Some(MessageType::Offer));
    }

    #[test]
    fn is_not_given_to_strangers_and_servers() {
        let mut other = question(MessageType::Discover);
        other[33] = 8;
        assert_eq!(answer(&other), None);
        let mut reply = question(MessageType::Discover);
        reply[0] = 2;
        assert_eq!(answer(&reply), None);
        assert_eq!(answer(&question(MessageType::Ack)), None);
    }

    /// Machines are not to be trusted.
    #[test]
    fn needs_a_whole_question() {
        let whole = question(MessageType::Request);
        assert!(answer(&whole).is_some());
        for length in 0..240 {
            assert_eq!(answer(&whole[..length]), None, "{length} bytes");
        }
        for position in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[position] = byte;
                // Whatever it is, it must not end the server.
                let _ = answer(&broken);
            }
        }
    }
}
