//! The SSH server, one for each who comes: making a key and starting a server takes longer than all
//! the rest of the boot, and few machines are ever asked.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use super::unit::{Exec, Unit};
use crate::sys;

pub const NAME: &str = "ssh.service";
const SERVER: &str = "/usr/sbin/sshd";
const CONFIG: &str = "/etc/ssh/sshd_config";
const LOG: &str = "/var/log/sshd.log";

/// Every machine has a key of its own, made before it is first needed, and once.
const KEY: &str = "mkdir -p /run/sshd; exec 9>/run/sshd/key.lock; flock 9; key=/etc/ssh/ssh_host_ed25519_key; test -s $key || ssh-keygen -q -t ed25519 -N '' -f $key </dev/null >/dev/null 2>&1; exec 9>&-";

/// For an image whose packages were never configured. What cloud-init says goes first.
const DEFAULT: &str = "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM yes\nPrintMotd no\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n";

/// The port, with nobody behind it until somebody comes.
#[derive(Debug)]
pub struct Door(TcpListener);

impl Door {
    /// Where there is a server to come.
    pub fn open() -> io::Result<Option<Self>> {
        if !Path::new(SERVER).exists() {
            return Ok(None);
        }
        if !Path::new(CONFIG).exists() {
            fs::create_dir_all("/etc/ssh/sshd_config.d")?;
            fs::write(CONFIG, DEFAULT)?;
        }
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 22))?;
        listener.set_nonblocking(true)?;
        Ok(Some(Self(listener)))
    }

    /// A server for everybody who waits. There is no system log, and looking for one from within
    /// its sandbox would kill it: it writes to a file.
    pub fn admit(&self) -> io::Result<()> {
        while let Ok((guest, _)) = self.0.accept() {
            guest.set_nonblocking(false)?;
            let input = OwnedFd::from(guest);
            let output = input.try_clone()?;
            sys::command("/bin/sh")
                .args(["-c", &format!("{KEY}; exec {SERVER} -i -E {LOG}")])
                .stdin(Stdio::from(input))
                .stdout(Stdio::from(output))
                .stderr(Stdio::null())
                .spawn()?;
        }
        Ok(())
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// For whoever wants the server to run all the time.
pub fn adapt(unit: &mut Unit) {
    let make_key = Exec {
        words: vec!["/bin/sh".to_owned(), "-c".to_owned(), KEY.to_owned()],
        may_fail: false,
    };
    unit.start_pre.insert(0, make_key);
    for start in &mut unit.start {
        start.words.push("-e".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::unit::parse;

    #[test]
    fn the_server_finds_a_key_and_its_output() {
        let text =
            "[Service]\nExecStartPre=/usr/sbin/sshd -t\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n";
        let mut unit = parse(text, NAME);
        adapt(&mut unit);
        assert!(unit.start_pre[0].words[2].contains("ssh-keygen -q -t ed25519"));
        assert_eq!(unit.start_pre[1].words, ["/usr/sbin/sshd", "-t"]);
        assert_eq!(
            unit.start[0].words,
            ["/usr/sbin/sshd", "-D", "$SSHD_OPTS", "-e"]
        );
    }
}
