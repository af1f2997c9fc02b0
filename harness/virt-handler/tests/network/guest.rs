//! A machine: a namespace with a network card behind each tap.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;
use trunkline_fabric::{Device, End, Hop, MacAddr, NetNs};
use trunkline_virt_handler::network::Attached;

use crate::offload;

/// With the header in front.
const LONGEST: usize = 65536 + 64;

pub(crate) struct Guest {
    pub(crate) netns: NetNs,
    wires: Vec<AbortHandle>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.wires.iter().for_each(AbortHandle::abort);
    }
}

impl Guest {
    /// Its interfaces are called eth0, eth1, … and have the MAC addresses that were chosen for them.
    pub(crate) async fn start(attached: &mut Attached) -> Self {
        let netns = NetNs::create().await.unwrap();
        let mut wires = Vec::new();
        for (number, interface) in attached.interfaces.drain(..).enumerate() {
            let links = netns.links().await.unwrap();
            let mtu = u16::try_from(interface.mtu).unwrap();
            let (card, wire) = (format!("eth{number}"), format!("wire{number}"));
            // A tap's own address cannot be chosen; that of a bridge above it can.
            let end = End::new(&card, MacAddr::new(interface.mac), mtu);
            assert!(links.add_device(Device::Bridge, &end).await.unwrap());
            let other = netns.tap(&wire).await.unwrap();
            let index = links.index(&wire).await.unwrap();
            links.set_mtu(index, mtu).await.unwrap();
            links.attach(&wire, &card).await.unwrap();
            links.up(&wire).await.unwrap();
            links.up(&card).await.unwrap();
            wires.extend(connect(interface.tap, other));
        }
        Self { netns, wires }
    }

    pub(crate) async fn configure(&self, card: &str, address: &str, gateway: Option<&str>) {
        let links = self.netns.links().await.unwrap();
        let index = links.index(card).await.unwrap();
        links
            .add_address(index, address.parse().unwrap())
            .await
            .unwrap();
        if let Some(gateway) = gateway {
            let all = if gateway.contains(':') {
                "::/0"
            } else {
                "0.0.0.0/0"
            };
            let hop = Hop::via(gateway.parse::<IpAddr>().unwrap());
            links
                .add_route(index, all.parse().unwrap(), &hop)
                .await
                .unwrap();
        }
    }
}

/// Carries frames in both directions, headers included.
fn connect(one: OwnedFd, other: OwnedFd) -> [AbortHandle; 2] {
    let ready = |tap: OwnedFd| {
        offload::allow_everything(&tap);
        let flags = OFlag::from_bits_truncate(fcntl(&tap, FcntlArg::F_GETFL).unwrap());
        fcntl(&tap, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
        Arc::new(offload::watch(tap))
    };
    let (one, other) = (ready(one), ready(other));
    [carry(one.clone(), other.clone()), carry(other, one)]
}

fn carry(from: Arc<AsyncFd<OwnedFd>>, to: Arc<AsyncFd<OwnedFd>>) -> AbortHandle {
    tokio::spawn(async move {
        let mut frame = vec![0; LONGEST];
        loop {
            let mut ready = from.readable().await.unwrap();
            let read = ready.try_io(|fd| Ok(nix::unistd::read(fd, &mut frame)?));
            let Ok(Ok(length)) = read else { continue };
            drop(ready);
            loop {
                let mut ready = to.writable().await.unwrap();
                let wrote = ready.try_io(|fd| Ok(nix::unistd::write(fd, &frame[..length])?));
                if let Ok(result) = wrote {
                    // What an interface that is down refuses is lost, as on a wire.
                    let _ = result;
                    break;
                }
            }
        }
    })
    .abort_handle()
}

/// So that tests can say that a tap is one.
pub(crate) fn is_tap(fd: &OwnedFd) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    link.to_str() == Some("/dev/net/tun")
}
