//! Machines outside of a lab: QEMU in the launcher's root file system, as the host side runs it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses its part"
)]

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use trunkline_qemu::{
    Accelerator, Backing, Boot, Bus, Disk, DiskImage, Format, GuestAgent, Identity, Machine,
    Memory, Nic, Qmp, Serial, Socket, Sockets, command_line, plug, restore,
};
use trunkline_userland::contain::{self, Contained, Stop, StopOnDrop};
use trunkline_userland::machine::{GuestImage, Template};

/// Both ends of what QEMU inherits.
struct Pair {
    ours: UnixStream,
    theirs: OwnedFd,
}

impl Pair {
    fn new() -> Self {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        Self {
            ours: UnixStream::from_std(ours).unwrap(),
            theirs: inherited(theirs.into()),
        }
    }
}

/// Survives the programs between us and QEMU.
pub fn inherited(file: OwnedFd) -> OwnedFd {
    nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    file
}

/// A machine that runs.
pub struct Running {
    pub qmp: Qmp,
    pub agent: GuestAgent,
    pub serial: BufReader<UnixStream>,
    pub init: BufReader<UnixStream>,
    pub started: Instant,
    /// Of the file systems that the machine writes to.
    pub place: tempfile::TempDir,
    _stop: StopOnDrop,
}

/// What to start it with.
pub struct Start<'a> {
    pub launcher: &'a Path,
    pub boot: Boot,
    pub disks: Vec<Disk>,
    pub taps: Vec<OwnedFd>,
    pub template: Option<&'a Template>,
    pub memory_mib: u32,
}

pub fn raw(path: &Path, read_only: bool) -> DiskImage {
    DiskImage {
        path: path.to_path_buf(),
        format: Format::Raw,
        read_only,
        backing: None,
    }
}

pub fn disk(id: &str, image: DiskImage) -> Disk {
    Disk {
        id: id.to_owned(),
        image,
        bus: Bus::Virtio,
        cdrom: false,
        serial: None,
        boot_order: None,
    }
}

pub fn kernel(guest: &GuestImage, arguments: &[&str]) -> Boot {
    Boot::Kernel {
        kernel: guest.kernel.clone(),
        initrd: guest.initrd.clone(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
    }
}

/// Where QEMU finds a file of the host.
fn seen(path: &Path) -> PathBuf {
    Path::new("/mnt/in").join(path.strip_prefix("/").unwrap())
}

fn machine(what: Start<'_>, nics: Vec<Nic>, sockets: Sockets) -> Machine {
    let mut disks = what.disks;
    for disk in &mut disks {
        disk.image.path = seen(&disk.image.path);
        if let Some(backing) = &mut disk.image.backing {
            backing.path = seen(&backing.path);
        }
    }
    let boot = match what.boot {
        Boot::Kernel {
            kernel,
            initrd,
            arguments,
        } => Boot::Kernel {
            kernel: seen(&kernel),
            initrd: seen(&initrd),
            arguments,
        },
        Boot::Firmware => Boot::Firmware,
    };
    Machine {
        name: "default_test".to_owned(),
        identity: Identity::default(),
        accelerator: what
            .template
            .map_or(Accelerator::Tcg, |template| template.accelerator),
        kvm_device: None,
        vcpus: 1,
        memory: Memory {
            mib: what.memory_mib,
            backing: match what.template {
                Some(template) => Backing::Template(seen(&template.ram)),
                None => Backing::Anonymous,
            },
        },
        boot,
        disks,
        nics,
        sockets,
        inherited: Vec::new(),
    }
}

/// Starts it, with all of the host's files under `/mnt/in`.
pub async fn start(mut what: Start<'_>) -> Running {
    let place = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let template = what.template;
    let [monitor, serial, agent, init] = [(); 4].map(|()| Pair::new());
    let taps: Vec<_> = std::mem::take(&mut what.taps)
        .into_iter()
        .map(inherited)
        .collect();
    let nics = taps.iter().zip(0u8..).map(|(tap, number)| Nic {
        id: format!("n{number}"),
        mac: [2, 0, 0, 0, 0, number],
        mtu: Some(1400),
        tap: tap.as_raw_fd(),
        link: true,
    });
    let connected = |pair: &Pair| Socket::Connected(pair.theirs.as_raw_fd());
    let sockets = Sockets {
        monitor: connected(&monitor),
        serial: Serial {
            socket: connected(&serial),
            log: PathBuf::from("/mnt/out/console"),
        },
        agent: connected(&agent),
        init: connected(&init),
    };
    let launcher = what.launcher.to_owned();
    let machine = machine(what, nics.collect(), sockets);
    let script = "mount --rbind / \"$1/mnt/in\" && mount --bind \"$2\" \"$1/mnt/out\" && \
         mount --rbind /dev \"$1/dev\" && mount -t proc proc \"$1/proc\" && root=$1 && shift 2 && \
         exec chroot \"$root\" \"$@\"";
    let argv: Vec<OsString> = ["sh", "-c", script, "sh"]
        .map(OsString::from)
        .into_iter()
        .chain([
            launcher.into_os_string(),
            place.path().as_os_str().to_owned(),
        ])
        .chain(command_line(&machine).into_iter().map(OsString::from))
        .collect();
    let stop = Stop::default();
    let on_drop = stop.on_drop();
    let ends = [monitor.theirs, serial.theirs, agent.theirs, init.theirs];
    let (spawned, has_spawned) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let identity = contain::Identity::current().unwrap();
        let mut contained = Contained::start(&identity, &argv, &[], &stop).unwrap();
        drop(ends);
        drop(taps);
        spawned.send(()).unwrap();
        let mut said = String::new();
        if let Some(stderr) = &mut contained.stderr {
            stderr.read_to_string(&mut said).unwrap();
        }
        contained.wait().unwrap();
        if !said.is_empty() {
            eprintln!("QEMU: {said}");
        }
    });
    has_spawned.await.unwrap();
    let qmp = Qmp::connect(monitor.ours).await.unwrap();
    if let Some(template) = template {
        restore(&qmp, &seen(&template.state)).await.unwrap();
        plug(&qmp, &machine).await.unwrap();
    }
    qmp.run("cont", serde_json::json!({})).await.unwrap();
    Running {
        qmp,
        agent: GuestAgent::new(agent.ours),
        serial: BufReader::new(serial.ours),
        init: BufReader::new(init.ours),
        started,
        place,
        _stop: on_drop,
    }
}

