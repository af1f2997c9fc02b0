//! A real ovsdb-server per test, with a small schema of its own or one of the installation's.
#![allow(
    dead_code,
    reason = "not every test that includes this needs all of it"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use ovsdb::Client;
use tempfile::TempDir;

/// How to start programs of an OVS installation.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Empty for the machine's own, else the root of a file system.
    root: PathBuf,
}

impl Installation {
    /// The machine's own, or the newest lab file system in trunkline's cache.
    pub fn find() -> Option<Installation> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let own = std::env::split_paths(&paths).any(|dir| dir.join("ovsdb-server").is_file());
        if own {
            return Some(Installation {
                root: PathBuf::new(),
            });
        }
        let found = cached_roots()
            .into_iter()
            .find(|root| root.join("usr/sbin/ovsdb-server").is_file())
            .map(|root| Installation { root });
        if found.is_none() {
            eprintln!("skipped: no ovsdb-server in PATH and no lab root file system in the cache");
        }
        found
    }

    /// A file of the installation, such as a schema.
    pub fn file(&self, path: &str) -> PathBuf {
        Path::new("/").join(&self.root).join(path)
    }

    pub fn command(&self, program: &str) -> Command {
        if self.root.as_os_str().is_empty() {
            return Command::new(program);
        }
        // The programs of another distribution run with that distribution's loader and libraries.
        let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"]
            .map(|dir| self.root.join(dir).display().to_string())
            .join(":");
        let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"]
            .map(|loader| self.root.join("usr").join(loader))
            .into_iter()
            .find(|loader| loader.exists())
            .expect("a root file system has a loader");
        let mut command = Command::new(loader);
        let dirs = ["usr/sbin", "usr/bin"].map(|dir| self.root.join(dir).join(program));
        let program = dirs.iter().find(|p| p.exists()).expect("program exists");
        command.arg("--library-path").arg(libraries).arg(program);
        command
    }
}

fn cached_roots() -> Vec<PathBuf> {
    let cache = std::env::var_os("TRUNKLINE_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("trunkline")))
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/trunkline")));
    let Some(entries) = cache.and_then(|cache| cache.join("rootfs").read_dir().ok()) else {
        return Vec::new();
    };
    let mut roots: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("lab-"))
        .map(|entry| entry.path())
        .collect();
    roots.sort_by_key(|root| root.metadata().and_then(|m| m.modified()).ok());
    roots.reverse();
    roots
}

const SCHEMA: &str = r#"{
  "name": "Test", "version": "1.0.0",
  "tables": {
    "Bridge": {"isRoot": true, "indexes": [["name"]], "columns": {
      "name": {"type": "string", "mutable": false},
      "ports": {"type": {"key": {"type": "uuid", "refTable": "Port"}, "min": 0, "max": "unlimited"}},
      "mode": {"type": {"key": {"type": "string", "enum": ["set", ["secure", "standalone"]]}, "min": 0, "max": 1}},
      "ids": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
      "seq": {"type": "integer"},
      "weight": {"type": "real"}}},
    "Port": {"columns": {
      "name": {"type": "string"},
      "up": {"type": {"key": "boolean", "min": 0, "max": 1}}}}
  }
}"#;

/// A running server; killed and its files removed on drop.
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    dir: TempDir,
    child: Child,
}

impl Server {
    pub fn start() -> Option<Server> {
        let installation = Installation::find()?;
        let dir = tempfile::tempdir().expect("temporary directory");
        let schema = dir.path().join("test.ovsschema");
        std::fs::write(&schema, SCHEMA).expect("schema written");
        Some(Server::create(installation, dir, &schema))
    }

    /// With a schema of the installation.
    pub fn start_with(schema: &str) -> Option<Server> {
        let installation = Installation::find()?;
        let dir = tempfile::tempdir().expect("temporary directory");
        let schema = installation.file(schema);
        if !schema.is_file() {
            eprintln!("skipped: no {}", schema.display());
            return None;
        }
        Some(Server::create(installation, dir, &schema))
    }

    fn create(installation: Installation, dir: TempDir, schema: &Path) -> Server {
        let created = installation
            .command("ovsdb-tool")
            .arg("create")
            .arg(dir.path().join("db"))
            .arg(schema)
            .status()
            .expect("ovsdb-tool runs");
        assert!(created.success());
        let child = spawn(&installation, dir.path());
        Server {
            installation,
            dir,
            child,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    pub async fn client(&self) -> Client {
        Client::connect_within(self.socket(), "Test", Duration::from_secs(10))
            .await
            .expect("connects")
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.installation, self.dir.path());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(installation: &Installation, dir: &Path) -> Child {
    installation
        .command("ovsdb-server")
        .arg(dir.join("db"))
        .arg(format!("--remote=punix:{}", dir.join("sock").display()))
        .arg(format!("--unixctl={}", dir.join("ctl").display()))
        .args(["-vconsole:off", "-vsyslog:off", "-vfile:off"])
        .spawn()
        .expect("ovsdb-server starts")
}
