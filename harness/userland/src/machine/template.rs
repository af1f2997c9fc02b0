//! Templates: a guest is booted once, saved when it waits for its identity, and woken as often as one likes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use trunkline_guest::init::{FromGuest, TEMPLATE, VERSION};
use trunkline_qemu::{
    Accelerator, Backing, Boot, Bus, Disk, DiskImage, Format, Identity, Machine, Memory, Qmp,
    Serial, Socket, Sockets, command_line, save,
};

use super::qemu::{self, IN, OUT, Running};
use super::{GuestImage, MachineError, Shape, Template, prune};
use crate::cache::Cache;
use crate::rootfs::RootFs;

/// A guest that has not come up by then never will; it is a hundred times what it takes.
const LIMIT: Duration = Duration::from_secs(300);

/// Marks a template that is complete.
const RECORD: &str = "template.json";

/// How much of the console an error shows.
const LAST_WORDS: usize = 600;

/// What the mark holds.
#[derive(Serialize, Deserialize)]
struct Record {
    shape: Shape,
    accelerator: Accelerator,
    /// Of the file with the state, to notice one that was cut short.
    state_bytes: u64,
}

/// What a template is made from.
pub struct Wanted<'a> {
    pub cache: &'a Cache,
    pub guest: &'a GuestImage,
    pub launcher: &'a RootFs,
    pub accelerator: Accelerator,
    pub shape: Shape,
}

