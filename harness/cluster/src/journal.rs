//! The journal of a run on a cluster: what it creates, on this machine's disk before it exists there.
//!
//! One file for each run, locked as long as its process lives; the kernel frees the lock however the process ends. A
//! file that nobody locks is a dead run's, and [`crate::gc`] removes what it names. The file is there only while there is
//! something in it that may have to be removed.

mod entry;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg};
use trunkline_engine::{Identity, Journal, JournalError, events::RunId};

pub use self::entry::{ClusterId, Header, Left};
use self::entry::{Line, Remembered};

/// Where journals lie: `$TRUNKLINE_STATE`, else `$XDG_STATE_HOME/trunkline`, else `~/.local/state/trunkline`, and in it
/// `journals`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journals(PathBuf);

/// There is no place for journals, or what lies there cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalsError {
    #[error(
        "no place for the journal of what is created: neither TRUNKLINE_STATE, XDG_STATE_HOME nor HOME is set; set one of them"
    )]
    NoHome,
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Journals {
    /// The user's own.
    pub fn locate() -> Result<Self, JournalsError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let state = variable("TRUNKLINE_STATE")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(variable("XDG_STATE_HOME")?).join("trunkline")))
            .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state/trunkline")))
            .ok_or(JournalsError::NoHome)?;
        Ok(Self::at(state.join("journals")))
    }

    /// In a directory of one's own choice.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The journal of a run. Its file comes with the first entry.
    pub fn open(&self, run: &RunId, cluster: ClusterId) -> Arc<FileJournal> {
        Arc::new(FileJournal {
            path: self.0.join(format!("{run}.jsonl")),
            header: Header::new(run.clone(), cluster),
            state: Mutex::default(),
        })
    }

    /// The journals of runs that are dead. Each stays locked while it is held, so that nobody else clears up after the
    /// same run.
    pub fn dead(&self) -> Result<Vec<DeadRun>, JournalsError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| JournalsError::File { what, path, source }
        };
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("list", &self.0))?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed("list", &self.0))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "jsonl")
            {
                paths.push(path);
            }
        }
        paths.sort();
        let mut dead = Vec::new();
        for path in paths {
            let Some(lock) = try_lock(&path).map_err(failed("lock", &path))? else {
                continue;
            };
            let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
            match entry::replay(&text) {
                Some((header, left)) => dead.push(DeadRun {
                    path,
                    header,
                    left,
                    _lock: lock,
                }),
                // Its process died before it had written anything, so before it created anything.
                None => fs::remove_file(&path).map_err(failed("remove", &path))?,
            }
        }
        Ok(dead)
    }
}

/// Locks the file unless a living process has it, or it was removed meanwhile.
fn try_lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = match OpenOptions::new().read(true).append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok((lock.metadata()?.nlink() > 0).then_some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// What a dead run left behind, as far as it is known.
#[derive(Debug)]
pub struct DeadRun {
    path: PathBuf,
    pub header: Header,
    pub left: Vec<Left>,
    _lock: Flock<File>,
}

impl DeadRun {
    /// Nothing of it is left.
    pub fn forget(self) -> Result<(), JournalsError> {
        fs::remove_file(&self.path).map_err(|source| JournalsError::File {
            what: "remove",
            path: self.path.clone(),
            source,
        })
    }
}

/// The journal of a run that lives.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    header: Header,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Flock<File>>,
    remembered: Remembered,
}

impl FileJournal {
    /// Writes a line and waits until it is on the disk.
    fn write(&self, line: &Line) -> Result<(), JournalError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_locked(&mut state, line).map_err(|source| {
            JournalError::new(
                format!(
                    "the journal {} cannot be written: {source}",
                    self.path.display()
                ),
                source,
            )
        })
    }

    fn write_locked(&self, state: &mut State, line: &Line) -> io::Result<()> {
        let mut next = state.remembered.clone();
        next.take(line.clone());
        if next.is_empty() {
            // Nothing to remove any more: no file at all, and a new one with the next entry.
            if state.file.take().is_some() {
                fs::remove_file(&self.path)?;
            }
            state.remembered = next;
            return Ok(());
        }
        if state.file.is_none() {
            state.file = Some(self.create()?);
        }
        if let Some(file) = &mut state.file {
            let mut bytes = serde_json::to_vec(line)?;
            bytes.push(b'\n');
            file.write_all(&bytes)?;
            file.sync_data()?;
        }
        state.remembered = next;
        Ok(())
    }

    /// The file with its first line, locked, and its name on the disk too.
    fn create(&self) -> io::Result<Flock<File>> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        let mut bytes = serde_json::to_vec(&Line::Run(self.header.clone()))?;
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        Ok(file)
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn about_to_create(&self, object: &Identity) -> Result<(), JournalError> {
        self.write(&Line::Creating(object.clone()))
    }

    async fn created(&self, object: &Identity, uid: &str) -> Result<(), JournalError> {
        self.write(&Line::Created {
            object: object.clone(),
            uid: uid.to_owned(),
        })
    }

    async fn gone(&self, object: &Identity) -> Result<(), JournalError> {
        self.write(&Line::Gone(object.clone()))
    }
}
