//! Sockets of DHCP servers. They are bound to their bridge, so that servers of one pod do not get in each other's way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use dhcproto::v4::DhcpOptions;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use trunkline_fabric::{MacAddr, NetNs};

use super::super::NetworkError;
use super::{Lease, Lease6, answer, answer6};

const PORT: u16 = 67;
const PORT_V6: u16 = 547;
/// Where clients of IPv6 look for servers.
const SERVERS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// No question is longer than a frame.
const LONGEST: usize = 2048;

/// A server, which ends with this.
#[derive(Debug)]
pub(crate) struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn v4(
    netns: &NetNs,
    bridge: &str,
    lease: &Lease,
    options: DhcpOptions,
) -> Result<Server, NetworkError> {
    let socket = open(netns, bridge, |device| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(device.as_bytes()))?;
        socket.set_broadcast(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
        Ok(socket)
    })
    .await?;
    let lease = lease.clone();
    Ok(start(socket, move |packet, from| {
        let answer = answer::to(packet, &lease, &options)?;
        let nowhere = from.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let to = if nowhere || answer.broadcast {
            SocketAddr::from((Ipv4Addr::BROADCAST, from.port()))
        } else {
            from
        };
        Some((answer.packet, to))
    }))
}

pub(super) async fn v6(
    netns: &NetNs,
    bridge: &str,
    lease: &Lease6,
) -> Result<Server, NetworkError> {
    let links = netns.links().await?;
    let index = links.index(bridge).await?;
    let mac = links
        .list()
        .await?
        .into_iter()
        .find(|link| link.index == index)
        .map_or(MacAddr::new([0; 6]), |link| link.mac);
    let socket = open(netns, bridge, move |device| {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(device.as_bytes()))?;
        socket.set_only_v6(true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT_V6)).into())?;
        socket.join_multicast_v6(&SERVERS_V6, index)?;
        Ok(socket)
    })
    .await?;
    let lease = lease.clone();
    Ok(start(socket, move |packet, from| {
        Some((answer6::to(packet, mac, &lease)?, from))
    }))
}

async fn open(
    netns: &NetNs,
    bridge: &str,
    open: impl FnOnce(&str) -> io::Result<Socket> + Send + 'static,
) -> Result<UdpSocket, NetworkError> {
    let failed = |source| NetworkError::Dhcp {
        bridge: bridge.to_owned(),
        source,
    };
    let device = bridge.to_owned();
    let opened = netns.run(move || {
        let socket = open(&device)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    let socket = opened.await?.map_err(failed)?;
    UdpSocket::from_std(socket.into()).map_err(failed)
}

fn start(
    socket: UdpSocket,
    answer: impl Fn(&[u8], SocketAddr) -> Option<(Vec<u8>, SocketAddr)> + Send + 'static,
) -> Server {
    let socket = Arc::new(socket);
    let serving = tokio::spawn(async move {
        let mut buffer = vec![0; LONGEST];
        loop {
            // The namespace may have lost the interface: then there is nobody left to answer.
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "a DHCP server ends");
                    return;
                }
            };
            let Some((packet, to)) = answer(&buffer[..length], from) else {
                continue;
            };
            if let Err(error) = socket.send_to(&packet, to).await {
                tracing::debug!(%error, %to, "a DHCP answer was not sent");
            }
        }
    });
    Server(serving.abort_handle())
}