impl Wanted<'_> {
    /// Finds the template or makes it. Two processes may ask at once: one makes it, the other waits.
    pub async fn ensure(&self) -> Result<Template, MachineError> {
        let machine = self.machine()?;
        let place = self.place(&machine);
        if let Some(found) = self.look(&place) {
            return Ok(found);
        }
        let directory = self.cache.root().join("machines");
        fs::create_dir_all(&directory).map_err(MachineError::io("create", &directory))?;
        let _one_maker = lock(place.with_extension("lock")).await?;
        if let Some(found) = self.look(&place) {
            return Ok(found);
        }
        let unfinished = place.with_extension("building");
        for leftover in [&unfinished, &place] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).map_err(MachineError::io("remove", leftover))?;
            }
        }
        fs::create_dir(&unfinished).map_err(MachineError::io("create", &unfinished))?;
        let made = self.make(&machine, &unfinished).await;
        if let Err(error) = made {
            // The error is what matters; the next attempt removes what this leaves.
            let _left = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        fs::rename(&unfinished, &place).map_err(MachineError::io("rename", &unfinished))?;
        prune::unused(&directory, RECORD, SystemTime::now())?;
        Ok(self.template(&place))
    }

    fn template(&self, place: &Path) -> Template {
        Template {
            ram: place.join("ram"),
            state: place.join("state"),
            shape: self.shape,
            accelerator: self.accelerator,
        }
    }

    fn look(&self, place: &Path) -> Option<Template> {
        let path = place.join(RECORD);
        let record: Record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let template = self.template(place);
        let ram = fs::metadata(&template.ram).ok()?.len();
        let state = fs::metadata(&template.state).ok()?.len();
        let whole = ram == u64::from(self.shape.memory_mib) << 20 && state == record.state_bytes;
        if !whole {
            return None;
        }
        // Only tells when it was used last.
        let _unmarked = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(template)
    }

    /// Named by everything that a copy must have in common with it.
    fn place(&self, machine: &Machine) -> PathBuf {
        let mut hash = Sha256::new();
        let parts = [self.guest.key.as_str(), self.launcher.key.as_str()];
        for part in parts
            .into_iter()
            .chain(command_line(machine).iter().map(String::as_str))
        {
            hash.update(part);
            hash.update([0]);
        }
        let key = hex::encode(hash.finalize());
        self.cache.root().join("machines").join(&key[..16])
    }

    /// As seen from inside the launcher's root.
    fn machine(&self) -> Result<Machine, MachineError> {
        let guests = self.cache.root().join("guests");
        let inside = |path: &Path| match path.strip_prefix(&guests) {
            Ok(rest) => Ok(Path::new(IN).join(rest)),
            Err(_) => Err(MachineError::Kernel(format!(
                "{} is not in the cache",
                path.display()
            ))),
        };
        let out = |name: &str| Path::new(OUT).join(name);
        Ok(Machine {
            name: "template".to_owned(),
            identity: Identity::default(),
            accelerator: self.accelerator,
            kvm_device: None,
            vcpus: self.shape.vcpus,
            memory: Memory {
                mib: self.shape.memory_mib,
                backing: Backing::Recorded(out("ram")),
            },
            boot: Boot::Kernel {
                kernel: inside(&self.guest.kernel)?,
                initrd: inside(&self.guest.initrd)?,
                arguments: vec![TEMPLATE.to_owned()],
            },
            disks: vec![Disk {
                id: "root".to_owned(),
                image: DiskImage {
                    path: inside(&self.guest.root)?,
                    format: Format::Raw,
                    read_only: true,
                    backing: None,
                },
                bus: Bus::Virtio,
                cdrom: false,
                serial: None,
                boot_order: None,
            }],
            nics: Vec::new(),
            sockets: Sockets {
                monitor: Socket::Listening(out("monitor")),
                serial: Serial {
                    socket: Socket::Path(out("serial")),
                    log: out("console"),
                },
                agent: Socket::Path(out("agent")),
                init: Socket::Listening(out("init")),
            },
            inherited: Vec::new(),
        })
    }

    async fn make(&self, machine: &Machine, place: &Path) -> Result<(), MachineError> {
        let monitor = qemu::listen(place, "monitor")?;
        let init = qemu::listen(place, "init")?;
        let guests = self.cache.root().join("guests");
        let command = command_line(machine);
        let mut running = qemu::start(&self.launcher.path, &guests, place, command)?;
        let monitor = qemu::accept(&monitor, &mut running).await?;
        let init = qemu::accept(&init, &mut running).await?;
        let qmp = Qmp::connect(monitor).await?;
        qmp.run("cont", json!({})).await?;
        let waited = tokio::time::timeout(LIMIT, until_ready(init, &mut running)).await;
        let console = || last_words(&place.join("console"));
        match waited {
            Ok(Ok(VERSION)) => {}
            Ok(Ok(other)) => return Err(MachineError::Version(other)),
            // A guest that panics takes QEMU with it, and says why on its console.
            Ok(Err(MachineError::Ended(said))) => {
                return Err(MachineError::Ended(format!("{}{said}", console())));
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                return Err(MachineError::NotReady {
                    limit: LIMIT,
                    console: console(),
                });
            }
        }
        save(&qmp, &Path::new(OUT).join("state")).await?;
        qmp.run("quit", json!({})).await?;
        running.ended().await?;
        self.complete(place)
    }

    /// Leaves what a template consists of, on the disk, and readable for whoever runs QEMU.
    fn complete(&self, place: &Path) -> Result<(), MachineError> {
        // QEMU has removed those where it listened itself.
        for socket in ["monitor", "init"] {
            let path = place.join(socket);
            fs::remove_file(&path).map_err(MachineError::io("remove", &path))?;
        }
        let template = self.template(place);
        for path in [&template.ram, &template.state] {
            use std::os::unix::fs::PermissionsExt;
            let kept = File::open(path).and_then(|file| {
                file.set_permissions(fs::Permissions::from_mode(0o644))?;
                file.sync_all()
            });
            kept.map_err(MachineError::io("keep", path))?;
        }
        let state =
            fs::metadata(&template.state).map_err(MachineError::io("read", &template.state))?;
        let record = Record {
            shape: self.shape,
            accelerator: self.accelerator,
            state_bytes: state.len(),
        };
        let path = place.join(RECORD);
        let written = serde_json::to_vec(&record)
            .map_err(std::io::Error::from)
            .and_then(|text| fs::write(&path, text));
        written.map_err(MachineError::io("write", path))
    }
}

/// The version of its protocol that the guest says when it waits.
async fn until_ready(init: UnixStream, running: &mut Running) -> Result<u32, MachineError> {
    let mut lines = BufReader::new(init).lines();
    let said = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(FromGuest::Ready(ready)) = serde_json::from_str(&line) {
                return ready.version;
            }
        }
        // QEMU closes the channel when it ends; why, it says itself.
        std::future::pending().await
    };
    tokio::select! {
        version = said => Ok(version),
        said = running.ended() => Err(MachineError::Ended(said?)),
    }
}

fn last_words(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let cut = text.len().saturating_sub(LAST_WORDS);
    let start = (cut..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    text[start..].to_owned()
}

async fn lock(path: PathBuf) -> Result<File, MachineError> {
    let locked = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || {
            let file = File::create(path)?;
            file.lock().map(|()| file)
        })
        .await
    };
    locked
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(MachineError::io("lock", path))
}
