//! Builds a root file system: unpack, trim, complete, check, mark, and only then give it its name.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::statvfs::statvfs;

use super::manifest::{self, Manifest};
use super::mmdebstrap::{self, Follow, Source};
use super::recipe::Recipe;
use super::{RootFs, RootFsError, RootKind, look};
use crate::cache::Cache;
use crate::contain::{self, Contained, Identity, Stop};
use crate::progress::Progress;

/// Lines of output kept for the diagnosis.
const REMEMBERED: usize = 200;

pub struct Build<'a> {
    pub cache: &'a Cache,
    pub kind: RootKind,
    pub recipe: Recipe,
    pub key: String,
    pub stop: Stop,
    pub report: &'a dyn Fn(Progress),
}

impl Build<'_> {
    /// Runs on a thread of its own, from start to end.
    pub fn run(&self) -> Result<RootFs, RootFsError> {
        let source = Source::configured()?;
        let directory = self.cache.root().join("rootfs");
        fs::create_dir_all(&directory).map_err(RootFsError::io("create", &directory))?;
        let _one_builder = self.lock(&directory.join(format!("{}.lock", self.kind.name())))?;
        // Whoever held the lock before us may have built it.
        if let Some(found) = look(self.cache, self.kind, &self.key).found() {
            return Ok(found);
        }
        preflight(&source, &path_with_sbin())?;
        let identity = Identity::current()?;
        self.require_room(&directory)?;

        let finished = super::directory(self.cache, self.kind, &self.key);
        let unfinished = finished.with_extension("building");
        for leftover in [&unfinished, &finished] {
            self.remove(&identity, leftover)?;
        }
        fs::create_dir(&unfinished).map_err(RootFsError::io("create", &unfinished))?;
        let built = self.fill(&identity, &source, &unfinished);
        if let Err(error) = built {
            // The error is what matters; the next build removes what this leaves.
            let _left = self.remove(&identity, &unfinished);
            return Err(if self.stop.is_stopped() {
                RootFsError::Cancelled
            } else {
                error
            });
        }
        fs::rename(&unfinished, &finished).map_err(RootFsError::io("rename", &unfinished))?;
        self.say("ready", 1.0);
        Ok(RootFs {
            path: finished.join("root"),
            key: self.key.clone(),
        })
    }

    fn fill(&self, identity: &Identity, source: &Source, place: &Path) -> Result<(), RootFsError> {
        let root = place.join("root");
        let list = place.join("debs");
        self.unpack(identity, source, &root, &list)?;
        self.say("completing", 0.85);
        let packages = packages(&list)?;
        self.trim(identity, &root)?;
        self.complete(&root)?;
        self.list_packages(&root, &packages)?;
        for line in &self.recipe.run {
            self.in_root(identity, &root, line)?;
        }
        self.say("checking", 0.9);
        for line in &self.recipe.check {
            self.in_root(identity, &root, line)?;
        }
        let manifest = Manifest::of(&root, &self.key, &self.recipe.release, packages)
            .map_err(RootFsError::io("take stock of", &root))?;
        manifest
            .write(place)
            .map_err(RootFsError::io("write the manifest in", place))
    }

    fn unpack(
        &self,
        identity: &Identity,
        source: &Source,
        root: &Path,
        list: &Path,
    ) -> Result<(), RootFsError> {
        let debs = self.cache.root().join("debs");
        fs::create_dir_all(&debs).map_err(RootFsError::io("create", &debs))?;
        // apt's own lock does not wait.
        let _one_download = self.lock(&self.cache.root().join("debs.lock"))?;
        let argv: Vec<OsString> = ["sh", "-c", "exec \"$@\" 2>&1", "sh"]
            .into_iter()
            .map(OsString::from)
            .chain(mmdebstrap::command(&self.recipe, source, root, &debs, list))
            .collect();
        let temporary = list.with_file_name("tmp");
        fs::create_dir(&temporary).map_err(RootFsError::io("create", &temporary))?;
        let path = path_with_sbin();
        let environment = [
            ("TMPDIR", temporary.as_os_str()),
            ("PATH", path.as_os_str()),
        ];
        let mut command = Contained::start(identity, &argv, &environment, &self.stop)?;
        drop(command.stdin.take());

        let log_path = self
            .cache
            .root()
            .join(format!("rootfs/{}.log", self.kind.name()));
        let mut log = File::create(&log_path).map_err(RootFsError::io("write", &log_path))?;
        let mut follow = Follow::default();
        let begun = Instant::now();
        let mut recent = VecDeque::with_capacity(REMEMBERED);
        if let Some(output) = command.stdout.take() {
            for line in BufReader::new(output).split(b'\n') {
                let line = line.map_err(RootFsError::io("read the output of", "mmdebstrap"))?;
                let line = String::from_utf8_lossy(&line).into_owned();
                writeln!(log, "{line}").map_err(RootFsError::io("write", &log_path))?;
                // A refusal comes at once and says more by itself.
                if follow.is_unanswered(&line) && begun.elapsed() >= source.timeout {
                    return Err(source.silent(begun.elapsed()));
                }
                if let Some((phase, fraction)) = follow.line(&line) {
                    self.say(&phase, fraction);
                }
                if recent.len() == REMEMBERED {
                    recent.pop_front();
                }
                recent.push_back(line);
            }
        }
        let status = command
            .wait()
            .map_err(RootFsError::io("wait for", "mmdebstrap"))?;
        if self.stop.is_stopped() {
            return Err(RootFsError::Cancelled);
        }
        if !status.success() {
            let recent = Vec::from(recent);
            return Err(mmdebstrap::diagnose(
                self.kind.name(),
                &self.recipe,
                source,
                self.cache.root(),
                &recent,
                &log_path,
            ));
        }
        fs::remove_dir_all(&temporary).map_err(RootFsError::io("remove", &temporary))
    }

    /// Removes what the recipe does not want, as root of the namespace: not everything is ours.
    fn trim(&self, identity: &Identity, root: &Path) -> Result<(), RootFsError> {
        // The patterns are the recipe's own; the shell expands them.
        let script = format!(
            "cd \"$1\" && rm -rf -- {} var/cache/apt dev/*",
            self.recipe.remove.join(" ")
        );
        self.shell(identity, &script, root)
    }

    fn complete(&self, root: &Path) -> Result<(), RootFsError> {
        for directory in &self.recipe.directories {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(RootFsError::io("create", path))?;
        }
        for (path, target) in &self.recipe.links {
            let path = root.join(path);
            make_way(&path)?;
            symlink(target, &path).map_err(RootFsError::io("create", path))?;
        }
        for (path, text) in &self.recipe.files {
            let path = root.join(path);
            make_way(&path)?;
            fs::write(&path, text).map_err(RootFsError::io("write", path))?;
        }
        Ok(())
    }

    /// What programs in the root read to know what is installed.
    fn list_packages(
        &self,
        root: &Path,
        packages: &BTreeMap<String, String>,
    ) -> Result<(), RootFsError> {
        let also = &self.recipe.provides;
        if also.is_empty() {
            return Ok(());
        }
        let entries = packages.iter().map(|(name, version)| {
            let provides = also
                .get(name)
                .map(|names| format!("Provides: {}\n", names.join(", ")))
                .unwrap_or_default();
            format!(
                "Package: {name}\nStatus: install ok installed\nVersion: {version}\n{provides}\n"
            )
        });
        let text: String = entries.collect();
        let path = root.join("var/lib/dpkg/status");
        fs::write(&path, text).map_err(RootFsError::io("write", path))
    }

    /// Runs a shell line in the new root, with the host's devices.
    fn in_root(&self, identity: &Identity, root: &Path, line: &str) -> Result<(), RootFsError> {
        let script = "mount -t proc proc \"$1/proc\" && mount --rbind /dev \"$1/dev\" && \
             exec env -i PATH=/usr/sbin:/usr/bin chroot \"$1\" sh -c \"$2\"";
        let argv = [
            OsStr::new("sh"),
            OsStr::new("-c"),
            OsStr::new(script),
            OsStr::new("sh"),
            root.as_os_str(),
            OsStr::new(line),
        ]
        .map(OsStr::to_os_string);
        let (status, output) = contain::run(identity, &argv, &self.stop)?;
        if self.stop.is_stopped() {
            return Err(RootFsError::Cancelled);
        }
        if status.success() {
            return Ok(());
        }
        Err(RootFsError::Check {
            kind: self.kind.name(),
            check: line.to_owned(),
            output: output.trim().to_owned(),
        })
    }

    fn shell(&self, identity: &Identity, script: &str, argument: &Path) -> Result<(), RootFsError> {
        let argv = [
            OsStr::new("sh"),
            OsStr::new("-c"),
            OsStr::new(script),
            OsStr::new("sh"),
            argument.as_os_str(),
        ]
        .map(OsStr::to_os_string);
        let (status, output) = contain::run(identity, &argv, &self.stop)?;
        if status.success() {
            return Ok(());
        }
        Err(RootFsError::Io {
            what: "change",
            path: argument.to_path_buf(),
            source: io::Error::other(output.trim().to_owned()),
        })
    }

    fn remove(&self, identity: &Identity, path: &Path) -> Result<(), RootFsError> {
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        self.shell(identity, "rm -rf -- \"$1\"", path)
    }

    fn lock(&self, path: &Path) -> Result<File, RootFsError> {
        let file = File::create(path).map_err(RootFsError::io("create", path))?;
        if file.try_lock().is_err() {
            self.say("waiting for another trunkline that builds it", 0.0);
            file.lock().map_err(RootFsError::io("lock", path))?;
        }
        if self.stop.is_stopped() {
            return Err(RootFsError::Cancelled);
        }
        Ok(file)
    }

    fn require_room(&self, directory: &Path) -> Result<(), RootFsError> {
        let stat = statvfs(directory)
            .map_err(io::Error::from)
            .map_err(RootFsError::io("ask for the free space at", directory))?;
        let free_mb = stat.blocks_available() * stat.fragment_size() / 1_000_000;
        if free_mb >= self.recipe.needs_mb {
            return Ok(());
        }
        Err(RootFsError::NoRoom {
            kind: self.kind.name(),
            needs_mb: self.recipe.needs_mb,
            free_mb,
            path: directory.to_path_buf(),
        })
    }

    pub fn say(&self, phase: &str, fraction: f32) {
        (self.report)(Progress {
            what: format!("root file system {}", self.kind.name()),
            phase: phase.to_owned(),
            fraction: Some(fraction),
        });
    }
}

