//! `fsGroup`: everything in a volume belongs to a group that every container is in.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

/// What the group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(super) fn give_to_group(path: &Path, gid: u32, access: Access) -> io::Result<()> {
    lchown(path, None, Some(gid))?;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mut mode = metadata.permissions().mode()
        | match access {
            Access::Read => 0o440,
            Access::Write => 0o660,
        };
    if metadata.is_dir() {
        // new files inherit the group
        mode |= 0o2110;
    }
    set_mode(path, mode)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_group(&entry?.path(), gid, access)?;
        }
    }
    Ok(())
}
