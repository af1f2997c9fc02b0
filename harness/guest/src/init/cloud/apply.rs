//! What becomes of the machine: host name, users, passwords, keys.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use super::config::{Config, EtcHosts};
use super::files;
use super::journal::Journal;
use super::users::{Secret, UserConfig, sudoers};
use crate::account::{self, Accounts, User};
use crate::{clock, crypt, environment};

/// `write_files`, those now or those at the end. The first that cannot be written ends it.
pub fn write_files(config: &Config, deferred: bool, journal: &mut Journal) {
    let module = if deferred {
        "cc_write_files_deferred"
    } else {
        "cc_write_files"
    };
    if !config.files.iter().any(|file| file.defer == deferred) {
        return;
    }
    let accounts = account::load();
    for file in config.files.iter().filter(|file| file.defer == deferred) {
        if let Err(error) = files::write(file, &accounts) {
            journal.fail(module, error);
            return;
        }
    }
}

pub fn host_name(config: &Config, journal: &mut Journal) {
    let Some(name) = &config.hostname else {
        return;
    };
    if let Err(error) = environment::set_host_name(name) {
        journal.fail(
            "cc_set_hostname",
            format!("Failed to set the hostname to {name} ({name}): {error}"),
        );
    }
    let managed = match config.etc_hosts {
        EtcHosts::Unmanaged => Ok(()),
        EtcHosts::Localhost => environment::hosts(name, "127.0.1.1"),
        EtcHosts::Template => environment::hosts(name, "127.0.0.1"),
    };
    if let Err(error) = managed {
        journal.fail(
            "cc_update_etc_hosts",
            format!("cannot write /etc/hosts: {error}"),
        );
    }
}

/// Users, groups, sudo, passwords and keys.
pub fn accounts(config: &Config, journal: &mut Journal) {
    let mut accounts = account::load();
    for (group, members) in &config.groups {
        accounts.ensure_group(group, false);
        for member in members {
            accounts.add_to_group(member, group);
        }
    }
    let mut made: Vec<(User, &UserConfig)> = Vec::new();
    for user in &config.users {
        made.extend(add(&mut accounts, user, journal).map(|who| (who, user)));
    }
    set_passwords(config, &mut accounts, journal);
    if let Err(error) = account::store(&accounts) {
        journal.fail(
            "cc_users_groups",
            format!("cannot write the accounts: {error}"),
        );
    }
    for (who, user) in &made {
        if user.create_home
            && let Err(error) = environment::make_home(who)
        {
            journal.warn(
                "cc_users_groups",
                format!("cannot make {}: {error}", who.home),
            );
        }
        let mut keys = user.keys.clone();
        if user.is_default {
            keys.extend(config.keys.iter().cloned());
        }
        authorize(who, &keys, "", journal);
    }
    root_keys(config, &accounts, journal);
    rules(config, journal);
    ssh(config, journal);
}

