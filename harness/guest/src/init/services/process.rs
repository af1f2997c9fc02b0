//! Starting one command of a service.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use super::unit::{Exec, Unit, expand, words};
use crate::{account, sys};

const LOGS: &str = "/run/trunkline/services";

/// Where a service's words go, for there is no other journal.
pub fn log_path(name: &str) -> String {
    format!("{LOGS}/{name}.log")
}

/// Starts it and says which process it is.
pub fn start(name: &str, unit: &Unit, exec: &Exec, main: Option<i32>) -> io::Result<i32> {
    let mut environment = environment(unit);
    environment.extend(main.map(|main| ("MAINPID".to_owned(), main.to_string())));
    let words = expand(&exec.words, &environment);
    let program = words
        .first()
        .ok_or_else(|| io::Error::other("no program"))?;
    fs::create_dir_all(LOGS)?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(log_path(name))?;
    let mut command = sys::command(program);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
        .env("LANG", "C.UTF-8")
        .envs(environment)
        .current_dir(unit.directory.as_deref().unwrap_or("/"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let accounts = account::load();
    if let Some(user) = &unit.user {
        let user = accounts
            .user(user)
            .ok_or_else(|| io::Error::other(format!("there is no user {user}")))?;
        command.uid(user.uid).gid(user.gid);
    }
    if let Some(group) = &unit.group {
        let group = accounts
            .group_id(group)
            .ok_or_else(|| io::Error::other(format!("there is no group {group}")))?;
        command.gid(group);
    }
    // Process 1 waits for everybody's end in one place.
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

fn environment(unit: &Unit) -> Vec<(String, String)> {
    let mut pairs = unit.environment.clone();
    for file in &unit.environment_files {
        let text = fs::read_to_string(file.trim_start_matches('-')).unwrap_or_default();
        for line in text.lines().map(str::trim) {
            if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                let value = words(value).join(" ");
                pairs.push((key.trim().to_owned(), value));
            }
        }
    }
    pairs
}

/// Directories that are the service's own.
pub fn prepare(unit: &Unit) -> io::Result<()> {
    let accounts = account::load();
    let owner = unit.user.as_ref().and_then(|user| accounts.user(user));
    for directory in &unit.runtime_directories {
        let path = format!("/run/{directory}");
        fs::create_dir_all(&path)?;
        if let Some(owner) = &owner {
            chown(&path, Some(owner.uid), Some(owner.gid))?;
        }
    }
    Ok(())
}

/// The first condition that does not hold.
pub fn unmet(unit: &Unit) -> Option<&str> {
    unit.conditions
        .iter()
        .map(String::as_str)
        .find(|condition| {
            let path = condition.trim_start_matches(['!', '|']);
            let there = fs::exists(path).unwrap_or(false);
            there == condition.starts_with('!')
        })
}
