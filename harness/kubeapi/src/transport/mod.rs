//! How requests get to the server: TLS sockets and in-process clients.

mod identity;
pub(crate) mod in_process;
pub mod pki;
pub(crate) mod serve;
