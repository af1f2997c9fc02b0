//! The static programs that trunkline carries inside itself.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::cache::Cache;
use crate::catalogue::Program;

/// Where the programs lie. All are static, so they run in any container and any root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// The probe agent, bind-mounted into every container.
    pub agent: PathBuf,
    /// The HTTP server that stands in for agnhost.
    pub http_server: PathBuf,
    /// The first process of a virtual machine's pod.
    pub launcher: PathBuf,
    /// Unpacks archives inside a chroot.
    pub unpack: PathBuf,
}

#[derive(Debug, Error)]
#[error("cannot write the program {}: {source}", .path.display())]
pub struct ProgramsError {
    pub path: PathBuf,
    pub source: io::Error,
}

struct Embedded {
    name: &'static str,
    sha256: &'static str,
    bytes: &'static [u8],
}

const AGENT: Embedded = Embedded {
    name: "trunkline-agent",
    sha256: env!("SHA256_TRUNKLINE_AGENT"),
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/trunkline-agent")),
};

const HTTP_SERVER: Embedded = Embedded {
    name: "agnhost",
    sha256: env!("SHA256_AGNHOST"),
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/agnhost")),
};

const INIT: Embedded = Embedded {
    name: "trunkline-init",
    sha256: env!("SHA256_TRUNKLINE_INIT"),
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/trunkline-init")),
};

const LAUNCHER: Embedded = Embedded {
    name: "virt-launcher",
    sha256: env!("SHA256_VIRT_LAUNCHER"),
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/virt-launcher")),
};

const UNPACK: Embedded = Embedded {
    name: "trunkline-unpack",
    sha256: env!("SHA256_TRUNKLINE_UNPACK"),
    bytes: include_bytes!(concat!(env!("OUT_DIR"), "/trunkline-unpack")),
};

const ALL: [&Embedded; 4] = [&AGENT, &HTTP_SERVER, &LAUNCHER, &UNPACK];

/// The agent's bytes, for sites where it has to be uploaded.
pub fn agent() -> &'static [u8] {
    AGENT.bytes
}

/// The init of guests, and its hash. It lies in their first root, never in the cache by itself.
pub(crate) fn init() -> (&'static [u8], &'static str) {
    (INIT.bytes, INIT.sha256)
}

/// Writes the programs into the cache unless they are there, named by their hash.
pub fn install(cache: &Cache) -> Result<Programs, ProgramsError> {
    for program in ALL {
        let path = program.path(cache);
        program
            .install(&path)
            .map_err(|source| ProgramsError { path, source })?;
    }
    Ok(locate(cache))
}

/// Where [`install`] put them; for a cache that is mounted read-only.
pub fn locate(cache: &Cache) -> Programs {
    Programs {
        agent: AGENT.path(cache),
        http_server: HTTP_SERVER.path(cache),
        launcher: LAUNCHER.path(cache),
        unpack: UNPACK.path(cache),
    }
}

/// The hash of an embedded program, as part of what an image is made from.
pub(crate) fn sha256(program: Program) -> &'static str {
    match program {
        Program::HttpServer => HTTP_SERVER.sha256,
        Program::VirtLauncher => LAUNCHER.sha256,
    }
}

impl Embedded {
    /// A directory per version, so that the program keeps its name in process lists.
    fn path(&self, cache: &Cache) -> PathBuf {
        cache
            .root()
            .join("programs")
            .join(&self.sha256[..16])
            .join(self.name)
    }

    fn install(&self, path: &Path) -> io::Result<()> {
        // A write that was cut short never got this name; length and mode catch later damage.
        let complete = fs::metadata(path).is_ok_and(|metadata| {
            metadata.len() == self.bytes.len() as u64 && metadata.permissions().mode() & 0o111 != 0
        });
        if complete {
            return Ok(());
        }
        let unfinished = path.with_extension(format!("{}.part", std::process::id()));
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&unfinished, self.bytes)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o755))?;
        fs::rename(&unfinished, path)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn they_run_and_damage_is_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let programs = install(&cache).unwrap();
        let version = |program: &Path, argument: &str| {
            let output = Command::new(program).arg(argument).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(version(&programs.agent, "--version").starts_with("trunkline-agent "));
        assert_eq!(version(&programs.http_server, "version"), "2.53\n");

        fs::write(&programs.agent, "cut").unwrap();
        assert_eq!(install(&cache).unwrap(), programs);
        assert!(version(&programs.agent, "--version").starts_with("trunkline-agent "));
    }

    #[test]
    fn they_need_no_library() {
        for program in ALL.into_iter().chain([&INIT]) {
            assert!(
                !has_interpreter(program.bytes),
                "{} is not static",
                program.name
            );
        }
        let ours = fs::read("/proc/self/exe").unwrap();
        assert!(has_interpreter(&ours), "the check itself finds nothing");
    }

    /// Whether an ELF64 file names a dynamic loader: a program header of type `PT_INTERP`.
    fn has_interpreter(elf: &[u8]) -> bool {
        let number = |at: usize, bytes: usize| {
            elf[at..at + bytes]
                .iter()
                .rev()
                .fold(0usize, |number, byte| number << 8 | usize::from(*byte))
        };
        let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        (0..count).any(|index| number(table + index * size, 4) == 3)
    }
}
