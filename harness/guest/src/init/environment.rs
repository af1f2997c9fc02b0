//! The guest as a place to be: names, homes, prompts.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::account::{self, User};
use crate::{PROGRAM, log};

/// The serial line everybody talks over.
pub const CONSOLE: &str = "/dev/ttyS0";

/// Other names of the program. What the image brings goes first.
const LINKS: [&str; 10] = [
    "/usr/bin/systemctl",
    "/usr/bin/cloud-init",
    "/usr/bin/hostnamectl",
    "/usr/bin/timedatectl",
    "/usr/sbin/init",
    "/usr/sbin/shutdown",
    "/usr/sbin/reboot",
    "/usr/sbin/poweroff",
    "/usr/sbin/halt",
    "/usr/sbin/telinit",
];

/// No program is started here: a login must not wait for any.
const PROFILE: &str = r#"# Set up for every login shell.
PATH=/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin
export PATH
HISTSIZE=1000
umask 022
for script in /etc/profile.d/*.sh; do
    [ -r "$script" ] && . "$script"
done
unset script
[ -n "$BASH_VERSION" ] && [ -r /etc/bash.bashrc ] && . /etc/bash.bashrc
"#;

const BASHRC: &str = r"# Set up for every interactive shell.
case $- in *i*) ;; *) return ;; esac
PS1='[\u@\h \W]\$ '
shopt -s checkwinsize
";

const USER_PROFILE: &str = "[ -f ~/.bashrc ] && . ~/.bashrc\n";

const USER_BASHRC: &str = r"case :$PATH: in
*:$HOME/.local/bin:*) ;;
*) PATH=$HOME/.local/bin:$HOME/bin:$PATH ;;
esac
export PATH
";

/// What is the same in all machines of an image.
pub fn prepare() {
    for link in LINKS {
        if fs::symlink_metadata(link).is_err() {
            let _best_effort = symlink(PROGRAM, link);
        }
    }
    for (path, text) in [
        ("/etc/profile", PROFILE),
        ("/etc/bash.bashrc", BASHRC),
        ("/etc/skel/.bash_profile", USER_PROFILE),
        ("/etc/skel/.bashrc", USER_BASHRC),
        ("/root/.bash_profile", USER_PROFILE),
        ("/root/.bashrc", ""),
        ("/etc/sudoers.d/10-wheel", "%wheel ALL=(ALL) ALL\n"),
    ] {
        let written = Path::new(path)
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(path, text));
        if let Err(error) = written {
            log::error(&format!("cannot write {path}: {error}"));
        }
    }
    let _best_effort =
        fs::set_permissions("/etc/sudoers.d/10-wheel", Permissions::from_mode(0o440));
    let _best_effort = fs::set_permissions("/root", Permissions::from_mode(0o700));
    let _absent = fs::remove_file("/etc/skel/.profile");
    complete_accounts();
    for (path, text) in [("/etc/hostname", "localhost\n"), ("/etc/resolv.conf", "")] {
        if fs::read(path).map_or(true, |content| content.is_empty()) {
            let _best_effort = fs::write(path, text);
        }
    }
    if let Err(error) = hosts("localhost", "127.0.0.1") {
        log::error(&format!("cannot write /etc/hosts: {error}"));
    }
    let _best_effort = fs::write("/run/utmp", "");
}

/// An image of unpacked packages may lack what their scripts would have added.
fn complete_accounts() {
    let mut accounts = account::load();
    let before = accounts.clone();
    for (group, id) in [("root", 0), ("adm", 4), ("tty", 5), ("wheel", 10)] {
        accounts.ensure_group_with(group, id);
    }
    if accounts.user("root").is_none() {
        let root = account::NewUser {
            name: "root".to_owned(),
            uid: Some(0),
            gecos: "root".to_owned(),
            home: Some("/root".to_owned()),
            primary_group: Some("root".to_owned()),
            ..account::NewUser::default()
        };
        accounts.add_user(&root);
    }
    if accounts != before
        && let Err(error) = account::store(&accounts)
    {
        log::error(&format!("cannot write the accounts: {error}"));
    }
}

/// A number no other machine has.
pub fn machine_id() -> io::Result<()> {
    let mut id = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut id)?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let text = hex(&id);
    fs::write("/etc/machine-id", format!("{text}\n"))
}

pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// The kernel's name for the machine, and everybody else's.
pub fn set_host_name(name: &str) -> io::Result<()> {
    nix::unistd::sethostname(name)?;
    fs::write("/etc/hostname", format!("{name}\n"))?;
    // On Fedora a resolver module knows the machine's own name; here it stands in the file.
    hosts(name, "127.0.1.1")
}

pub fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// `/etc/hosts` with the machine's own name at an address.
pub fn hosts(name: &str, address: &str) -> io::Result<()> {
    fs::write("/etc/hosts", hosts_text(name, address))
}

fn hosts_text(name: &str, address: &str) -> String {
    let local = "localhost localhost.localdomain localhost4 localhost4.localdomain4";
    let mut text = format!(
        "127.0.0.1   {local}\n::1         localhost localhost.localdomain localhost6 localhost6.localdomain6\n"
    );
    let short = name.split('.').next().unwrap_or(name);
    if short == name && name != "localhost" {
        let _infallible = writeln!(text, "{address}   {name}");
    } else if name != "localhost" {
        let _infallible = writeln!(text, "{address}   {name} {short}");
    }
    text
}

/// A home with what `/etc/skel` has in it.
pub fn make_home(user: &User) -> io::Result<()> {
    let home = Path::new(&user.home);
    if home.exists() {
        return Ok(());
    }
    fs::create_dir_all(home)?;
    copy_tree(Path::new("/etc/skel"), home, user)?;
    chown(home, Some(user.uid), Some(user.gid))?;
    fs::set_permissions(home, Permissions::from_mode(0o700))
}

fn copy_tree(from: &Path, to: &Path, user: &User) -> io::Result<()> {
    for entry in fs::read_dir(from)?.flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target, user)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
        chown(&target, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// For whoever watches the serial line.
pub fn say_on_console(text: &str) {
    let said = OpenOptions::new()
        .write(true)
        .open(CONSOLE)
        .and_then(|mut console| console.write_all(text.replace('\n', "\r\n").as_bytes()));
    if let Err(error) = said {
        log::error(&format!("cannot write to {CONSOLE}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_the_machine() {
        let lines = |name, address| hosts_text(name, address).lines().count();
        assert_eq!(lines("localhost", "127.0.0.1"), 2);
        assert!(hosts_text("vm-a", "127.0.1.1").ends_with("127.0.1.1   vm-a\n"));
        assert!(
            hosts_text("vm-a.example.org", "127.0.0.1")
                .ends_with("127.0.0.1   vm-a.example.org vm-a\n")
        );
    }
}
