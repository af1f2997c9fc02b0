//! Connections into pods: exec, attach, logs, port-forward, proxies.

pub mod exec;
pub mod logs;
pub mod pod;
pub mod port_forward;
pub mod proxy;
mod spdy;
pub mod upgrade;
mod websocket;
