//! KubeVirt as an installation: its namespace, the KubeVirt object, and what its nodes can do.

mod installation;
mod nodes;

pub(super) use installation::run as installation;
pub(super) use nodes::{run as nodes, vendor};
