//! Devices.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Whether this user can use a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Usable,
    Missing,
    /// There, but not for this user; its mode.
    Denied(u32),
    /// There, but opening it fails otherwise.
    Broken(String),
}

impl Access {
    /// Opens it for reading and writing.
    pub fn of(path: &Path) -> Self {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => Self::Usable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Denied(
                fs::metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o7777),
            ),
            Err(error) => Self::Broken(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_there_from_what_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device");
        assert_eq!(Access::of(&path), Access::Missing);
        fs::write(&path, "").unwrap();
        assert_eq!(Access::of(&path), Access::Usable);
        // A directory is no device, whoever asks.
        assert!(matches!(Access::of(dir.path()), Access::Broken(_)));
    }
}
