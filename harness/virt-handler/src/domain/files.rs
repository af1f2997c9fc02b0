//! The open files that QEMU inherits, and what it calls them.

use std::fs::File;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use trunkline_launcher::FILES;

/// Opened here, where paths and permissions are those of the node, and numbered as they come.
#[derive(Debug, Default)]
pub struct Files {
    open: Vec<OwnedFd>,
    sets: Vec<RawFd>,
}

/// A file that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}: {source}", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl OpenError {
    /// A tap device has no file, but a name.
    pub fn tap(name: &str, source: io::Error) -> Self {
        Self {
            path: name.into(),
            source,
        }
    }
}

/// What QEMU may do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Files {
    /// Its number in QEMU.
    pub fn add(&mut self, file: OwnedFd) -> RawFd {
        let number = RawFd::try_from(self.open.len()).unwrap_or(RawFd::MAX);
        self.open.push(file);
        FILES.start.saturating_add(number)
    }

    /// A file that QEMU opens again, which its user must be allowed to.
    pub fn reopened(&mut self, path: &Path) -> Result<PathBuf, OpenError> {
        let number = self.add(open(path, Access::Read)?);
        Ok(PathBuf::from(format!("/proc/self/fd/{number}")))
    }

    /// A file that QEMU uses as it is, whoever may open it.
    pub fn handed(&mut self, path: &Path, access: Access) -> Result<PathBuf, OpenError> {
        let number = self.add(open(path, access)?);
        self.sets.push(number);
        Ok(PathBuf::from(format!("/dev/fdset/{number}")))
    }

    /// The numbers of those that were handed over.
    pub fn sets(&self) -> &[RawFd] {
        &self.sets
    }

    /// All of them with their numbers.
    pub fn into_numbered(self) -> (Vec<RawFd>, Vec<OwnedFd>) {
        let numbers = FILES.take(self.open.len()).collect();
        (numbers, self.open)
    }
}

fn open(path: &Path, access: Access) -> Result<OwnedFd, OpenError> {
    File::options()
        .read(true)
        .write(access == Access::Write)
        .open(path)
        .map(OwnedFd::from)
        .map_err(|source| OpenError {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Access, Files};

    #[test]
    fn numbers_follow_the_order() {
        let mut files = Files::default();
        let null = Path::new("/dev/null");
        assert_eq!(
            files.reopened(null).unwrap(),
            Path::new("/proc/self/fd/100")
        );
        assert_eq!(
            files.handed(null, Access::Write).unwrap(),
            Path::new("/dev/fdset/101")
        );
        assert_eq!(
            files.handed(null, Access::Read).unwrap(),
            Path::new("/dev/fdset/102")
        );
        assert_eq!(files.sets(), [101, 102]);
        assert_eq!(files.into_numbered().0, [100, 101, 102]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Files::default()
            .reopened(Path::new("/nowhere/kernel"))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot open /nowhere/kernel: ")
        );
    }
}
