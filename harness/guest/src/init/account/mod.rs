//! Users and groups: the four files as data.

mod table;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub use self::table::{Accounts, NewUser, User};

/// The accounts of the running system.
pub fn load() -> Accounts {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    Accounts::parse(
        &read("/etc/passwd"),
        &read("/etc/group"),
        &read("/etc/shadow"),
    )
}

/// Whoever reads them meanwhile sees the old or the new ones, never half of them.
pub fn store(accounts: &Accounts) -> io::Result<()> {
    write("/etc/shadow", 0o640, &accounts.shadow_text())?;
    write("/etc/group", 0o644, &accounts.group_text())?;
    write("/etc/passwd", 0o644, &accounts.passwd_text())
}

fn write(path: &str, mode: u32, text: &str) -> io::Result<()> {
    let new = format!("{path}.new");
    let _absent = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, Path::new(path))
}
