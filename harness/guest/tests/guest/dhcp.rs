//! The network beside a guest: two links, and a server on the first that knows one address.

use std::io;
use std::net::Ipv4Addr;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What the server gives to whoever asks.
pub const LEASE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

pub struct Server {
    guests: Sender<u32>,
    connected: Receiver<()>,
}

fn ip(line: &str) {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {why}");
}

impl Server {
    /// A network of its own, and whatever `start` starts beside it.
    pub fn beside(start: impl FnOnce() -> Child) -> (Self, Child) {
        let (guests, guest) = channel::<u32>();
        let (says_connected, connected) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link add lan type veth peer name guest0 address 02:00:00:00:00:01");
            ip("link add other type veth peer name guest1 address 02:00:00:00:00:02");
            ip(&format!("addr add {SERVER}/24 dev lan"));
            let Ok(guest) = guest.recv() else { return };
            ip(&format!("link set guest0 netns {guest} name eth0"));
            ip(&format!("link set guest1 netns {guest} name eth1"));
            ip("link set lan up");
            ip("link set other up");
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.bind_device(Some(b"lan")).unwrap();
            let any: std::net::SocketAddr = (Ipv4Addr::UNSPECIFIED, 67).into();
            socket.bind(&SockAddr::from(any)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            says_connected.send(()).unwrap();
            let _until_nobody_asks = serve(&std::net::UdpSocket::from(socket));
        });
        (Self { guests, connected }, start())
    }

    /// Plugs the links into a guest.
    pub fn connect(&self, guest: u32) {
        self.guests.send(guest).unwrap();
        self.connected.recv().unwrap();
    }
}

fn serve(socket: &std::net::UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 1_500];
    loop {
        let (length, _) = socket.recv_from(&mut buffer)?;
        let request = &buffer[..length];
        // The first option is the kind of message: what can be offered is offered.
        let answer = match request.get(242) {
            Some(1) => 2,
            Some(3) => 5,
            _ => continue,
        };
        let mut reply = request[..240].to_vec();
        reply[0] = 2;
        reply[16..20].copy_from_slice(&LEASE.octets());
        reply.extend_from_slice(&[53, 1, answer, 54, 4]);
        reply.extend_from_slice(&SERVER.octets());
        reply.extend_from_slice(&[1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 14, 16, 3, 4]);
        reply.extend_from_slice(&SERVER.octets());
        reply.extend_from_slice(&[6, 4, 10, 9, 0, 53, 26, 2]);
        reply.extend_from_slice(&1_300u16.to_be_bytes());
        reply.push(255);
        socket.send_to(&reply, (Ipv4Addr::BROADCAST, 68))?;
    }
}
