//! Users of the configuration: from what it says to what becomes of the accounts.

use serde_json::Value;
use std::fmt::Write as _;

use super::journal::Journal;
use super::value::{boolean, flag, list, text, text_of, texts, type_name};
use crate::account::NewUser;

const MODULE: &str = "cc_users_groups";

/// The user that a Fedora image brings.
pub const DEFAULT_USER: &str = "fedora";

/// A user and everything that goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserConfig {
    pub new: NewUser,
    pub groups: Vec<String>,
    pub is_default: bool,
    pub create_home: bool,
    pub lock: bool,
    /// Only for a user that does not exist yet.
    pub hash_if_new: Option<String>,
    pub hash: Option<String>,
    pub plain: Option<String>,
    /// Rules for sudo; `None` when there are none.
    pub sudo: Vec<String>,
    pub keys: Vec<String>,
}

/// A password of `chpasswd` or `password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    pub user: String,
    pub secret: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    Plain(String),
    Hash(String),
    Random,
}

fn default_user() -> UserConfig {
    UserConfig {
        new: NewUser {
            name: DEFAULT_USER.to_owned(),
            gecos: "Fedora Cloud User".to_owned(),
            ..NewUser::default()
        },
        groups: ["wheel", "adm", "systemd-journal"]
            .map(str::to_owned)
            .to_vec(),
        is_default: true,
        create_home: true,
        lock: true,
        sudo: vec!["ALL=(ALL) NOPASSWD:ALL".to_owned()],
        ..UserConfig::default()
    }
}

/// The users that are to be there: the default one when nothing is said of users.
pub fn parse(config: &Value, journal: &mut Journal) -> Vec<UserConfig> {
    let mut default = default_user();
    match config.get("user") {
        Some(Value::String(name)) => name.clone_into(&mut default.new.name),
        Some(map @ Value::Object(_)) => {
            apply(&mut default, map, journal);
        }
        _ => {}
    }
    let Some(entries) = config.get("users") else {
        return vec![default];
    };
    let mut users = Vec::new();
    for entry in list(Some(entries)) {
        match entry {
            Value::String(names) => {
                for name in names
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                {
                    users.push(if name == "default" {
                        default.clone()
                    } else {
                        named(name)
                    });
                }
            }
            Value::Object(map) if map.get("name").and_then(text).as_deref() == Some("default") => {
                let mut user = default.clone();
                let name = user.new.name.clone();
                apply(&mut user, entry, journal);
                user.new.name = name;
                users.push(user);
            }
            Value::Object(map) if map.contains_key("name") => {
                let mut user = named("");
                apply(&mut user, entry, journal);
                users.push(user);
            }
            other => journal.warn(
                MODULE,
                format!(
                    "an entry of users needs a name; the one of type {} is ignored",
                    type_name(other)
                ),
            ),
        }
    }
    users
}

fn named(name: &str) -> UserConfig {
    UserConfig {
        new: NewUser {
            name: name.to_owned(),
            ..NewUser::default()
        },
        create_home: true,
        lock: true,
        ..UserConfig::default()
    }
}

fn apply(user: &mut UserConfig, map: &Value, journal: &mut Journal) {
    if let Some(name) = text_of(map, "name") {
        user.new.name = name;
    }
    user.new.uid = map
        .get("uid")
        .and_then(text)
        .and_then(|uid| uid.parse().ok());
    if let Some(gecos) = text_of(map, "gecos") {
        user.new.gecos = gecos;
    }
    user.new.home = text_of(map, "homedir");
    user.new.shell = text_of(map, "shell");
    user.new.primary_group =
        text_of(map, "primary_group").or_else(|| text_of(map, "primary-group"));
    user.new.no_user_group = flag(map, "no_user_group", flag(map, "no-user-group", false));
    user.new.system = flag(map, "system", false);
    user.create_home = !flag(
        map,
        "no_create_home",
        flag(map, "no-create-home", user.new.system),
    );
    user.lock = flag(map, "lock_passwd", flag(map, "lock-passwd", true));
    user.hash_if_new = text_of(map, "passwd");
    user.hash = text_of(map, "hashed_passwd");
    user.plain = text_of(map, "plain_text_passwd");
    if let Some(groups) = map.get("groups") {
        user.groups = match groups {
            Value::Object(groups) => groups.keys().cloned().collect(),
            groups => texts(Some(groups))
                .iter()
                .flat_map(|names| names.split(','))
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
        };
    }
    match map.get("sudo") {
        None => {}
        Some(Value::Null | Value::Bool(false)) => user.sudo.clear(),
        Some(rules) => user.sudo = texts(Some(rules)),
    }
    user.keys.extend(texts(
        map.get("ssh_authorized_keys")
            .or_else(|| map.get("ssh-authorized-keys")),
    ));
    if map.get("ssh_import_id").is_some() || map.get("ssh-import-id").is_some() {
        journal.warn(
            "cc_ssh_import_id",
            format!("keys of {} are not fetched in this guest", user.new.name),
        );
    }
}

