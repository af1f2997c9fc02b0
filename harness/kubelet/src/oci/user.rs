//! Who a container runs as.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use trunkline_userland::Image;

use super::spec::UserIds;
use super::{ConfigError, whose};

/// The image's user and group databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Databases {
    pub passwd: String,
    pub group: String,
}

impl Databases {
    /// Reads them from a root file system; a missing one is empty.
    pub(crate) fn read(rootfs: &Path) -> Self {
        Self {
            passwd: read_inside(rootfs, "etc/passwd").unwrap_or_default(),
            group: read_inside(rootfs, "etc/group").unwrap_or_default(),
        }
    }

    fn user(&self, wanted: &Name) -> Option<Account> {
        self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            let home = fields.nth(1).unwrap_or("/");
            wanted.matches(name, uid).then(|| Account {
                name: name.to_owned(),
                uid,
                gid,
                home: home.to_owned(),
            })
        })
    }

    fn group(&self, wanted: &Name) -> Option<u32> {
        self.groups()
            .find(|(name, gid, _)| wanted.matches(name, *gid))
            .map(|(_, gid, _)| gid)
    }

    fn memberships(&self, user: &str) -> impl Iterator<Item = u32> {
        self.groups()
            .filter(move |(_, _, members)| members.split(',').any(|m| m == user))
            .map(|(_, gid, _)| gid)
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }
}

/// Links inside an image must not lead out of it.
fn read_inside(rootfs: &Path, path: &str) -> std::io::Result<String> {
    let root = rustix::fs::open(
        rootfs,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let fd = openat2(
        root,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    )?;
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text)?;
    Ok(text)
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

enum Name {
    Number(u32),
    Text(String),
}

impl Name {
    fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }

    fn matches(&self, name: &str, number: u32) -> bool {
        match self {
            Self::Number(n) => *n == number,
            Self::Text(t) => t == name,
        }
    }
}

/// The process's ids and its home directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub ids: UserIds,
    pub home: String,
}

pub(super) fn resolve(
    pod: &Pod,
    container: &Container,
    image: &Image,
    databases: &Databases,
) -> Result<User, ConfigError> {
    let pod_security = pod
        .spec
        .as_ref()
        .and_then(|s| s.security_context.clone())
        .unwrap_or_default();
    let security = container.security_context.clone().unwrap_or_default();
    let run_as_user = security.run_as_user.or(pod_security.run_as_user);
    let run_as_group = security.run_as_group.or(pod_security.run_as_group);
    let non_root = security.run_as_non_root.or(pod_security.run_as_non_root) == Some(true);
    if non_root {
        check_non_root(pod, container, image, run_as_user)?;
    }

    let (image_user, image_group) = match image.config.user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (image.config.user.as_str(), None),
    };
    let name = match run_as_user {
        Some(uid) => Name::Number(id(uid)?),
        None if image_user.is_empty() => Name::Number(0),
        None => Name::parse(image_user),
    };
    let account = databases.user(&name);
    let uid = match (&account, name) {
        (Some(account), _) => account.uid,
        (None, Name::Number(uid)) => uid,
        (None, Name::Text(name)) => {
            return Err(ConfigError(format!(
                "unable to find user {name}: no matching entries in passwd file"
            )));
        }
    };
    let gid = match (run_as_group, run_as_user, image_group) {
        (Some(gid), _, _) => id(gid)?,
        (None, None, Some(group)) => {
            match (databases.group(&Name::parse(group)), Name::parse(group)) {
                (Some(gid), _) | (None, Name::Number(gid)) => gid,
                (None, Name::Text(name)) => {
                    return Err(ConfigError(format!(
                        "unable to find group {name}: no matching entries in group file"
                    )));
                }
            }
        }
        _ => account.as_ref().map_or(0, |a| a.gid),
    };

    let mut groups: Vec<u32> = Vec::new();
    if let Some(account) = &account {
        groups.extend(databases.memberships(&account.name));
    }
    for gid in pod_security
        .supplemental_groups
        .iter()
        .flatten()
        .chain(pod_security.fs_group.iter())
    {
        groups.push(id(*gid)?);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(User {
        ids: UserIds {
            uid,
            gid,
            additional_gids: groups,
        },
        home: account.map_or_else(|| "/".to_owned(), |a| a.home),
    })
}

fn id(number: i64) -> Result<u32, ConfigError> {
    u32::try_from(number).map_err(|_| ConfigError(format!("{number} is no user or group id")))
}

fn check_non_root(
    pod: &Pod,
    container: &Container,
    image: &Image,
    run_as_user: Option<i64>,
) -> Result<(), ConfigError> {
    let whose = whose(pod, container);
    let user = image.config.user.split(':').next().unwrap_or_default();
    let refusal = match run_as_user {
        Some(0) => format!("container's runAsUser breaks non-root policy {whose}"),
        Some(_) => return Ok(()),
        None => match user.parse::<u32>() {
            Ok(0) => format!("container has runAsNonRoot and image will run as root {whose}"),
            Ok(_) => return Ok(()),
            Err(_) if user.is_empty() => {
                format!("container has runAsNonRoot and image will run as root {whose}")
            }
            Err(_) => format!(
                "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {whose}"
            ),
        },
    };
    Err(ConfigError(refusal))
}
