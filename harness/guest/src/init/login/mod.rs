//! The login on the serial line: a program of its own, because it becomes the shell.

mod terminal;
pub mod utmp;

use std::convert::Infallible;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{chown, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use nix::unistd::{Gid, Uid, setgid, setgroups, setsid, setuid};

use self::terminal::{Input, Terminal};
use crate::account::{self, User};
use crate::crypt::{self, Verdict};
use crate::environment::{self, CONSOLE};
use crate::{clock, log};

const TRIES: u32 = 3;
/// As every login: guessing shall take time.
const AFTER_A_MISTAKE: Duration = Duration::from_secs(1);

/// Waits until standard input is closed, then for somebody who knows a password.
pub fn run() -> ExitCode {
    let mut gate = Vec::new();
    let _closed = io::stdin().read_to_end(&mut gate);
    match session() {
        Ok(never) => match never {},
        Err(error) => {
            log::info(&format!("the login on {CONSOLE} ends: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn session() -> io::Result<Infallible> {
    let _leader = setsid();
    let mut terminal = Terminal::open(Path::new(CONSOLE))?;
    terminal.say(&format!("\n{}\n", greeting()))?;
    let user = authenticate(&mut terminal)?;
    begin(&terminal, &user)?;
    Err(shell(&user))
}

fn greeting() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("Linux", |name| name.trim_matches('"'));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{name}\nKernel {} on {} (ttyS0)\n",
        kernel.trim(),
        std::env::consts::ARCH
    )
}

fn authenticate(terminal: &mut Terminal) -> io::Result<User> {
    for _ in 0..TRIES {
        let name = name(terminal)?;
        let password = terminal.secret("Password: ")?;
        match check(&name, &password) {
            Some((user, false)) => return Ok(user),
            Some((user, true)) => {
                change_password(terminal, &user, &password)?;
                return Ok(user);
            }
            None => {
                thread::sleep(AFTER_A_MISTAKE);
                terminal.say("\nLogin incorrect\n\n")?;
            }
        }
    }
    terminal.say(&format!("Maximum number of tries exceeded ({TRIES})\n"))?;
    Err(io::Error::other("too many tries"))
}

fn name(terminal: &mut Terminal) -> io::Result<String> {
    loop {
        terminal.say(&format!("{} login: ", environment::host_name()))?;
        // Nobody is hurried before there is a name.
        match terminal.line(None)? {
            Input::Line(line) if line.trim().is_empty() => {}
            Input::Line(line) => return Ok(line.trim().to_owned()),
            Input::End => return Err(io::Error::other("the line was closed")),
        }
    }
}

/// The user, and whether the password must be changed.
fn check(name: &str, password: &str) -> Option<(User, bool)> {
    let accounts = account::load();
    let user = accounts.user(name)?;
    match crypt::verify(password, accounts.secret(name)?) {
        Verdict::Right => Some((user, accounts.is_expired(name))),
        Verdict::Wrong => None,
        Verdict::Unknown => {
            log::error(&format!(
                "the password of {name} was made by a method that this guest cannot check; use one that begins with $6$"
            ));
            None
        }
    }
}

fn change_password(terminal: &mut Terminal, user: &User, current: &str) -> io::Result<()> {
    terminal
        .say("You are required to change your password immediately (administrator enforced).\n")?;
    if terminal.secret("Current password: ")? != current {
        terminal.say("\nAuthentication token manipulation error\n")?;
        return Err(io::Error::other("the current password was wrong"));
    }
    for _ in 0..TRIES {
        let new = terminal.secret("New password: ")?;
        if terminal.secret("Retype new password: ")? != new {
            terminal.say("Sorry, passwords do not match.\n")?;
        } else if new.is_empty() || new == current {
            terminal.say("The password was not changed.\n")?;
        } else {
            let mut salt = [0; 12];
            fs::File::open("/dev/urandom")?.read_exact(&mut salt)?;
            let hash = crypt::hash(&new, salt).ok_or_else(|| io::Error::other("no hash"))?;
            let mut accounts = account::load();
            accounts.set_secret(&user.name, &hash, clock::today());
            return account::store(&accounts);
        }
    }
    Err(io::Error::other("the password was not changed"))
}

fn begin(terminal: &Terminal, user: &User) -> io::Result<()> {
    let last = format!("/run/trunkline/last/{}", user.uid);
    if let Ok(before) = fs::read_to_string(&last) {
        terminal.say(&format!("Last login: {before} on ttyS0\n"))?;
    }
    let now = clock::Utc::now().ctime();
    let _best_effort =
        fs::create_dir_all("/run/trunkline/last").and_then(|()| fs::write(&last, now));
    let _best_effort = utmp::write(&utmp::Entry::login(&user.name));
    let tty_group = account::load().group_id("tty");
    fchown(
        terminal.file(),
        Some(user.uid),
        tty_group.or(Some(user.gid)),
    )
}

/// Becomes the user's shell.
fn shell(user: &User) -> io::Error {
    let groups: Vec<Gid> = account::load()
        .groups_of(user)
        .into_iter()
        .map(Gid::from_raw)
        .collect();
    let became = setgroups(&groups)
        .and_then(|()| setgid(Gid::from_raw(user.gid)))
        .and_then(|()| setuid(Uid::from_raw(user.uid)));
    if let Err(error) = became {
        return error.into();
    }
    let mut home = user.home.as_str();
    if std::env::set_current_dir(home).is_err() {
        println!("No directory, logging in with HOME=/\r");
        home = "/";
        let _root = std::env::set_current_dir(home);
    }
    let shell = if user.shell.is_empty() {
        "/bin/sh"
    } else {
        &user.shell
    };
    let name = shell.rsplit('/').next().unwrap_or(shell);
    Command::new(shell)
        .arg0(format!("-{name}"))
        .env_clear()
        .envs([
            ("HOME", home),
            ("SHELL", shell),
            ("USER", &user.name),
            ("LOGNAME", &user.name),
            ("PATH", "/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin"),
            ("TERM", "vt220"),
            ("LANG", "C.UTF-8"),
        ])
        .exec()
}

/// After a session: the line is root's again, and nobody is logged in.
pub fn ended() {
    let _best_effort = chown(CONSOLE, Some(0), account::load().group_id("tty"));
    let _best_effort = utmp::write(&utmp::Entry::logout());
}
