//! A guest without a machine: the real program as process 1 of fresh namespaces, on top of this
//! system's own files, with a pseudo-terminal for its serial line and a file for its NoCloud disk.

mod dhcp;
mod iso;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::unistd::{Uid, ttyname};
use tempfile::TempDir;

pub use self::dhcp::LEASE;

const INIT: &str = env!("CARGO_BIN_EXE_trunkline-init");
/// Loaded machines are slow, and a login waits a second after a mistake.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a root for the guest out of this system's, and becomes its process 1 once a line comes.
/// `$0` is the program, `$1` a directory, `$2` the terminal.
const BECOME: &str = r#"
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
root="$1/root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    : > "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts"
: > "$root/dev/ttyS0"
mount --bind "$2" "$root/dev/ttyS0"
cat > "$root/dev/vdb"
cp "$0" "$root/init"
for name in systemctl cloud-init hostnamectl shutdown reboot poweroff halt init; do
    rm -f "$root/usr/bin/$name" "$root/usr/sbin/$name"
done
for file in passwd shadow group; do rm -f "$root/etc/$file"; done
printf 'root:x:0:0:root:/root:/bin/bash\n' > "$root/etc/passwd"
printf 'root:x:0:\nusers:x:100:\n' > "$root/etc/group"
printf 'root:!:20000:0:99999:7:::\n' > "$root/etc/shadow"
rm -rf "$root/etc/systemd/system" "$root/home"
mkdir -p "$root/etc/systemd/system" "$root/home"
exec chroot "$root" /init
"#;

/// Why a guest cannot run here.
pub fn hindrance() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("it takes root to be several users in a guest".to_owned());
    }
    let output = Command::new("unshare")
        .args([
            "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "ip", "link",
        ])
        .output();
    match output {
        Err(error) => Some(format!("unshare and ip are needed: {error}")),
        Ok(output) if !output.status.success() => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Some(format!("no namespaces here: {why}"))
        }
        Ok(_) => None,
    }
}

/// What the NoCloud disk holds.
pub struct Seed<'a> {
    pub meta_data: &'a str,
    pub user_data: &'a str,
    pub network_config: &'a str,
}

pub struct Guest {
    child: Child,
    /// In the guest's own process namespace it is 1; this is its number here.
    init: u32,
    output: Receiver<Vec<u8>>,
    terminal: File,
    heard: String,
    _directory: TempDir,
    _slave: OwnedFd,
    _dhcp: dhcp::Server,
}

impl Guest {
    /// Boots one.
    pub fn boot(seed: &Seed<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Wide enough that no command is broken into lines.
        let size = Winsize {
            ws_row: 50,
            ws_col: 500,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let terminal = ttyname(&pty.slave).unwrap();
        // A thread's namespace, so that this process keeps its own.
        let (server, mut child) = dhcp::Server::beside(|| {
            Command::new("unshare")
                .args([
                    "--mount",
                    "--pid",
                    "--net",
                    "--uts",
                    "--ipc",
                    "--fork",
                    "--kill-child",
                ])
                .args(["sh", "-c", BECOME, INIT])
                .arg(directory.path())
                .arg(&terminal)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::inherit())
                .spawn()
                .unwrap()
        });
        let init = only_child(child.id());
        server.connect(init);
        let mut disk = child.stdin.take().unwrap();
        disk.write_all(&iso::image(&[
            ("meta-data", seed.meta_data),
            ("network-config", seed.network_config),
            ("user-data", seed.user_data),
        ]))
        .unwrap();
        drop(disk);
        let master = File::from(pty.master);
        let output = listen(master.try_clone().unwrap());
        Self {
            child,
            init,
            output,
            terminal: master,
            heard: String::new(),
            _directory: directory,
            _slave: pty.slave,
            _dhcp: server,
        }
    }

    /// Types something.
    pub fn send(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// Everything up to and with `text`.
    pub fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.heard.find(text) {
                let rest = self.heard.split_off(at + text.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.heard.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} did not come; what came: {}", self.heard)
                }
            }
        }
    }

    pub fn log_in(&mut self, host: &str, user: &str, password: &str) {
        self.until(&format!("{host} login: "));
        self.send(&format!("{user}\n"));
        self.until("Password: ");
        self.send(&format!("{password}\n"));
        self.until(&format!("[{user}@{host} ~]"));
    }

    /// A command's output and how it ended.
    pub fn run(&mut self, command: &str) -> (String, i32) {
        self.send(&format!("{command}; echo 'En'd:$?:\n"));
        // What was typed does not hold the word.
        let output = self.until("End:");
        let exit = self.until(":").trim_end_matches(':').parse().unwrap();
        let output = output.trim_end_matches("End:").to_owned();
        // What is typed before the prompt is there is shown twice.
        let output = match output.rsplit_once("'En'd:$?:\r\n") {
            Some((_, output)) => output.to_owned(),
            None => output,
        };
        // The shell's editor turns a mode of the terminal off before a command runs.
        let output = output.replace("\x1b[?2004l", "").replace('\r', "");
        (output, exit)
    }

    /// A file of the guest.
    pub fn file(&self, path: &str) -> String {
        let path = PathBuf::from(format!("/proc/{}/root{path}", self.init));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Waits until the machine is off.
    pub fn goes_off(mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            // What it still says is not interesting, only that it ends.
            let _more = self.output.recv_timeout(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The process that `unshare` has forked: the first of its namespace.
fn only_child(parent: u32) -> u32 {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let children = fs::read_to_string(Path::new(&path)).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().unwrap();
        }
        thread::yield_now();
    }
    panic!("unshare started nothing");
}

fn listen(mut terminal: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