fn add(accounts: &mut Accounts, user: &UserConfig, journal: &mut Journal) -> Option<User> {
    let name = &user.new.name;
    let existed = accounts.user(name).is_some();
    let Some(who) = accounts.add_user(&user.new) else {
        journal.fail(
            "cc_users_groups",
            format!("Failed to create user {name}: not a name for a user"),
        );
        return None;
    };
    for group in &user.groups {
        accounts.ensure_group(group, true);
        accounts.add_to_group(name, group);
    }
    let today = clock::today();
    if existed {
        journal.info(
            "__init__",
            &format!("User {name} already exists, skipping."),
        );
    } else if let Some(hash) = &user.hash_if_new {
        accounts.set_secret(name, hash, today);
    }
    if let Some(hash) = &user.hash {
        accounts.set_secret(name, hash, today);
    }
    if let Some(plain) = &user.plain {
        set_plain(accounts, name, plain, journal);
    }
    if user.lock {
        accounts.lock(name);
    } else {
        accounts.unlock(name);
    }
    Some(who)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn set_plain(accounts: &mut Accounts, name: &str, password: &str, journal: &mut Journal) {
    const MODULE: &str = "cc_set_passwords";
    match random().map(|salt| crypt::hash(password, salt)) {
        Ok(Some(hash)) => {
            if !accounts.set_secret(name, &hash, clock::today()) {
                journal.fail(
                    MODULE,
                    format!("Failed to set passwords with chpasswd for ['{name}']: there is no such user"),
                );
            }
        }
        Ok(None) => journal.fail(MODULE, format!("the password of {name} cannot be hashed")),
        Err(error) => journal.fail(MODULE, format!("no random numbers for a password: {error}")),
    }
}

fn set_passwords(config: &Config, accounts: &mut Accounts, journal: &mut Journal) {
    let mut made_up = Vec::new();
    for password in &config.passwords {
        let user = &password.user;
        match &password.secret {
            Secret::Plain(plain) => set_plain(accounts, user, plain, journal),
            Secret::Hash(hash) => {
                if !accounts.set_secret(user, hash, clock::today()) {
                    journal.fail(
                        "cc_set_passwords",
                        format!("Failed to set hashed passwords with chpasswd for ['{user}']"),
                    );
                }
            }
            Secret::Random => match random::<10>() {
                Ok(bytes) => {
                    let plain = environment::hex(&bytes);
                    set_plain(accounts, user, &plain, journal);
                    made_up.push(format!("{user}:{plain}"));
                }
                Err(error) => journal.fail("cc_set_passwords", error.to_string()),
            },
        }
        if config.expire {
            accounts.expire(user);
        }
    }
    if !made_up.is_empty() {
        environment::say_on_console(&format!(
            "Set the following 'random' passwords\n{}\n",
            made_up.join("\n")
        ));
    }
}

/// Keys that open a user's account; `options` stand before each of them.
fn authorize(who: &User, keys: &[String], options: &str, journal: &mut Journal) {
    if keys.is_empty() {
        return;
    }
    let directory = format!("{}/.ssh", who.home);
    let path = format!("{directory}/authorized_keys");
    let mut text = String::new();
    for key in keys {
        text.extend([options, key.trim(), "\n"]);
    }
    let written = fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&path, text))
        .and_then(|()| fs::set_permissions(&directory, Permissions::from_mode(0o700)))
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o600)))
        .and_then(|()| chown(&directory, Some(who.uid), Some(who.gid)))
        .and_then(|()| chown(&path, Some(who.uid), Some(who.gid)));
    if let Err(error) = written {
        journal.fail("cc_ssh", format!("cannot write {path}: {error}"));
    }
}

/// With `disable_root`, whoever comes to root with these keys is sent to the default user.
fn root_keys(config: &Config, accounts: &Accounts, journal: &mut Journal) {
    let Some(root) = accounts.user("root") else {
        return;
    };
    let default = config.users.iter().find(|user| user.is_default);
    let options = match default {
        Some(user) if config.disable_root => format!(
            "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo 'Please login as the user \\\"{}\\\" rather than the user \\\"root\\\".';echo;sleep 10;exit 142\" ",
            user.new.name
        ),
        _ => String::new(),
    };
    authorize(&root, &config.keys, &options, journal);
}

fn rules(config: &Config, journal: &mut Journal) {
    const PATH: &str = "/etc/sudoers.d/90-cloud-init-users";
    if config.users.iter().all(|user| user.sudo.is_empty()) {
        return;
    }
    let written = fs::create_dir_all("/etc/sudoers.d")
        .and_then(|()| fs::write(PATH, sudoers(&config.users)))
        .and_then(|()| fs::set_permissions(PATH, Permissions::from_mode(0o440)));
    if let Err(error) = written {
        journal.fail(
            "cc_users_groups",
            format!("Failed to write sudoers file {PATH}: {error}"),
        );
    }
}

fn ssh(config: &Config, journal: &mut Journal) {
    let Some(allowed) = config.ssh_pwauth else {
        return;
    };
    let directory = Path::new("/etc/ssh/sshd_config.d");
    if !Path::new("/etc/ssh").exists() {
        journal.info(
            "cc_set_passwords",
            "there is no SSH server; ssh_pwauth has nothing to change",
        );
        return;
    }
    let line = format!(
        "PasswordAuthentication {}\n",
        if allowed { "yes" } else { "no" }
    );
    let written = fs::create_dir_all(directory)
        .and_then(|()| fs::write(directory.join("50-cloud-init.conf"), line));
    if let Err(error) = written {
        journal.fail(
            "cc_set_passwords",
            format!("cannot configure the SSH server: {error}"),
        );
    }
}

pub fn timezone(config: &Config, journal: &mut Journal) {
    let Some(zone) = &config.timezone else {
        return;
    };
    let file = format!("/usr/share/zoneinfo/{zone}");
    if zone.contains("..") || !Path::new(&file).is_file() {
        journal.fail(
            "cc_timezone",
            format!("Invalid timezone {zone}, no file found at {file}"),
        );
        return;
    }
    let _absent = fs::remove_file("/etc/localtime");
    let _best_effort = fs::write("/etc/timezone", format!("{zone}\n"));
    if let Err(error) = symlink(&file, "/etc/localtime") {
        journal.fail(
            "cc_timezone",
            format!("cannot link /etc/localtime: {error}"),
        );
    }
}
