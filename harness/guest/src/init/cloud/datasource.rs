//! The NoCloud disk.

use std::fs::{self, File};
use std::io::{Cursor, Read, Seek};

use crate::{iso9660, log};

/// What the disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    pub device: String,
    pub meta_data: String,
    pub user_data: Vec<u8>,
    pub network_config: Option<String>,
}

/// The first disk labelled `cidata`, in whatever case.
pub fn find() -> Option<Seed> {
    let mut disks: Vec<String> = fs::read_dir("/dev")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_disk(name))
        .collect();
    disks.sort();
    disks.iter().find_map(|name| read(&format!("/dev/{name}")))
}

fn files(device: &str, disk: &mut (impl Read + Seek)) -> Option<iso9660::Volume> {
    match iso9660::read(disk) {
        Ok(volume) => volume,
        Err(error) => {
            log::error(&format!("cannot read the NoCloud disk {device}: {error}"));
            None
        }
    }
}

fn is_disk(name: &str) -> bool {
    ["vd", "sd", "sr"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1)
    })
}

/// As much as such a disk usually has, in one request: each costs more than its bytes.
const USUAL: u64 = 512 << 10;

fn read(device: &str) -> Option<Seed> {
    let mut disk = File::open(device).ok()?;
    let mut start = Vec::new();
    (&mut disk).take(USUAL).read_to_end(&mut start).ok()?;
    let whole = u64::try_from(start.len()).ok()? < USUAL;
    let mut start = Cursor::new(start);
    if !iso9660::label(&mut start)?.eq_ignore_ascii_case("cidata") {
        return None;
    }
    let volume = if whole {
        files(device, &mut start)?
    } else {
        files(device, &mut disk)?
    };
    let text = |name: &str| {
        volume
            .files
            .get(name)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    Some(Seed {
        device: device.to_owned(),
        meta_data: text("meta-data").unwrap_or_default(),
        user_data: volume.files.get("user-data").cloned().unwrap_or_default(),
        network_config: text("network-config"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_by_name() {
        for (name, expected) in [
            ("vda", true),
            ("vdb", true),
            ("sr0", true),
            ("sda", true),
            ("vda1", false),
            ("vport0p1", false),
            ("srandom", false),
        ] {
            assert_eq!(is_disk(name), expected, "{name}");
        }
    }
}
