//! cloud-init's part of the boot: NoCloud data, applied.
//!
//! The stages are those of cloud-init. What takes no time happens here, in process 1; commands
//! and scripts are handed to the supervisor as files to run.

mod apply;
mod config;
mod datasource;
mod files;
mod journal;
mod metadata;
mod packages;
mod scripts;
mod status;
mod userdata;
mod users;
pub mod value;

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::Value;

use self::config::{Config, PowerState};
use self::journal::{Journal, Stage};
use self::metadata::MetaData;
use self::status::{Progress, Status, result_json, status_json};
use self::userdata::UserData;
use crate::{clock, log};

/// Where the output of commands goes.
pub const OUTPUT: &str = "/var/log/cloud-init-output.log";
const LOG: &str = "/var/log/cloud-init.log";
const INSTANCE: &str = "/var/lib/cloud/instance";
const VERSION: &str = concat!("trunkline-", env!("CARGO_PKG_VERSION"));

/// One boot's worth of it.
#[derive(Debug, Default)]
pub struct Cloud {
    journal: Journal,
    progress: Progress,
    config: Config,
    script: Option<Vec<u8>>,
    boothook: Option<Vec<u8>>,
    /// The text of `network-config`, where there is one.
    network: Option<String>,
    failed_scripts: Vec<String>,
}

/// A program to run, and the module on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub module: &'static str,
    pub path: PathBuf,
}

impl Cloud {
    /// Reads the disk, if there is one.
    pub fn start() -> Self {
        let mut cloud = Self::default();
        match datasource::find() {
            None => cloud.progress.disabled = true,
            Some(seed) => cloud.read(seed),
        }
        cloud
    }

    fn read(&mut self, seed: datasource::Seed) {
        let journal = &mut self.journal;
        self.progress.datasource = Some(format!("DataSourceNoCloud [seed={}]", seed.device));
        let meta = metadata::parse(&seed.meta_data, journal);
        self.network = seed.network_config;
        journal.stage = Stage::Init;
        let empty = Value::Object(serde_json::Map::new());
        let value = match userdata::classify(&seed.user_data, journal) {
            UserData::Nothing => empty,
            UserData::Config(value) => value,
            UserData::Script(script) => {
                self.script = Some(script);
                empty
            }
            UserData::Boothook(script) => {
                self.boothook = Some(script);
                empty
            }
        };
        self.config = config::parse(&value, &meta, journal);
        if let Err(error) = prepare(&meta, &seed.user_data) {
            journal.warn(
                "stages",
                format!("cannot write below /var/lib/cloud: {error}"),
            );
        }
        for warning in &self.journal.warnings {
            log::error(&format!("cloud-init: {}", warning.text));
        }
        self.write();
    }

    /// The network, read by `parse`, with a warning for what has no effect.
    pub fn network_config<T>(
        &mut self,
        parse: impl Fn(&str) -> Result<(T, Vec<String>), String>,
    ) -> Option<T> {
        const MODULE: &str = "network";
        let text = self.network.take()?;
        match parse(&text) {
            Ok((network, warnings)) => {
                for warning in warnings {
                    self.journal
                        .warn(MODULE, format!("network-config: {warning}"));
                }
                Some(network)
            }
            Err(error) => {
                let error = error.trim_end();
                log::error(&format!(
                    "cloud-init: network-config cannot be used: {error}"
                ));
                self.journal.warn(
                    MODULE,
                    format!("network-config cannot be used, all interfaces get DHCP: {error}"),
                );
                None
            }
        }
    }

    pub fn host_name(&self) -> Option<&str> {
        self.config.hostname.as_deref()
    }

    /// What runs before anything else is done.
    pub fn early_scripts(&mut self) -> Vec<Script> {
        let mut scripts = Vec::new();
        if let Some(hook) = self.boothook.take() {
            scripts.extend(self.script_file("cc_boothook", "boothooks/part-001", &hook));
        }
        if let Some(text) = self.config.bootcmd.take() {
            scripts.extend(self.script_file("cc_bootcmd", "scripts/bootcmd", text.as_bytes()));
        }
        scripts
    }

