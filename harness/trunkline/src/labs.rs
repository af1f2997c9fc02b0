//! The labs that `up` keeps: one directory each, beside a lock that its supervisor holds while it lives.
//!
//! Nobody has to be asked whether a lab is alive: a free lock means it is not, and whoever finds one removes what is left.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// What a kept lab says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    /// The supervisor's process id: ending it ends the lab.
    pub pid: i32,
    pub server: String,
    pub kubeconfig: Utf8PathBuf,
    pub nodes: usize,
    pub started: jiff::Timestamp,
}

/// The directory of one lab; see the module.
#[derive(Debug, Clone)]
pub struct LabDir(Utf8PathBuf);

/// The place of this user's labs: the runtime directory, else one of our own that nobody else may enter.
pub fn home() -> Utf8PathBuf {
    if let Ok(dir) = std::env::var("XDG_RUNTIME_DIR")
        && Utf8Path::new(&dir).is_dir()
    {
        return Utf8PathBuf::from(dir).join("trunkline");
    }
    if nix::unistd::geteuid().is_root() {
        return Utf8PathBuf::from("/run/trunkline");
    }
    Utf8PathBuf::from(format!("/tmp/trunkline-{}", nix::unistd::getuid()))
}

impl LabDir {
    pub fn new(name: &str) -> Self {
        Self(home().join(name))
    }

    pub fn kubeconfig(&self) -> Utf8PathBuf {
        self.0.join("kubeconfig")
    }

    pub fn log(&self) -> Utf8PathBuf {
        self.0.join("log")
    }

    fn lock_path(&self) -> Utf8PathBuf {
        self.0.join("lock")
    }

    fn record_path(&self) -> Utf8PathBuf {
        self.0.join("lab.json")
    }

    /// Takes the lab's name for this process. `None` when a living lab has it.
    pub fn claim(&self) -> io::Result<Option<Flock<File>>> {
        self.claim_in(&lock_home()?)
    }

    fn claim_in(&self, _home: &Flock<File>) -> io::Result<Option<Flock<File>>> {
        private_dir(&self.0)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.lock_path())?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Blocks until no living lab has this name, and removes what the last one left.
    pub fn await_end(&self) -> io::Result<()> {
        let file = match OpenOptions::new().write(true).open(self.lock_path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        self.remove()
    }

    /// Writes what others may know, and the kubeconfig, readable by this user only.
    pub fn publish(&self, record: &Record, kubeconfig: &str) -> io::Result<()> {
        write_private(&self.kubeconfig(), kubeconfig.as_bytes())?;
        write_private(&self.record_path(), &serde_json::to_vec_pretty(record)?)
    }

    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_path()).ok()?).ok()
    }

    /// Removes the directory of a lab that did not start, unless its log has something to say. Only for the holder of
    /// the lock.
    pub fn forget_unless_logged(&self) -> io::Result<()> {
        let silent = fs::metadata(self.log()).map_or(true, |log| log.len() == 0);
        if silent { self.remove() } else { Ok(()) }
    }

    /// Removes the directory; only for the holder of the lock.
    pub fn remove(&self) -> io::Result<()> {
        self.remove_in(&lock_home()?)
    }

    fn remove_in(&self, _home: &Flock<File>) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Held while directories come and go: a lock in a directory that somebody removes at that moment would lock nothing.
fn lock_home() -> io::Result<Flock<File>> {
    let home = home();
    private_dir(&home)?;
    Flock::lock(File::open(home)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn private_dir(path: &Utf8Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// The labs that are alive. What dead ones left is removed on the way.
pub fn alive() -> io::Result<Vec<Record>> {
    let entries = match fs::read_dir(home()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    let home = lock_home()?;
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        let dir = LabDir::new(&name);
        match dir.claim_in(&home)? {
            Some(_lock) => dir.remove_in(&home)?,
            None => found.extend(dir.record()),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn write_private(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    fs::rename(temporary, path)
}
