//! Where units are, and which of them start at boot.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::unit::{Unit, parse};

const DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const ENABLED: &str = "/etc/systemd/system";

/// Fedora's names where Debian's packages have others.
const OTHER_NAMES: [(&str, &str); 2] = [
    ("sshd.service", "ssh.service"),
    ("crond.service", "cron.service"),
];

/// `nginx` is `nginx.service`.
pub fn full_name(name: &str) -> String {
    let known = [
        ".service", ".target", ".socket", ".timer", ".mount", ".path",
    ];
    if known.iter().any(|suffix| name.ends_with(suffix)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

/// The file of a unit, and the name it has there.
pub fn find(name: &str) -> Option<(String, PathBuf)> {
    let other = OTHER_NAMES
        .iter()
        .find(|(fedora, _)| *fedora == name)
        .map(|(_, debian)| *debian);
    for name in [Some(name), other].into_iter().flatten() {
        if name.contains('/') {
            return None;
        }
        let template = name
            .split_once('@')
            .map(|(prefix, _)| format!("{prefix}@.service"));
        for directory in DIRECTORIES {
            for file in [Some(name), template.as_deref()].into_iter().flatten() {
                let path = Path::new(directory).join(file);
                if path.is_file() {
                    return Some((name.to_owned(), path));
                }
            }
        }
    }
    None
}

/// Whether a name, in full, means the SSH server.
pub fn is_ssh(name: &str) -> bool {
    find(name).is_some_and(|(name, _)| name == super::ssh::NAME)
}

pub fn load(name: &str) -> Option<(String, Unit, PathBuf)> {
    let (name, path) = find(name)?;
    let text = fs::read_to_string(&path).ok()?;
    let unit = parse(&text, &name);
    Some((name, unit, path))
}

/// Where a unit's being enabled shows.
fn links(unit: &Unit, name: &str) -> Vec<PathBuf> {
    let wants = unit
        .wanted_by
        .iter()
        .map(|target| format!("{ENABLED}/{target}.wants/{name}"));
    let aliases = unit
        .aliases
        .iter()
        .map(|alias| format!("{ENABLED}/{alias}"));
    wants.chain(aliases).map(PathBuf::from).collect()
}

/// Makes the links and says what a person sees.
pub fn enable(name: &str, unit: &Unit, path: &Path) -> io::Result<String> {
    let mut said = String::new();
    for link in links(unit, name) {
        if fs::symlink_metadata(&link).is_ok() {
            continue;
        }
        if let Some(directory) = link.parent() {
            fs::create_dir_all(directory)?;
        }
        symlink(path, &link)?;
        let _infallible = writeln!(
            said,
            "Created symlink '{}' → '{}'.",
            link.display(),
            path.display()
        );
    }
    Ok(said)
}

pub fn disable(name: &str, unit: &Unit) -> io::Result<String> {
    let mut said = String::new();
    for link in links(unit, name) {
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link)?;
            let _infallible = writeln!(said, "Removed '{}'.", link.display());
        }
    }
    Ok(said)
}

/// As `systemctl is-enabled` says it.
pub fn enabled_state(name: &str, unit: &Unit) -> &'static str {
    let links = links(unit, name);
    if links.is_empty() {
        "static"
    } else if links.iter().any(|link| fs::symlink_metadata(link).is_ok()) {
        "enabled"
    } else {
        "disabled"
    }
}

/// Everything that starts at boot, in order of name.
pub fn wanted() -> Vec<String> {
    let mut names: Vec<String> = [
        "multi-user.target.wants",
        "default.target.wants",
        "sysinit.target.wants",
    ]
    .iter()
    .filter_map(|target| fs::read_dir(Path::new(ENABLED).join(target)).ok())
    .flat_map(Iterator::flatten)
    .filter_map(|entry| entry.file_name().into_string().ok())
    .filter(|name| name.ends_with(".service"))
    .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_full() {
        assert_eq!(full_name("nginx"), "nginx.service");
        assert_eq!(full_name("nginx.service"), "nginx.service");
        assert_eq!(full_name("multi-user.target"), "multi-user.target");
        assert_eq!(full_name("a.b"), "a.b.service");
    }

    #[test]
    fn names_that_leave_the_directories() {
        assert_eq!(find("../../../etc/passwd"), None);
        assert_eq!(find("no-such-unit-anywhere.service"), None);
    }
}
