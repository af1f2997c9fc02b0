//! From the initial ramdisk to the guest's own root.

mod cmdline;
mod modules;
mod mounts;
mod root;

use std::fs;
use std::path::Path;

pub use self::cmdline::CommandLine;
use crate::{PROGRAM, log};

/// Mounts, modules, root. Everything after this is the same with and without a ramdisk.
pub fn boot() -> Result<CommandLine, String> {
    mounts::first();
    let text = fs::read_to_string("/proc/cmdline")
        .map_err(|error| format!("cannot read the kernel's command line: {error}"))?;
    let command_line = CommandLine::parse(&text);
    // In namespaces the root is there already.
    if Path::new(modules::ORDER).exists() {
        modules::load();
        root::enter(&command_line)?;
    }
    mounts::second();
    if let Err(error) = install() {
        log::error(&format!("cannot put the program at {PROGRAM}: {error}"));
    }
    Ok(command_line)
}

/// The ramdisk's copy cannot be reached from the new root.
fn install() -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let program = fs::read("/proc/self/exe")?;
    if let Some(directory) = Path::new(PROGRAM).parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(PROGRAM, program)?;
    fs::set_permissions(PROGRAM, fs::Permissions::from_mode(0o755))
}
