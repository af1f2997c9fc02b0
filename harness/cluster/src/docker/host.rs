//! What this machine has for a cluster in containers: gathered once, judged elsewhere.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Docker, DockerError};

#[derive(Clone, Debug, Serialize)]
pub struct HostFacts {
    /// `Err` says why no Docker can be used.
    pub docker: Result<DockerFacts, String>,
    pub inotify: Option<Limits>,
    /// Programs of these names that were looked for in PATH, and where they are.
    pub kind: Option<PathBuf>,
    pub helm: Option<PathBuf>,
    pub kvm: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DockerFacts {
    pub provider: &'static str,
    pub version: String,
    pub rootless: bool,
    pub cgroup_version: u8,
    /// Where containers and images are kept.
    pub root: PathBuf,
    /// Room there in MiB; unknown when the daemon is on another machine or the directory is out of sight.
    pub free_mib: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub instances: u64,
    pub watches: u64,
}

impl HostFacts {
    /// Looks at this machine. A daemon that cannot be reached is a fact, not an error.
    pub async fn gather() -> Self {
        let docker = match Docker::connect().await {
            Ok(docker) => docker.facts().await,
            Err(error) => Err(error),
        };
        Self::with(docker.map_err(|error| chain(&error)))
    }

    /// The same when the daemon was asked already.
    pub fn with(docker: Result<DockerFacts, String>) -> Self {
        Self {
            docker,
            inotify: inotify(),
            kind: find_in_path("kind"),
            helm: find_in_path("helm"),
            kvm: Path::new("/dev/kvm").exists(),
        }
    }
}

impl Docker {
    pub async fn facts(&self) -> Result<DockerFacts, DockerError> {
        let info = self.client().info().await.map_err(DockerError::doing(|| {
            "ask the daemon about itself".to_owned()
        }))?;
        let root = PathBuf::from(info.docker_root_dir.unwrap_or_default());
        let rootless = info
            .security_options
            .unwrap_or_default()
            .iter()
            .any(|option| option.contains("rootless"));
        Ok(DockerFacts {
            provider: self.provider().as_str(),
            version: info.server_version.unwrap_or_default(),
            rootless,
            cgroup_version: match info.cgroup_version {
                Some(bollard::models::SystemInfoCgroupVersionEnum::_2) => 2,
                _ => 1,
            },
            free_mib: free_mib(&root),
            root,
        })
    }
}

fn free_mib(directory: &Path) -> Option<u64> {
    let stats = nix::sys::statvfs::statvfs(directory).ok()?;
    Some(stats.blocks_available() * stats.fragment_size() / (1024 * 1024))
}

fn inotify() -> Option<Limits> {
    let read = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some(Limits {
        instances: read("max_user_instances")?,
        watches: read("max_user_watches")?,
    })
}

pub(crate) fn find_in_path(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// An error with everything behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}
