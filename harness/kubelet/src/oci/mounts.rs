//! What every container finds mounted, and how volumes are.

use std::path::{Path, PathBuf};

use super::spec::Mount;

pub(super) const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

pub(super) const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The group that owns terminals in every distribution.
pub(crate) const TTY_GROUP: u32 = 5;

fn special(destination: &str, kind: &'static str, options: &[&str]) -> Mount {
    Mount {
        destination: PathBuf::from(destination),
        kind,
        source: PathBuf::from(kind),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
    }
}

/// No cgroup file system: there are no cgroups to show.
pub(super) fn base(privileged: bool, tty_group: bool) -> Vec<Mount> {
    let mut pts = special(
        "/dev/pts",
        "devpts",
        &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
        ],
    );
    if tty_group {
        pts.options.push(format!("gid={TTY_GROUP}"));
    }
    let sys = if privileged { "rw" } else { "ro" };
    vec![
        special("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        special(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        pts,
        special("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        special("/sys", "sysfs", &["nosuid", "noexec", "nodev", sys]),
    ]
}

/// A volume as a container mounts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeMount {
    pub source: PathBuf,
    pub destination: PathBuf,
    pub read_only: bool,
    pub propagation: Propagation,
}

/// `mountPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    None,
    HostToContainer,
    Bidirectional,
}

impl Propagation {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("HostToContainer") => Self::HostToContainer,
            Some("Bidirectional") => Self::Bidirectional,
            _ => Self::None,
        }
    }
}

impl From<VolumeMount> for Mount {
    fn from(volume: VolumeMount) -> Self {
        let access = if volume.read_only { "ro" } else { "rw" };
        let propagation = match volume.propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        Self {
            destination: volume.destination,
            kind: "bind",
            source: volume.source,
            options: ["rbind", propagation, access].map(str::to_owned).to_vec(),
        }
    }
}

/// One file of ours inside a container.
pub(crate) fn file_mount(source: &Path, destination: &str, read_only: bool) -> Mount {
    VolumeMount {
        source: source.to_owned(),
        destination: PathBuf::from(destination),
        read_only,
        propagation: Propagation::None,
    }
    .into()
}
