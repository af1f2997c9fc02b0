//! Devices without a wire, and the ports of bridges.

use rtnetlink::packet_route::link::InfoKind;
use rtnetlink::{LinkBridgePort, LinkMessageBuilder, LinkUnspec};

use super::{End, Links, errno};
use crate::{Error, MacAddr, Result};
use nix::errno::Errno;

/// Kinds of devices that need no other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A learning switch, with what the kernel thinks right for one.
    Bridge,
    /// Takes everything and sends nothing. Not every kernel has it.
    Dummy,
}

impl Device {
    fn kind(self) -> InfoKind {
        match self {
            Self::Bridge => InfoKind::Bridge,
            Self::Dummy => InfoKind::Dummy,
        }
    }
}

impl Links {
    /// A device that is down. `false` if the kernel does not know its kind.
    pub async fn add_device(&self, device: Device, end: &End<'_>) -> Result<bool> {
        let message = end
            .fill(LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(
                device.kind(),
            ))
            .build();
        match self.0.link().add(message).execute().await {
            Err(error) if errno(&error) == Some(Errno::EOPNOTSUPP) => Ok(false),
            result => {
                let action = || format!("make the interface {}", end.name);
                result.map_err(Error::netlink(action)).map(|()| true)
            }
        }
    }

    /// Gives an interface another name and address and makes it a port of a bridge; it ends switched on. The bridge
    /// does not learn who is behind it.
    pub async fn enslave(&self, index: u32, name: &str, mac: MacAddr, bridge: &str) -> Result<()> {
        let action = || format!("make {name} a port of {bridge}");
        let controller = self.index(bridge).await?;
        // Kernels before 6.2 rename only what is down.
        self.set(LinkUnspec::new_with_index(index).down().build(), action)
            .await?;
        let moved = LinkUnspec::new_with_index(index)
            .name(name)
            .address(mac.octets().to_vec())
            .controller(controller)
            .build();
        self.set(moved, action).await?;
        let ignorant = LinkBridgePort::new(index).learning(false).build();
        let request = self.0.link().set_port(ignorant);
        request.execute().await.map_err(Error::netlink(action))?;
        self.set(LinkUnspec::new_with_index(index).up().build(), action)
            .await
    }

    pub async fn set_mtu(&self, index: u32, mtu: u16) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu.into()).build();
        self.set(message, || format!("set an MTU of {mtu}")).await
    }
}