/// `groups:` of the configuration, each with its members.
pub fn groups(config: &Value) -> Vec<(String, Vec<String>)> {
    let mut groups = Vec::new();
    for entry in list(config.get("groups")) {
        match entry {
            Value::String(names) => groups.extend(
                names
                    .split(',')
                    .map(|name| (name.trim().to_owned(), Vec::new())),
            ),
            Value::Object(map) => groups.extend(
                map.iter()
                    .map(|(name, members)| (name.clone(), texts(Some(members)))),
            ),
            _ => {}
        }
    }
    groups.retain(|(name, _)| !name.is_empty());
    groups
}

/// The passwords to set, and whether they must be changed at the first login.
pub fn passwords(
    config: &Value,
    default_user: Option<&str>,
    journal: &mut Journal,
) -> (Vec<Password>, bool) {
    const MODULE: &str = "cc_set_passwords";
    let change = config.get("chpasswd").unwrap_or(&Value::Null);
    let mut passwords = Vec::new();
    for entry in list(change.get("users")) {
        let Some(user) = text_of(entry, "name") else {
            journal.warn(
                MODULE,
                "an entry of chpasswd users needs a name; it is ignored",
            );
            continue;
        };
        let password = text_of(entry, "password");
        let kind = text_of(entry, "type").unwrap_or_else(|| "hash".to_owned());
        let secret = match (kind.as_str(), password) {
            ("RANDOM", _) | (_, None) => Secret::Random,
            ("text", Some(password)) => Secret::Plain(password),
            (_, Some(password)) => Secret::Hash(password),
        };
        passwords.push(Password { user, secret });
    }
    let lines: Vec<String> = match change.get("list") {
        Some(Value::String(lines)) => lines.lines().map(str::to_owned).collect(),
        entries => texts(entries),
    };
    for line in lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
    {
        match line.split_once(':') {
            Some((user, password)) => passwords.push(Password {
                user: user.to_owned(),
                secret: secret(password),
            }),
            None => journal.warn(
                MODULE,
                "a line of chpasswd is not of the form user:password; it is ignored",
            ),
        }
    }
    if let (true, Some(password)) = (passwords.is_empty(), text_of(config, "password")) {
        match default_user {
            Some(user) => passwords.push(Password {
                user: user.to_owned(),
                secret: secret(&password),
            }),
            None => journal.warn(MODULE, "No default or defined user to change password for."),
        }
    }
    let expire = change.get("expire").and_then(boolean).unwrap_or(true);
    (passwords, expire)
}

fn secret(password: &str) -> Secret {
    let hash = ["$1$", "$2a$", "$2y$", "$5$", "$6$", "$y$"]
        .iter()
        .any(|method| password.starts_with(method));
    if hash && !password.contains(':') && password.matches('$').count() >= 3 {
        Secret::Hash(password.to_owned())
    } else if password == "R" || password == "RANDOM" {
        Secret::Random
    } else {
        Secret::Plain(password.to_owned())
    }
}

