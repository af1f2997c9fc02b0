//! What a finished root file system says about itself. Its presence is the mark of completion.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const NAME: &str = "manifest.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub key: String,
    pub release: String,
    /// Package to version.
    pub packages: BTreeMap<String, String>,
    /// Of the list of packages with their versions.
    pub packages_sha256: String,
    /// Files, directories and links.
    pub entries: u64,
    /// Programs, by path below the root, with their size: what `find` looks at.
    pub programs: BTreeMap<String, u64>,
}

/// Where programs are looked for when the manifest is written.
const PROGRAM_DIRECTORIES: [&str; 3] = ["usr/bin", "usr/sbin", "usr/lib/openvswitch-switch"];

impl Manifest {
    pub fn of(
        root: &Path,
        key: &str,
        release: &str,
        packages: BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let mut list = Sha256::new();
        for (name, version) in &packages {
            list.update(format!("{name} {version}\n"));
        }
        let mut programs = BTreeMap::new();
        for directory in PROGRAM_DIRECTORIES {
            let Ok(entries) = fs::read_dir(root.join(directory)) else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                // Links to shared programs say nothing of their own.
                let metadata = entry.metadata()?;
                if metadata.is_file() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    programs.insert(format!("{directory}/{name}"), metadata.len());
                }
            }
        }
        Ok(Self {
            key: key.to_owned(),
            release: release.to_owned(),
            packages,
            packages_sha256: hex::encode(list.finalize()),
            entries: count(root)?,
            programs,
        })
    }

    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(directory.join(NAME), text)
    }

    pub fn read(directory: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(directory.join(NAME))?)?)
    }

    /// The first thing that is not as it was, in words.
    pub fn damage(&self, root: &Path, key: &str) -> Option<String> {
        if self.key != key {
            return Some(format!("it was made for key {}", self.key));
        }
        self.programs.iter().find_map(
            |(path, &size)| match fs::symlink_metadata(root.join(path)) {
                Ok(metadata) if metadata.len() == size => None,
                Ok(metadata) => Some(format!("{path} has {} bytes, not {size}", metadata.len())),
                Err(_) => Some(format!("{path} is missing")),
            },
        )
    }
}

/// Package and version of `ovn-common_25.03.0-1_amd64.deb`; a colon is written `%3a`.
pub fn package_of(deb: &Path) -> Option<(String, String)> {
    let name = deb.file_name()?.as_bytes();
    let name = std::str::from_utf8(name).ok()?.strip_suffix(".deb")?;
    let mut parts = name.split('_');
    let package = parts.next()?.to_owned();
    let version = parts.next()?.replace("%3a", ":");
    Some((package, version))
}

fn count(directory: &Path) -> io::Result<u64> {
    let mut entries = 0;
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        // Directories of other users in a user's own build; the same ones every time.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in listing {
        let entry = entry?;
        entries += 1;
        if entry.file_type()?.is_dir() {
            entries += count(&entry.path())?;
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_by_its_file() {
        let deb = Path::new("/var/cache/apt/archives/tcpdump_1%3a4.99-1_amd64.deb");
        let expected = ("tcpdump".to_owned(), "1:4.99-1".to_owned());
        assert_eq!(package_of(deb), Some(expected));
        assert_eq!(package_of(Path::new("lock")), None);
    }

    #[test]
    fn damage_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/ip"), "program").unwrap();
        fs::write(root.join("usr/bin/nc"), "program").unwrap();
        let written = Manifest::of(&root, "k", "trixie", BTreeMap::new()).unwrap();
        written.write(directory.path()).unwrap();
        let manifest = Manifest::read(directory.path()).unwrap();
        assert_eq!(manifest, written);
        assert_eq!(manifest.entries, 4);
        assert_eq!(manifest.damage(&root, "k"), None);

        fs::write(root.join("usr/bin/ip"), "").unwrap();
        let damage = manifest.damage(&root, "k").unwrap();
        assert_eq!(damage, "usr/bin/ip has 0 bytes, not 7");
        fs::remove_file(root.join("usr/bin/ip")).unwrap();
        let damage = manifest.damage(&root, "k").unwrap();
        assert_eq!(damage, "usr/bin/ip is missing");
        assert!(manifest.damage(&root, "other").is_some());
    }
}
