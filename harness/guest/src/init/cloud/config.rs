//! The configuration as a whole.

use serde_json::Value;

use super::files::{self, NewFile};
use super::journal::Journal;
use super::metadata::MetaData;
use super::users::{self, Password, UserConfig};
use super::value::{boolean, flag, list, text_of, texts};
use super::{packages, scripts};

/// What `/etc/hosts` is to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtcHosts {
    #[default]
    Unmanaged,
    Localhost,
    Template,
}

/// What is to happen once everything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerState {
    pub mode: String,
    pub delay: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Long or short, as the kernel is to know it.
    pub hostname: Option<String>,
    pub etc_hosts: EtcHosts,
    pub groups: Vec<(String, Vec<String>)>,
    pub users: Vec<UserConfig>,
    pub passwords: Vec<Password>,
    pub expire: bool,
    pub keys: Vec<String>,
    pub disable_root: bool,
    pub ssh_pwauth: Option<bool>,
    pub files: Vec<NewFile>,
    pub bootcmd: Option<String>,
    pub runcmd: Option<String>,
    pub packages: Vec<String>,
    /// `package_update` or `package_upgrade` is asked for.
    pub package_sources: bool,
    pub timezone: Option<String>,
    pub final_message: Option<String>,
    pub power_state: Option<PowerState>,
}

/// Keys that mean something here.
const KNOWN: [&str; 29] = [
    "bootcmd",
    "chpasswd",
    "disable_root",
    "final_message",
    "fqdn",
    "groups",
    "hostname",
    "manage_etc_hosts",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "packages",
    "password",
    "power_state",
    "prefer_fqdn_over_hostname",
    "preserve_hostname",
    "runcmd",
    "ssh_authorized_keys",
    "ssh_pwauth",
    "timezone",
    "user",
    "users",
    "write_files",
    "merge_how",
    "merge_type",
    "output",
    "ssh_deletekeys",
    "ssh_genkeytypes",
    "no_ssh_fingerprints",
];

/// Keys that cloud-init knows and this guest does nothing about.
const ELSEWHERE: [&str; 19] = [
    "apt",
    "ca_certs",
    "device_aliases",
    "disk_setup",
    "fs_setup",
    "growpart",
    "keyboard",
    "locale",
    "mounts",
    "network",
    "ntp",
    "phone_home",
    "resize_rootfs",
    "rsyslog",
    "ssh_import_id",
    "ssh_keys",
    "swap",
    "write_files_deferred",
    "yum_repos",
];

/// Reads it, with a warning for everything that has no effect.
pub fn parse(config: &Value, meta: &MetaData, journal: &mut Journal) -> Config {
    for key in config.as_object().into_iter().flat_map(|map| map.keys()) {
        if ELSEWHERE.contains(&key.as_str()) {
            journal.warn(
                "cloud_config",
                format!("{key} has no effect in this guest; it is ignored"),
            );
        } else if !KNOWN.contains(&key.as_str()) {
            journal.warn(
                "schema",
                format!("cloud-config failed schema validation: unknown key {key}; it is ignored"),
            );
        }
    }
    let users = users::parse(config, journal);
    let default_user = users
        .iter()
        .find(|user| user.is_default)
        .map(|user| user.new.name.clone());
    let (passwords, expire) = users::passwords(config, default_user.as_deref(), journal);
    let mut keys = meta.public_keys.clone();
    keys.extend(texts(config.get("ssh_authorized_keys")));
    let files = files::parse(&list(config.get("write_files")), journal).unwrap_or_else(|error| {
        journal.fail("cc_write_files", error);
        Vec::new()
    });
    Config {
        hostname: hostname(config, meta),
        etc_hosts: etc_hosts(config, journal),
        groups: users::groups(config),
        users,
        passwords,
        expire,
        keys,
        disable_root: flag(config, "disable_root", true),
        ssh_pwauth: config.get("ssh_pwauth").and_then(boolean),
        files,
        bootcmd: script(config, "bootcmd", journal),
        runcmd: script(config, "runcmd", journal),
        packages: packages::wanted(&list(config.get("packages"))),
        package_sources: flag(config, "package_update", false)
            || flag(config, "package_upgrade", false),
        timezone: text_of(config, "timezone"),
        final_message: text_of(config, "final_message"),
        power_state: power_state(config, journal),
    }
}

fn script(config: &Value, key: &str, journal: &mut Journal) -> Option<String> {
    let commands = match config.get(key) {
        None | Some(Value::Null) => return None,
        Some(Value::Array(commands)) => commands.clone(),
        // One command, given as it is.
        Some(Value::String(command)) => vec![Value::String(command.clone())],
        Some(other) => vec![other.clone()],
    };
    match scripts::shellify(&commands) {
        Ok(script) => Some(script),
        Err(error) => {
            journal.fail(&format!("cc_{key}"), error);
            None
        }
    }
}

/// On Fedora the long name goes before the short one.
fn hostname(config: &Value, meta: &MetaData) -> Option<String> {
    if flag(config, "preserve_hostname", false) {
        return None;
    }
    let long = text_of(config, "fqdn");
    let short = text_of(config, "hostname");
    let chosen = if flag(config, "prefer_fqdn_over_hostname", true) {
        long.or(short)
    } else {
        short.or_else(|| long.map(|long| long.split('.').next().unwrap_or_default().to_owned()))
    };
    chosen
        .or_else(|| meta.local_hostname.clone())
        .filter(|name| !name.is_empty())
}