/// What the host must have, before anything is created.
fn preflight(source: &Source, path: &OsStr) -> Result<(), RootFsError> {
    let found = std::env::split_paths(path).any(|part| part.join("mmdebstrap").is_file());
    if !found {
        return Err(RootFsError::NoMmdebstrap);
    }
    if !source.keyring.is_file() {
        return Err(RootFsError::NoKeyring(source.keyring.clone()));
    }
    Ok(())
}

/// An ordinary user's search path often lacks the directories that mmdebstrap needs.
fn path_with_sbin() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

fn make_way(path: &Path) -> Result<(), RootFsError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(RootFsError::io("create", parent))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RootFsError::io("replace", path)(error))
        }
        _ => Ok(()),
    }
}

fn packages(list: &Path) -> Result<BTreeMap<String, String>, RootFsError> {
    let text = fs::read_to_string(list).map_err(RootFsError::io("read", list))?;
    Ok(text
        .lines()
        .filter_map(|line| manifest::package_of(&PathBuf::from(line)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_lacks_is_named_with_its_command() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source {
            mirror: "http://mirror.test/debian".to_owned(),
            keyring: directory.path().join("keyring.gpg"),
            timeout: std::time::Duration::from_secs(1),
        };
        let path = directory.path().as_os_str();
        let message = || preflight(&source, path).unwrap_err().to_string();
        assert!(message().contains("apt-get install mmdebstrap"));
        fs::write(directory.path().join("mmdebstrap"), "").unwrap();
        assert!(message().contains("apt-get install debian-archive-keyring"));
        fs::write(&source.keyring, "").unwrap();
        assert!(preflight(&source, path).is_ok());
    }

    #[test]
    fn room_is_asked_for_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let (mut recipe, key) = RootKind::Lab.recipe().unwrap();
        recipe.needs_mb = u64::MAX;
        let build = Build {
            cache: &cache,
            kind: RootKind::Lab,
            recipe,
            key,
            stop: Stop::default(),
            report: &|_| {},
        };
        let message = build
            .require_room(directory.path())
            .unwrap_err()
            .to_string();
        let place = directory.path().display().to_string();
        assert!(
            message.contains("MB are free") && message.contains(&place),
            "{message}"
        );
    }
}