    fn script_file(&mut self, module: &'static str, name: &str, content: &[u8]) -> Option<Script> {
        let path = PathBuf::from(INSTANCE).join(name);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| {
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o700)
                    .open(&path)
            })
            .and_then(|mut file| file.write_all(content));
        match written {
            Ok(()) => Some(Script { module, path }),
            Err(error) => {
                self.journal
                    .fail(module, format!("cannot write {}: {error}", path.display()));
                None
            }
        }
    }

    /// Everything that must be so before somebody logs in.
    pub fn configure(&mut self) {
        if self.progress.disabled {
            return;
        }
        let journal = &mut self.journal;
        apply::write_files(&self.config, false, journal);
        apply::host_name(&self.config, journal);
        apply::accounts(&self.config, journal);
        journal.stage = Stage::ModulesConfig;
        apply::timezone(&self.config, journal);
        journal.stage = Stage::ModulesFinal;
        self.write();
    }

    /// The end of the boot: packages, late files, and what is to be run.
    pub fn final_scripts(&mut self) -> Vec<Script> {
        self.packages();
        apply::write_files(&self.config, true, &mut self.journal);
        let mut scripts = Vec::new();
        if let Some(text) = self.config.runcmd.take() {
            scripts.extend(self.script_file("cc_scripts_user", "scripts/runcmd", text.as_bytes()));
        }
        if let Some(script) = self.script.take() {
            scripts.extend(self.script_file("cc_scripts_user", "scripts/part-001", &script));
        }
        self.write();
        scripts
    }

    fn packages(&mut self) {
        const MODULE: &str = "cc_package_update_upgrade_install";
        if self.config.package_sources {
            self.journal.info(
                MODULE,
                "this guest's packages are those of its image; there is nothing to update",
            );
        }
        if self.config.packages.is_empty() {
            return;
        }
        let status = fs::read_to_string("/var/lib/dpkg/status").unwrap_or_default();
        let mut present = packages::present(&status);
        let missing = packages::missing(&self.config.packages, &present).join(", ");
        if missing.is_empty() {
            let all = self.config.packages.join(", ");
            self.journal.info(
                MODULE,
                &format!("the image has all packages asked for: {all}"),
            );
            return;
        }
        present.sort_unstable();
        present.dedup();
        self.journal.info(
            MODULE,
            &format!("packages of this image: {}", present.join(" ")),
        );
        self.journal.fail(
            MODULE,
            format!("Failure when attempting to install packages: {missing}: not in this guest's image, which has {} packages (listed in {LOG}) and gets no others", present.len()),
        );
    }

    /// A script's end. Its number is the program's own, or 128 and the signal's.
    pub fn script_ended(&mut self, script: &Script, exit: i32) {
        if exit == 0 {
            return;
        }
        let path = script.path.display();
        if script.module == "cc_scripts_user" {
            self.journal
                .warn("subp", format!("Failed running {path} [{exit}]"));
            self.failed_scripts.push(path.to_string());
        } else {
            self.journal.fail(
                script.module,
                format!("Unexpected error while running command. Command: ['/bin/sh', '{path}'] Exit code: {exit}"),
            );
        }
        self.write();
    }

    /// The last words. What is to become of the machine, if something is.
    pub fn finish(&mut self) -> Option<PowerState> {
        if self.progress.disabled {
            self.progress.done = true;
            return None;
        }
        if !self.failed_scripts.is_empty() {
            let failures = self.failed_scripts.len();
            self.journal.fail(
                "cc_scripts_user",
                format!(
                    "Runparts: {failures} failures ({}) in scripts of the user",
                    self.failed_scripts.join(",")
                ),
            );
        }
        let timestamp = clock::Utc::now().rfc2822();
        let uptime = clock::uptime();
        let datasource = self.progress.datasource.clone().unwrap_or_default();
        let template = self.config.final_message.clone().unwrap_or_else(|| {
            "Cloud-init v. $version finished at $timestamp. Datasource $datasource.  Up $uptime seconds".to_owned()
        });
        let mut message = template;
        for (name, value) in [
            ("version", VERSION),
            ("timestamp", &timestamp),
            ("datasource", &datasource),
            ("uptime", &uptime),
        ] {
            for form in [name.to_owned(), name.to_uppercase()] {
                message = message
                    .replace(&format!("${form}"), value)
                    .replace(&format!("{{{{{form}}}}}"), value)
                    .replace(&format!("{{{{ {form} }}}}"), value);
            }
        }
        append(OUTPUT, &format!("{}\n", message.trim_end()));
        self.journal.info("cc_final_message", message.trim_end());
        let _best_effort = fs::write(
            format!("{INSTANCE}/boot-finished"),
            format!("{uptime} - {timestamp} - v. {VERSION}\n"),
        );
        self.progress.done = true;
        self.write();
        for failure in &self.journal.failures {
            log::error(&format!("cloud-init: {}: {}", failure.module, failure.text));
        }
        self.config.power_state.take()
    }

    pub fn status(&self) -> Status {
        Status::new(&self.progress, &self.journal)
    }

    /// Log and status files, as far as things are.
    fn write(&mut self) {
        self.progress.last_update = clock::Utc::now().rfc2822();
        append(LOG, &self.journal.take_lines());
        let status = status_json(&self.progress, &self.journal);
        let _best_effort = fs::write("/run/cloud-init/status.json", format!("{status:#}\n"));
        if self.progress.done {
            let result = result_json(&self.progress, &self.journal);
            let _best_effort = fs::write("/run/cloud-init/result.json", format!("{result:#}\n"));
        }
    }
}

fn append(path: &str, text: &str) {
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        log::error(&format!("cannot write {path}: {error}"));
    }
}

fn prepare(meta: &MetaData, user_data: &[u8]) -> std::io::Result<()> {
    let id = meta.instance_id.as_deref().unwrap_or("nocloud");
    let id: String = id.chars().map(|c| if c == '/' { '_' } else { c }).collect();
    let directory = format!("/var/lib/cloud/instances/{id}");
    fs::create_dir_all(format!("{directory}/scripts"))?;
    let _absent = fs::remove_file(INSTANCE);
    symlink(&directory, INSTANCE)?;
    let path = format!("{directory}/user-data.txt");
    fs::write(&path, user_data)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))
}
