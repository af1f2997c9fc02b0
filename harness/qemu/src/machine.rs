//! What a machine consists of.

use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How many disks and cards can be plugged in: slots of the bridge that every machine has for them.
pub const SLOTS: u8 = 30;

/// The machine type that `q35` stands for.
pub const MACHINE_TYPE: &str = "pc-q35-10.0";

/// A machine, ready to be turned into a command line. It stands still until it is told to `cont`.
///
/// Files are named by paths as QEMU sees them; for an open file that it inherits that is `/proc/self/fd/N`, or
/// `/dev/fdset/N` when it is one of [`inherited`](Self::inherited).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What QEMU calls the guest, such as `default_tiny`.
    pub name: String,
    pub identity: Identity,
    pub accelerator: Accelerator,
    /// Where `/dev/kvm` is, when it is somewhere else.
    pub kvm_device: Option<PathBuf>,
    pub vcpus: u32,
    pub memory: Memory,
    pub boot: Boot,
    /// In this order: `vda`, `vdb`, … . A template has the first one only; a machine restored from it gets the others
    /// with [`plug`](crate::plug).
    pub disks: Vec<Disk>,
    /// In this order: `eth0`, `eth1`, … . A template has none; a machine restored from it gets them with
    /// [`plug`](crate::plug).
    pub nics: Vec<Nic>,
    pub sockets: Sockets,
    /// Open files that QEMU inherits and that are to be used as they are instead of being opened again: each is
    /// `/dev/fdset/N` afterwards, N being its number.
    pub inherited: Vec<RawFd>,
}

/// What the firmware tells the guest of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub uuid: Option<String>,
    pub serial: Option<String>,
    pub manufacturer: Option<String>,
    pub product: Option<String>,
    pub family: Option<String>,
}

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    Kvm,
    /// QEMU's own translator: slower, and works everywhere.
    Tcg,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub mib: u32,
    pub backing: Backing,
}

/// Where the guest's memory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    Anonymous,
    /// In this file, which becomes a template's memory when the machine is saved.
    Recorded(PathBuf),
    /// A private copy, page by page and only when written, of a template's memory. The machine waits for
    /// [`restore`](crate::restore).
    Template(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    Kernel {
        kernel: PathBuf,
        initrd: PathBuf,
        /// Beside those that every guest of ours gets.
        arguments: Vec<String>,
    },
    /// The firmware looks for a boot sector on the first disk.
    Firmware,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Unique within the machine; letters, digits and `-`.
    pub id: String,
    pub image: DiskImage,
    pub bus: Bus,
    /// A CD-ROM drive instead of a disk; not on [`Bus::Virtio`].
    pub cdrom: bool,
    /// What the guest reads as its serial number, at most 20 bytes.
    pub serial: Option<String>,
    /// The firmware tries the lowest first; the first disk, when none has one.
    pub boot_order: Option<u32>,
}

/// Only what is on `Virtio` can be plugged into a machine that runs; see [`Machine::fits_template`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bus {
    Virtio,
    Scsi,
    Sata,
}

/// A file that holds a disk, and what it is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskImage {
    pub path: PathBuf,
    pub format: Format,
    pub read_only: bool,
    /// Of a qcow2 file that holds changes only.
    pub backing: Option<Box<DiskImage>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Raw,
    Qcow2,
}

/// A virtio network card on a tap device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Unique within the machine; letters, digits and `-`.
    pub id: String,
    pub mac: [u8; 6],
    /// Told to the guest.
    pub mtu: Option<u16>,
    /// The tap device's number among the files that QEMU inherits.
    pub tap: RawFd,
    /// Whether the cable is plugged in.
    pub link: bool,
}

/// How QEMU is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// QMP.
    pub monitor: Socket,
    pub serial: Serial,
    /// The channel `org.qemu.guest_agent.0`.
    pub agent: Socket,
    /// The channel `dev.trunkline.init.0`; guests that do not know it leave it alone.
    pub init: Socket,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// QEMU listens there. At most 107 bytes as QEMU sees it.
    Path(PathBuf),
    /// Somebody else listens there, and QEMU connects when it starts.
    Listening(PathBuf),
    /// An end of a socket pair that QEMU inherits.
    Connected(RawFd),
}

/// The first serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial {
    pub socket: Socket,
    /// Everything the guest ever wrote, whether or not somebody was connected.
    pub log: PathBuf,
}

impl Machine {
    /// Whether it waits for a template's state.
    pub fn is_restored(&self) -> bool {
        matches!(self.memory.backing, Backing::Template(_))
    }

    /// Whether a template can be woken up as this machine: whether everything it has can be plugged in.
    pub fn fits_template(&self) -> bool {
        let kernel = matches!(self.boot, Boot::Kernel { .. });
        let virtio = self.disks.iter().all(|disk| disk.bus == Bus::Virtio);
        let plugged = self.disks.len().saturating_sub(1) + self.nics.len();
        kernel && virtio && !self.disks.is_empty() && plugged <= usize::from(SLOTS)
    }
}

impl Format {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}
