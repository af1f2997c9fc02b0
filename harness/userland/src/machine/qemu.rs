//! QEMU on the host's side, inside the launcher's root file system and with nothing of the host but devices.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::MachineError;
use crate::contain::{Contained, Identity, Stop, StopOnDrop};

/// Where QEMU sees the two directories that it is given.
pub const IN: &str = "/mnt/in";
pub const OUT: &str = "/mnt/out";

/// A QEMU that ends with this.
pub struct Running {
    ended: oneshot::Receiver<Result<String, MachineError>>,
    _stop: StopOnDrop,
}

/// Starts it. `input` can only be read.
pub fn start(
    launcher: &Path,
    input: &Path,
    output: &Path,
    command: Vec<String>,
) -> Result<Running, MachineError> {
    let identity = Identity::current()?;
    let script = "mount --bind \"$1\" \"$3/mnt/in\" && mount -o remount,bind,ro \"$3/mnt/in\" && \
         mount --bind \"$2\" \"$3/mnt/out\" && mount --rbind /dev \"$3/dev\" && \
         mount -t proc proc \"$3/proc\" && root=$3 && shift 3 && exec chroot \"$root\" \"$@\"";
    let argv: Vec<OsString> = ["sh", "-c", script, "sh"]
        .map(OsString::from)
        .into_iter()
        .chain([input, output, launcher].map(|path| path.as_os_str().to_owned()))
        .chain(command.into_iter().map(OsString::from))
        .collect();
    let stop = Stop::default();
    let on_drop = stop.on_drop();
    let (done, ended) = oneshot::channel();
    // A thread of its own, because the kernel ends what it starts together with it.
    thread::spawn(move || drop(done.send(run(&identity, &argv, &stop))));
    Ok(Running {
        ended,
        _stop: on_drop,
    })
}

/// What it said on its way out.
fn run(identity: &Identity, argv: &[OsString], stop: &Stop) -> Result<String, MachineError> {
    let mut contained = Contained::start(identity, argv, &[], stop)?;
    let mut said = String::new();
    let read = match contained.stderr.take() {
        Some(mut stderr) => stderr.read_to_string(&mut said),
        None => Ok(0),
    };
    let waited = read.and_then(|_| contained.wait());
    waited.map_err(MachineError::io("wait for", trunkline_qemu::PROGRAM))?;
    Ok(said)
}

impl Running {
    /// Returns when it has ended, with what it said.
    pub async fn ended(&mut self) -> Result<String, MachineError> {
        match (&mut self.ended).await {
            Ok(ended) => ended,
            Err(_) => Err(MachineError::Ended(String::new())),
        }
    }
}

/// A socket in a directory whose name may be too long for one.
pub fn listen(directory: &Path, name: &str) -> Result<UnixListener, MachineError> {
    let failed = |source: io::Error| MachineError::io("listen at", directory.join(name))(source);
    let opened = std::fs::File::open(directory).map_err(failed)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()));
    UnixListener::bind(short).map_err(failed)
}

/// The connection that QEMU makes when it starts, unless it ends before.
pub async fn accept(
    listener: &UnixListener,
    running: &mut Running,
) -> Result<UnixStream, MachineError> {
    tokio::select! {
        accepted = listener.accept() => match accepted {
            Ok((stream, _)) => Ok(stream),
            Err(error) => Err(MachineError::io("accept", "a connection of QEMU")(error)),
        },
        said = running.ended() => Err(MachineError::Ended(said?)),
    }
}
