//! DHCP for IPv4: a client.

pub mod client;
mod codec;
mod socket;

pub use self::client::{Client, Event};
pub use self::codec::Lease;
pub use self::socket::Sockets;
