//! Files and what is known about them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use tar::Entry;

#[derive(Debug)]
pub struct Metadata {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    /// Only those that a container can use; labels of somebody else's security module are not.
    attributes: Vec<(OsString, Vec<u8>)>,
}

impl Metadata {
    pub fn of<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Self> {
        let mut attributes = Vec::new();
        if let Some(extensions) = entry.pax_extensions()? {
            for extension in extensions {
                let extension = extension?;
                let name = extension
                    .key_bytes()
                    .strip_prefix(b"SCHILY.xattr.")
                    .filter(|name| name.starts_with(b"user.") || *name == b"security.capability");
                if let Some(name) = name {
                    let name = OsString::from_vec(name.to_vec());
                    attributes.push((name, extension.value_bytes().to_vec()));
                }
            }
        }
        let header = entry.header();
        let number = |value: u64| {
            u32::try_from(value)
                .map_err(|_| io::Error::other(format!("{value} is no user or group")))
        };
        Ok(Self {
            mode: header.mode()? & 0o7777,
            uid: number(header.uid()?)?,
            gid: number(header.gid()?)?,
            mtime: i64::try_from(header.mtime()?).unwrap_or(0),
            attributes,
        })
    }
}

/// Owner, mode and attributes, in the order in which none undoes another: a change of owner
/// clears set-uid bits and capabilities.
pub fn own(path: &Path, metadata: &Metadata) -> io::Result<()> {
    owner(path, metadata)?;
    fs::set_permissions(path, Permissions::from_mode(metadata.mode))?;
    for (name, value) in &metadata.attributes {
        match xattr::set(path, name, value) {
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {}
            other => other?,
        }
    }
    Ok(())
}

pub fn owner(path: &Path, metadata: &Metadata) -> io::Result<()> {
    match lchown(path, Some(metadata.uid), Some(metadata.gid)) {
        // A user that this user namespace does not know: the file stays root's.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
            eprintln!(
                "{} belongs to {}:{}, which does not exist here; it is root's now",
                path.display(),
                metadata.uid,
                metadata.gid
            );
            Ok(())
        }
        other => other,
    }
}

pub fn times(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let time = TimeSpec::new(metadata.mtime, 0);
    utimensat(
        AT_FDCWD,
        path,
        &time,
        &time,
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

pub fn file(path: &Path, content: &mut impl Read) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::copy(content, &mut file).map(drop)
}

pub fn symlink(path: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

pub fn fifo(path: &Path) -> io::Result<()> {
    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)
}

/// Whatever it is; nothing there is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(existing) if existing.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
