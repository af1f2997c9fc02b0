//! QEMU: its command line, its monitor, its guest agent, and machines restored from a template. Knows no Kubernetes.

mod agent;
mod command;
mod error;
mod machine;
mod plug;
mod qmp;
mod template;

pub use agent::{
    Address, AgentCommand, AgentError, AgentInfo, DiskAddress, Filesystem, GuestAgent, Interface,
    OsInfo, Shutdown, Timezone, User,
};
pub use command::{PROGRAM, command_line};
pub use error::{Failure, QmpError};
pub use machine::{
    Accelerator, Backing, Boot, Bus, Disk, DiskImage, Format, Identity, MACHINE_TYPE, Machine,
    Memory, Nic, SLOTS, Serial, Socket, Sockets,
};
pub use plug::plug;
pub use qmp::{Event, Events, Qmp};
pub use template::{restore, save};
