//! The identities that a user namespace of ours has.

use std::fs;
use std::io;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, getegid, geteuid};
use thiserror::Error;

use super::ContainError;

/// A block of subordinate identities, from `/etc/subuid` or `/etc/subgid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub start: u32,
    pub count: u32,
}

/// Inside, 0 is the user; 1 and up are the user's subordinate identities. So what root owns inside
/// belongs to the user outside and can be removed without any namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    pub uid: Uid,
    pub gid: Gid,
    pub subuids: IdRange,
    pub subgids: IdRange,
}

/// Enough for every system user and `nobody`.
const ENOUGH: u32 = 65_534;

#[derive(Debug, Error)]
pub enum IdMapError {
    #[error(
        "user {user} has fewer than 65534 subordinate identities in {file}; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    )]
    NoSubordinates { user: String, file: &'static str },
    #[error("cannot read {file}: {source}; the package uidmap provides it: apt-get install uidmap")]
    Read {
        file: &'static str,
        source: io::Error,
    },
    #[error("user {uid} has no entry in the user database")]
    NoUser { uid: Uid },
}

impl IdMap {
    pub fn of_current_user() -> Result<Self, IdMapError> {
        let (uid, gid) = (geteuid(), getegid());
        let user = User::from_uid(uid)
            .ok()
            .flatten()
            .ok_or(IdMapError::NoUser { uid })?;
        let range = |file| {
            let text =
                fs::read_to_string(file).map_err(|source| IdMapError::Read { file, source })?;
            range_in(&text, &user.name, uid.as_raw()).ok_or_else(|| IdMapError::NoSubordinates {
                user: user.name.clone(),
                file,
            })
        };
        Ok(Self {
            uid,
            gid,
            subuids: range("/etc/subuid")?,
            subgids: range("/etc/subgid")?,
        })
    }

    /// Arguments of newuidmap behind the process id.
    pub fn uid_arguments(&self) -> [u32; 6] {
        arguments(self.uid.as_raw(), self.subuids)
    }

    /// Arguments of newgidmap behind the process id.
    pub fn gid_arguments(&self) -> [u32; 6] {
        arguments(self.gid.as_raw(), self.subgids)
    }

    /// Maps the user namespace of a process.
    pub fn apply(&self, pid: u32) -> Result<(), ContainError> {
        map("newuidmap", pid, self.uid_arguments())?;
        map("newgidmap", pid, self.gid_arguments())
    }
}

fn arguments(own: u32, subordinates: IdRange) -> [u32; 6] {
    let count = subordinates.count.min(65_535);
    [0, own, 1, 1, subordinates.start, count]
}

fn map(program: &'static str, pid: u32, arguments: [u32; 6]) -> Result<(), ContainError> {
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(arguments.map(|argument| argument.to_string()))
        .output()
        .map_err(|source| ContainError::Start {
            program,
            package: "uidmap",
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(ContainError::MapRefused {
        program,
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// The largest block of the user, named or numbered; see subuid(5).
fn range_in(text: &str, name: &str, uid: u32) -> Option<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let range = IdRange {
                start: fields.next()?.parse().ok()?,
                count: fields.next()?.parse().ok()?,
            };
            (owner == name || owner.parse() == Ok(uid)).then_some(range)
        })
        .filter(|range| range.count >= ENOUGH)
        .max_by_key(|range| range.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_block_of_the_user_counts() {
        let text = "alice:100000:65536\nbob:165536:1000\nbob:300000:65536\n1002:500000:70000\n";
        let start = |name, uid| range_in(text, name, uid).map(|range| range.start);
        assert_eq!(start("alice", 1000), Some(100_000));
        assert_eq!(start("bob", 1001), Some(300_000));
        assert_eq!(start("carol", 1002), Some(500_000));
        assert_eq!(start("dave", 1003), None);
    }

    #[test]
    fn root_inside_is_the_user_outside() {
        let range = IdRange {
            start: 100_000,
            count: 65_536,
        };
        assert_eq!(arguments(1000, range), [0, 1000, 1, 1, 100_000, 65_535]);
    }
}
