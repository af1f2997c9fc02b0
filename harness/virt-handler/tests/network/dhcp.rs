//! A DHCP client, and a DHCP server that is not ours.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dhcproto::v4::{DhcpOption, DhcpOptions, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, v6};
use nix::sys::socket::{setsockopt, sockopt};
use trunkline_fabric::NetNs;

/// Long enough for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for an answer that would have come.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

fn socket(device: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    setsockopt(&socket, sockopt::BindToDevice, &device.into()).unwrap();
    socket.set_broadcast(true).unwrap();
    socket
}

/// A question as a client without an address asks it.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) kind: MessageType,
    pub(crate) mac: [u8; 6],
    pub(crate) wants: Option<Ipv4Addr>,
    pub(crate) xid: u32,
}

impl Question {
    pub(crate) fn new(kind: MessageType, mac: [u8; 6]) -> Self {
        Self {
            kind,
            mac,
            wants: None,
            xid: rand::random(),
        }
    }

    pub(crate) fn wanting(mut self, address: &str) -> Self {
        self.wants = Some(address.parse().unwrap());
        self
    }

    fn encode(&self) -> Vec<u8> {
        let mut message = Message::default();
        let mut options = DhcpOptions::new();
        options.insert(DhcpOption::MessageType(self.kind));
        if let Some(address) = self.wants {
            options.insert(DhcpOption::RequestedIpAddress(address));
        }
        // Asks for less than it gets.
        options.insert(DhcpOption::ParameterRequestList(vec![
            OptionCode::SubnetMask,
        ]));
        message
            .set_opcode(Opcode::BootRequest)
            .set_xid(self.xid)
            .set_flags(Flags::default().set_broadcast())
            .set_chaddr(&self.mac)
            .set_opts(options);
        message.to_vec().unwrap()
    }
}

/// Asks on a card of the machine; `None` if nobody answers in time.
pub(crate) async fn ask(
    guest: &NetNs,
    card: &str,
    question: Question,
    patience: Duration,
) -> Option<Message> {
    let card = card.to_owned();
    guest
        .run(move || {
            let client = socket(&card, 68);
            client.set_read_timeout(Some(patience)).unwrap();
            let server = SocketAddr::from((Ipv4Addr::BROADCAST, 67));
            client.send_to(&question.encode(), server).unwrap();
            let mut buffer = [0; 2048];
            loop {
                let length = client.recv(&mut buffer).ok()?;
                let answer = Message::decode(&mut Decoder::new(&buffer[..length])).unwrap();
                if answer.xid() == question.xid {
                    return Some(answer);
                }
            }
        })
        .await
        .unwrap()
}

/// The whole exchange, as a client does it.
pub(crate) async fn lease(guest: &NetNs, card: &str, mac: [u8; 6]) -> Message {
    let discover = Question::new(MessageType::Discover, mac);
    let offer = ask(guest, card, discover, PATIENCE).await.unwrap();
    assert_eq!(offer.opts().msg_type(), Some(MessageType::Offer));
    let mut request = Question::new(MessageType::Request, mac);
    request.wants = Some(offer.yiaddr());
    let ack = ask(guest, card, request, PATIENCE).await.unwrap();
    assert_eq!(ack.opts().msg_type(), Some(MessageType::Ack));
    let same = |message: &Message| {
        let mut options = message.opts().clone();
        options.remove(OptionCode::MessageType);
        (message.yiaddr(), options)
    };
    assert_eq!(same(&offer), same(&ack));
    ack
}

/// Asks for an IPv6 address: which one comes, under which number, and for how many seconds.
pub(crate) async fn solicit(guest: &NetNs, card: &str, id: u32) -> (Ipv6Addr, u32, u32) {
    let card = card.to_owned();
    guest
        .run(move || {
            let client = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 546)).unwrap();
            setsockopt(&client, sockopt::BindToDevice, &card.into()).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut question = v6::Message::new(v6::MessageType::Solicit);
            let options = question.opts_mut();
            options.insert(v6::DhcpOption::ClientId(vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 7]));
            options.insert(v6::DhcpOption::IANA(v6::IANA {
                id,
                t1: 0,
                t2: 0,
                opts: v6::DhcpOptions::new(),
            }));
            let servers: SocketAddr = "[ff02::1:2]:547".parse().unwrap();
            let mut buffer = [0; 2048];
            let packet = question.to_vec().unwrap();
            // The kernel gives a card its link-local address when it sees the carrier, which it does not hurry to.
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = client.send_to(&packet, servers) {
                assert!(Instant::now() < deadline, "{error}");
                std::thread::sleep(Duration::from_millis(20));
            }
            let length = client.recv(&mut buffer).unwrap();
            let answer = v6::Message::decode(&mut Decoder::new(&buffer[..length])).unwrap();
            assert_eq!(answer.msg_type(), v6::MessageType::Advertise);
            assert_eq!(answer.xid(), question.xid());
            let Some(v6::DhcpOption::IANA(given)) = answer.opts().get(v6::OptionCode::IANA) else {
                panic!("{answer:?}")
            };
            let Some(v6::DhcpOption::IAAddr(address)) = given.opts.get(v6::OptionCode::IAAddr)
            else {
                panic!("{answer:?}")
            };
            (address.addr, given.id, address.valid_life)
        })
        .await
        .unwrap()
}

/// A server somewhere in a namespace that answers one question with an address; it sees what was asked.
pub(crate) fn foreign_server(
    outside: &NetNs,
    device: &str,
    address: Ipv4Addr,
) -> tokio::task::JoinHandle<[u8; 6]> {
    let (outside, device) = (outside.clone(), device.to_owned());
    tokio::spawn(async move {
        outside
            .run(move || {
                let server = socket(&device, 67);
                server.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut buffer = [0; 2048];
                let length = server.recv(&mut buffer).unwrap();
                let asked = Message::decode(&mut Decoder::new(&buffer[..length])).unwrap();
                let mut answer = Message::default();
                let mut options = DhcpOptions::new();
                options.insert(DhcpOption::MessageType(MessageType::Offer));
                answer
                    .set_opcode(Opcode::BootReply)
                    .set_xid(asked.xid())
                    .set_yiaddr(address)
                    .set_chaddr(asked.chaddr())
                    .set_opts(options);
                let client = SocketAddr::from((Ipv4Addr::BROADCAST, 68));
                server.send_to(&answer.to_vec().unwrap(), client).unwrap();
                asked.chaddr().try_into().unwrap()
            })
            .await
            .unwrap()
    })
}

/// What an answer says, as text: one line per option, sorted by number.
pub(crate) fn said(message: &Message) -> Vec<String> {
    message
        .opts()
        .iter()
        .map(|(_, option)| match option {
            DhcpOption::DomainSearch(names) => {
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                format!("DomainSearch({})", names.join(" "))
            }
            option => format!("{option:?}"),
        })
        .collect()
}