/// What sudo reads about them.
pub fn sudoers(users: &[UserConfig]) -> String {
    let mut text = "# Created by cloud-init\n".to_owned();
    for user in users.iter().filter(|user| !user.sudo.is_empty()) {
        let name = &user.new.name;
        let _infallible = writeln!(text, "\n# User rules for {name}");
        for rule in &user.sudo {
            let _infallible = writeln!(text, "{name} {rule}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn users(config: &Value) -> (Vec<UserConfig>, usize) {
        let mut journal = Journal::default();
        let users = parse(config, &mut journal);
        (users, journal.warnings.len())
    }

    #[test]
    fn the_default_user() {
        let (found, _) = users(&json!({}));
        assert_eq!(found, [default_user()]);
        let (found, _) = users(&json!({"user": "cloud-user"}));
        assert_eq!(found[0].new.name, "cloud-user");
        assert!(found[0].is_default && !found[0].sudo.is_empty());
        let (found, _) = users(&json!({"users": ["default", {"name": "bob"}]}));
        assert_eq!(found.len(), 2);
        assert!(!found[1].is_default && found[1].sudo.is_empty());
        let (found, _) = users(&json!({"users": [{"name": "bob"}]}));
        assert!(found.iter().all(|user| !user.is_default));
    }

    #[test]
    fn a_user_in_full() {
        let (found, warnings) = users(&json!({"users": [{
            "name": "bob", "uid": "1234", "gecos": "Bob", "homedir": "/srv/bob", "shell": "/bin/sh",
            "primary_group": "staff", "groups": "wheel, adm", "lock_passwd": false,
            "plain_text_passwd": "pw", "sudo": false, "ssh_authorized_keys": ["ssh-rsa A"],
            "no_create_home": true
        }]}));
        assert_eq!(warnings, 0);
        let user = &found[0];
        assert_eq!(user.new.uid, Some(1234));
        assert_eq!(user.groups, ["wheel", "adm"]);
        assert_eq!(user.plain.as_deref(), Some("pw"));
        assert!(!user.lock && !user.create_home && user.sudo.is_empty());
        assert_eq!(user.keys, ["ssh-rsa A"]);
    }

    #[test]
    fn users_that_are_none() {
        let (found, warnings) = users(&json!({"users": [{"uid": 1}, 7, "a,b"]}));
        assert_eq!(found.len(), 2);
        assert_eq!(warnings, 2);
    }

    fn set(config: &Value) -> (Vec<(String, Secret)>, bool) {
        let (passwords, expire) = passwords(config, Some("fedora"), &mut Journal::default());
        let pairs = passwords.into_iter().map(|each| (each.user, each.secret));
        (pairs.collect(), expire)
    }

    #[test]
    fn passwords_in_every_form() {
        let plain = |text: &str| Secret::Plain(text.to_owned());
        let own = |name: &str| name.to_owned();
        assert_eq!(
            set(&json!({"password": "fedora", "chpasswd": {"expire": false}})),
            (vec![(own("fedora"), plain("fedora"))], false)
        );
        assert_eq!(
            set(&json!({"password": 12345})),
            (vec![(own("fedora"), plain("12345"))], true)
        );
        assert_eq!(
            set(
                &json!({"password": "x", "chpasswd": {"list": "root:toor\nbob:R\namy:$6$s$h\n", "expire": "False"}})
            ),
            (
                vec![
                    (own("root"), plain("toor")),
                    (own("bob"), Secret::Random),
                    (own("amy"), Secret::Hash(own("$6$s$h")))
                ],
                false
            )
        );
        assert_eq!(
            set(&json!({"chpasswd": {"list": ["root:a:b"], "users": [
                {"name": "a", "password": "t", "type": "text"},
                {"name": "b", "password": "$6$s$h"},
                {"name": "c", "type": "RANDOM"}
            ]}}))
            .0,
            [
                (own("a"), plain("t")),
                (own("b"), Secret::Hash(own("$6$s$h"))),
                (own("c"), Secret::Random),
                (own("root"), plain("a:b"))
            ]
        );
    }

    #[test]
    fn passwords_for_nobody() {
        let mut journal = Journal::default();
        let (found, _) = passwords(&json!({"password": "x"}), None, &mut journal);
        assert!(found.is_empty());
        let (found, _) = passwords(
            &json!({"chpasswd": {"list": "nocolon\n"}}),
            None,
            &mut journal,
        );
        assert!(found.is_empty());
        assert_eq!(journal.warnings.len(), 2);
    }

    #[test]
    fn groups_and_sudo() {
        assert_eq!(
            groups(&json!({"groups": ["a", {"b": ["x", "y"]}, "c, d"]})),
            [
                ("a".to_owned(), vec![]),
                ("b".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
                ("c".to_owned(), vec![]),
                ("d".to_owned(), vec![])
            ]
        );
        assert_eq!(
            sudoers(&[default_user(), named("bob")]),
            "# Created by cloud-init\n\n# User rules for fedora\nfedora ALL=(ALL) NOPASSWD:ALL\n"
        );
    }
}
