//! Unmodified kubectl against labs that `up` keeps: it must see what it sees of a cluster.
//!
//! The transcripts are beside this file. `SNAPSHOTS=overwrite cargo test -p trunkline --test kubectl` writes them anew.

mod common;

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use common::{Lab, host_lacks, process::Process, transcript};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::{
    pty::{Winsize, openpty},
    unistd::Pid,
};

const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubectl");

/// The directory of the kubectl that was asked for, of the machine's own, or of the one that `ci/kubectl` unpacked.
fn kubectl() -> Option<PathBuf> {
    let asked = std::env::var_os("TRUNKLINE_KUBECTL").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path)
        .map(|dir| dir.join("kubectl"))
        .collect::<Vec<_>>();
    let cache = std::env::var_os("TRUNKLINE_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("trunkline")))
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/trunkline")));
    let unpacked = cache.map(|cache| cache.join("tools/kubectl/usr/bin/kubectl"));
    let found = asked
        .into_iter()
        .chain(installed)
        .chain(unpacked)
        .find(|file| file.is_file())?;
    found.parent().map(Path::to_owned)
}

/// A lab, and a shell whose kubectl talks to it.
struct Desk {
    shell: transcript::Shell,
    _home: tempfile::TempDir,
    _lab: Lab,
}

impl Desk {
    /// `Err` is the reason why there can be none.
    fn new(name: &str) -> Result<Self, String> {
        if let Some(reason) = host_lacks() {
            return Err(reason);
        }
        let dir = kubectl().ok_or(
            "there is no kubectl: not in PATH, not in $TRUNKLINE_KUBECTL; ci/kubectl fetches one",
        )?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(dir).chain(std::env::split_paths(&path));
        let path: OsString = std::env::join_paths(dirs).map_err(|error| error.to_string())?;
        let home = tempfile::tempdir().map_err(|error| error.to_string())?;
        let lab = Lab::up(name);
        let shell = transcript::Shell {
            dir: TRANSCRIPTS.into(),
            path,
            kubeconfig: lab.kubeconfig().to_owned(),
            home: home.path().to_owned(),
        };
        Ok(Self {
            shell,
            _home: home,
            _lab: lab,
        })
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.shell.command("kubectl");
        command.args(arguments);
        command
    }

    fn must(&self, arguments: &[&str]) {
        let output = self.kubectl(arguments).output().expect("kubectl runs");
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn transcripts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(TRANSCRIPTS)
        .expect("transcripts")
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|kind| kind == "console"))
        .collect();
    files.sort();
    files
}

fn replay(file: &Path, name: &str) -> Result<Completion, Failed> {
    match Desk::new(&format!("kubectl-{name}")) {
        Err(reason) => Ok(Completion::ignored_with(reason)),
        Ok(desk) => Ok(transcript::check(&desk.shell, file).map(|()| Completion::Completed)?),
    }
}

/// The other end of a terminal, and what it has shown so far.
struct Terminal {
    keyboard: File,
    screen: File,
    shown: String,
}

impl Terminal {
    /// Reads on until the screen shows this.
    fn expect(&mut self, text: &str) {
        let mut bytes = [0; 1024];
        while !self.shown.contains(text) {
            match self.screen.read(&mut bytes) {
                // EIO is how a terminal says that nobody holds it any more.
                Ok(0) | Err(_) => panic!("{text:?} was never shown:\n{}", self.shown),
                Ok(count) => self
                    .shown
                    .push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
        let end = self.shown.find(text).expect("it is shown") + text.len();
        self.shown.drain(..end);
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard
            .write_all(text.as_bytes())
            .expect("the terminal takes it");
    }
}

const fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// `exec -it`: a terminal in the container that is as large as the one outside, with its signals, and with the exit
/// code of what ran on it.
fn exec_with_a_terminal() -> Result<Completion, Failed> {
    let desk = match Desk::new("kubectl-terminal") {
        Ok(desk) => desk,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    desk.must(&[
        "run",
        "box",
        "--image=busybox:1.36",
        "--",
        "sleep",
        "infinity",
    ]);
    desk.must(&["wait", "pod/box", "--for=condition=Ready", "--timeout=30s"]);
    let pty = openpty(&size(40, 120), None)?;
    let ours = || -> std::io::Result<File> { Ok(pty.slave.try_clone()?.into()) };
    // setsid gives the process our terminal as its own, as a shell would.
    let mut setsid = desk.shell.command("setsid");
    setsid
        .args([
            "--ctty", "--wait", "kubectl", "exec", "-it", "box", "--", "sh",
        ])
        .env("TERM", "xterm");
    let mut child = setsid
        .stdin(ours()?)
        .stdout(ours()?)
        .stderr(ours()?)
        .spawn()?;
    // The command holds copies of the terminal; with them its end would never be seen.
    drop(setsid);
    let master = pty.master.try_clone()?;
    drop(pty.slave);
    let mut terminal = Terminal {
        keyboard: pty.master.try_clone()?.into(),
        screen: pty.master.into(),
        shown: String::new(),
    };
    let limit = guard(&child);
    terminal.type_in("tty; echo size $(stty size)\n");
    terminal.expect("/dev/pts/");
    terminal.expect("size 40 120");
    let larger = rustix::termios::Winsize {
        ws_row: 50,
        ws_col: 132,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&master, larger)?;
    // The new size travels beside what is typed; the program on the terminal is told by a signal.
    terminal.type_in("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; echo re''sized\n");
    terminal.expect("resized");
    // What says so is what the signal is to meet: a shell that is about to start it would take the signal itself.
    terminal.type_in("sh -c \"echo be''gun; exec sleep 1000\"\n");
    terminal.expect("begun");
    terminal.type_in("\u{3}");
    terminal.type_in("echo interrupted by $?\n");
    terminal.expect("interrupted by 130");
    terminal.type_in("exit 7\n");
    terminal.expect("command terminated with exit code 7");
    let code = child.wait()?.code();
    drop(limit);
    if code == Some(7) {
        Ok(Completion::Completed)
    } else {
        Err(format!("kubectl ended with {code:?}").into())
    }
}

/// Kills a child that takes too long, so that whoever reads from it comes to an end. Ends with the returned sender.
fn guard(child: &std::process::Child) -> std::sync::mpsc::Sender<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let process = Process::open(pid).expect("it lives");
    std::thread::spawn(move || {
        if receiver.recv_timeout(Duration::from_secs(60))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            for below in common::process::family(pid).iter().chain([&process]) {
                let _ = nix::sys::signal::kill(below.pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    });
    sender
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<_> = transcripts()
        .into_iter()
        .map(|file| {
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Trial::ignorable_test(name.clone(), move || replay(&file, &name))
        })
        .collect();
    trials.push(Trial::ignorable_test(
        "exec-with-a-terminal",
        exec_with_a_terminal,
    ));
    libtest_mimic::run(&arguments, trials).exit();
}
