//! Connections into pods: exec, attach, logs, port-forward.

pub mod exec;
pub mod logs;
pub mod pod;
pub mod port_forward;
pub mod websocket;
