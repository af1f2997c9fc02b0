//! The guest's root: the image, read-only and shared by all machines, below a file system in
//! memory.

use std::fs::{self, File};
use std::io::Read;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot};

use super::cmdline::{CommandLine, file_system};
use crate::net::uevent::Uevents;

const LOWER: &str = "/lower";
const MEMORY: &str = "/rw";
const ROOT: &str = "/root";

/// Mounts the root and moves into it.
pub fn enter(command_line: &CommandLine) -> Result<(), String> {
    let device = &command_line.root;
    let kind = match &command_line.root_type {
        Some(kind) => {
            open(device)?;
            kind.clone()
        }
        None => recognise(device)?,
    };
    for directory in [LOWER, MEMORY, ROOT] {
        let _exists = fs::create_dir_all(directory);
    }
    step(
        "the root image",
        mount(
            Some(device.as_str()),
            LOWER,
            Some(kind.as_str()),
            MsFlags::MS_RDONLY,
            None::<&str>,
        ),
    )?;
    step(
        "a file system in memory",
        mount(
            Some("tmpfs"),
            MEMORY,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=0755"),
        ),
    )?;
    for directory in ["/rw/upper", "/rw/work"] {
        fs::create_dir(directory).map_err(|error| format!("cannot make {directory}: {error}"))?;
    }
    step(
        "the overlay of the two",
        mount(
            Some("overlay"),
            ROOT,
            Some("overlay"),
            MsFlags::empty(),
            Some("lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work"),
        ),
    )?;
    // The overlay keeps them; their names would only be in the way.
    for hidden in [LOWER, MEMORY] {
        let _best_effort = umount2(hidden, MntFlags::MNT_DETACH);
    }
    for part in ["/dev", "/proc", "/sys"] {
        let target = format!("{ROOT}{part}");
        let _exists = fs::create_dir_all(&target);
        step(
            part,
            mount(
                Some(part),
                target.as_str(),
                None::<&str>,
                MsFlags::MS_MOVE,
                None::<&str>,
            ),
        )?;
    }
    step("the working directory", chdir(ROOT))?;
    step(
        "the new root",
        mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>),
    )?;
    step("the change of root", chroot("."))?;
    step("the working directory", chdir("/"))
}

fn step(what: &str, result: nix::Result<()>) -> Result<(), String> {
    result.map_err(|error| format!("cannot set up the root, {what}: {error}"))
}

fn recognise(device: &str) -> Result<String, String> {
    let mut start = [0; 2_048];
    open(device)?
        .read_exact(&mut start)
        .map_err(|error| format!("cannot read {device}: {error}"))?;
    file_system(&start)
        .map(str::to_owned)
        .ok_or_else(|| format!("{device} holds no file system that can be the root"))
}

/// Disks appear a moment after their driver.
fn open(device: &str) -> Result<File, String> {
    let events = Uevents::open().map_err(|error| format!("cannot watch devices: {error}"))?;
    loop {
        match File::open(device) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot open {device}: {error}"));
            }
            Err(_) => {}
        }
        if !events.wait(ROOT_TIMEOUT_MS) {
            return Err(format!("{device} did not appear"));
        }
    }
}

const ROOT_TIMEOUT_MS: u16 = 10_000;