fn etc_hosts(config: &Value, journal: &mut Journal) -> EtcHosts {
    match config.get("manage_etc_hosts") {
        None => EtcHosts::Unmanaged,
        Some(Value::String(word)) if word == "localhost" => EtcHosts::Localhost,
        Some(Value::String(word)) if word == "template" => EtcHosts::Template,
        Some(value) => match boolean(value) {
            Some(true) => EtcHosts::Template,
            Some(false) => EtcHosts::Unmanaged,
            None => {
                journal.warn(
                    "cc_update_etc_hosts",
                    format!("manage_etc_hosts: {value} is not one of true, false, localhost"),
                );
                EtcHosts::Unmanaged
            }
        },
    }
}

fn power_state(config: &Value, journal: &mut Journal) -> Option<PowerState> {
    let state = config.get("power_state").filter(|state| !state.is_null())?;
    let mode = text_of(state, "mode").unwrap_or_default();
    if !["poweroff", "reboot", "halt"].contains(&mode.as_str()) {
        journal.warn(
            "cc_power_state_change",
            format!("power_state['mode'] required, must be one of: halt,poweroff,reboot. found: '{mode}'."),
        );
        return None;
    }
    match state.get("condition") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return None,
        Some(_) => {
            journal.warn(
                "cc_power_state_change",
                "a condition that is a command is not run in this guest; nothing happens",
            );
            return None;
        }
    }
    let delay = text_of(state, "delay").unwrap_or_else(|| "now".to_owned());
    Some(PowerState { mode, delay })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(config: &Value) -> (Config, Journal) {
        let mut journal = Journal::default();
        let meta = MetaData {
            local_hostname: Some("vm-a".to_owned()),
            public_keys: vec!["ssh-rsa M".to_owned()],
            ..MetaData::default()
        };
        let config = parse(config, &meta, &mut journal);
        (config, journal)
    }

    #[test]
    fn what_the_demos_say() {
        let text = "password: fedora\nchpasswd: { expire: False }\npackages:\n  - nginx\nruncmd:\n  - [ \"systemctl\", \"enable\", \"--now\", \"nginx\" ]\n";
        let (config, journal) = parsed(&super::super::value::yaml(text).unwrap());
        assert_eq!(journal.warnings, []);
        assert_eq!(config.hostname.as_deref(), Some("vm-a"));
        assert_eq!(config.passwords[0].user, "fedora");
        assert!(!config.expire);
        assert_eq!(config.packages, ["nginx"]);
        assert_eq!(
            config.runcmd.as_deref(),
            Some("#!/bin/sh\n'systemctl' 'enable' '--now' 'nginx'\n")
        );
        assert_eq!(config.keys, ["ssh-rsa M"]);
    }

    #[test]
    fn host_names() {
        for (config, expected) in [
            (json!({"hostname": "h"}), Some("h")),
            (
                json!({"hostname": "h", "fqdn": "f.example"}),
                Some("f.example"),
            ),
            (
                json!({"fqdn": "f.example", "prefer_fqdn_over_hostname": false}),
                Some("f"),
            ),
            (json!({"preserve_hostname": true, "hostname": "h"}), None),
            (json!({}), Some("vm-a")),
        ] {
            assert_eq!(parsed(&config).0.hostname.as_deref(), expected, "{config}");
        }
    }

    #[test]
    fn keys_without_effect_are_told() {
        let (_, journal) =
            parsed(&json!({"pasword": "x", "ntp": {}, "manage_etc_hosts": "perhaps"}));
        let texts: Vec<&str> = journal
            .warnings
            .iter()
            .map(|each| each.text.as_str())
            .collect();
        assert!(texts[0].contains("unknown key pasword"), "{texts:?}");
        assert!(texts[1].contains("ntp has no effect"), "{texts:?}");
        assert!(texts[2].contains("perhaps"), "{texts:?}");
    }

    #[test]
    fn commands_that_fail_to_be_ones() {
        let (config, journal) = parsed(&json!({"runcmd": {"a": 1}, "bootcmd": [["a", {}]]}));
        assert_eq!((config.runcmd, config.bootcmd), (None, None));
        let modules: Vec<&str> = journal
            .failures
            .iter()
            .map(|each| each.module.as_str())
            .collect();
        assert_eq!(modules, ["bootcmd", "runcmd"]);
    }

    #[test]
    fn power_states() {
        let (config, _) = parsed(&json!({"power_state": {"mode": "reboot", "delay": "+1"}}));
        assert_eq!(
            config.power_state,
            Some(PowerState {
                mode: "reboot".to_owned(),
                delay: "+1".to_owned()
            })
        );
        for bad in [
            json!({"mode": "explode"}),
            json!({}),
            json!({"mode": "halt", "condition": "test -e /x"}),
        ] {
            let (config, journal) = parsed(&json!({"power_state": bad}));
            assert_eq!(config.power_state, None);
            assert_eq!(journal.warnings.len(), 1);
        }
    }
}