impl Running {
    /// Tells the guest to become somebody.
    pub async fn go(&mut self, nics: u32, disks: u32) {
        let epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let go = trunkline_guest::init::ToGuest::Go(trunkline_guest::init::Go {
            epoch_ns: u64::try_from(epoch.as_nanos()).unwrap(),
            seed: "ab".repeat(64),
            nics,
            disks,
        });
        let line = trunkline_guest::init::to_line(&go);
        self.init
            .get_mut()
            .write_all(line.as_bytes())
            .await
            .unwrap();
    }

    /// The next line of the guest's init.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.init.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(120), read)
            .await
            .expect("the guest's init says nothing")
            .unwrap();
        line
    }

    /// Reads the serial line until it says something.
    pub async fn until(&mut self, text: &str) -> String {
        let mut said = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&said).contains(text) {
                let mut bytes = [0; 4096];
                let read = self.serial.read(&mut bytes).await.unwrap();
                assert_ne!(read, 0, "the serial line is closed");
                said.extend_from_slice(&bytes[..read]);
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(120), read).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            waited.is_ok(),
            "no {text:?} within two minutes, only {said:?}"
        );
        said
    }

    pub async fn say(&mut self, text: &str) {
        self.serial
            .get_mut()
            .write_all(text.as_bytes())
            .await
            .unwrap();
    }
}

/// Of QEMU's process: shared pages counted by their share.
pub fn memory_mib(name_of: &Path) -> u64 {
    let marker = name_of.as_os_str().as_encoded_bytes().to_vec();
    let processes = std::fs::read_dir("/proc").unwrap();
    let pss = processes.filter_map(|process| {
        let process = process.ok()?.path();
        let mounts = std::fs::read(process.join("mountinfo")).ok()?;
        let ours = mounts.windows(marker.len()).any(|window| window == marker);
        let qemu = std::fs::read_to_string(process.join("comm"))
            .ok()?
            .starts_with("qemu");
        let smaps = std::fs::read_to_string(process.join("smaps_rollup")).ok()?;
        let line = smaps.lines().find(|line| line.starts_with("Pss:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        (ours && qemu).then_some(kib / 1024)
    });
    pss.max().unwrap_or_default()
}
