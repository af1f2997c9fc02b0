//! What `cloud-init status` says, and the files that it would read.

use serde_json::{Map, Value, json};
use std::fmt::Write as _;

use super::journal::{Journal, Stage};

/// How far it is, and with which data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub datasource: Option<String>,
    /// There is no disk to read anything from.
    pub disabled: bool,
    pub done: bool,
    pub last_update: String,
}

/// The answer to `cloud-init status`, in both forms.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    details: Value,
    pub exit: u8,
}

fn per_stage(journal: &Journal, stage: Stage) -> (Vec<String>, Vec<String>) {
    let failures = journal
        .failures
        .iter()
        .filter(|failure| failure.stage == stage)
        .map(|failure| format!("('{}', RuntimeError({:?}))", failure.module, failure.text))
        .collect();
    let warnings = journal
        .warnings
        .iter()
        .filter(|warning| warning.stage == stage)
        .map(|warning| warning.text.clone())
        .collect();
    (failures, warnings)
}

fn recoverable(warnings: &[String]) -> Value {
    if warnings.is_empty() {
        json!({})
    } else {
        json!({"WARNING": warnings})
    }
}

fn datasource(progress: &Progress) -> Option<&str> {
    progress.datasource.as_deref()
}

/// `status.json`.
pub fn status_json(progress: &Progress, journal: &Journal) -> Value {
    let mut v1 = Map::new();
    v1.insert("datasource".to_owned(), json!(datasource(progress)));
    for stage in Stage::ALL {
        let (errors, warnings) = per_stage(journal, stage);
        v1.insert(
            stage.name().to_owned(),
            json!({
                "errors": errors,
                "finished": (progress.done || stage < journal.stage).then_some(0),
                "recoverable_errors": recoverable(&warnings),
                "start": (stage <= journal.stage).then_some(0),
            }),
        );
    }
    let stage = (!progress.done).then(|| journal.stage.name());
    v1.insert("stage".to_owned(), json!(stage));
    json!({"v1": v1})
}

/// `result.json`.
pub fn result_json(progress: &Progress, journal: &Journal) -> Value {
    let errors: Vec<String> = Stage::ALL
        .into_iter()
        .flat_map(|stage| per_stage(journal, stage).0)
        .collect();
    let warnings: Vec<String> = journal
        .warnings
        .iter()
        .map(|each| each.text.clone())
        .collect();
    json!({"v1": {
        "datasource": datasource(progress),
        "errors": errors,
        "recoverable_errors": recoverable(&warnings),
    }})
}

impl Status {
    pub fn new(progress: &Progress, journal: &Journal) -> Self {
        let result = result_json(progress, journal);
        let running = match progress {
            Progress { disabled: true, .. } => "disabled",
            Progress { done: true, .. } => "done",
            _ => "running",
        };
        let (status, extended, exit) = if !journal.failures.is_empty() {
            ("error", format!("error - {running}"), 1)
        } else if !journal.warnings.is_empty() {
            (running, format!("degraded {running}"), 2)
        } else {
            (running, running.to_owned(), 0)
        };
        let detail = match datasource(progress) {
            _ if progress.disabled => "Cloud-init disabled by cloud-init-generator".to_owned(),
            Some(datasource) => datasource.to_owned(),
            None => format!("Running in stage: {}", journal.stage.name()),
        };
        let short = datasource(progress)
            .and_then(|datasource| datasource.split(' ').next())
            .map(|name| name.to_lowercase().replace("datasource", ""))
            .unwrap_or_default();
        let details = json!({
            "boot_status_code": if progress.disabled {
                "disabled-by-generator"
            } else {
                "enabled-by-generator"
            },
            "datasource": short,
            "detail": detail,
            "errors": result["v1"]["errors"],
            "extended_status": extended,
            "last_update": progress.last_update,
            "recoverable_errors": result["v1"]["recoverable_errors"],
            "status": status,
        });
        Self { details, exit }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.details).unwrap_or_default() + "\n"
    }

    pub fn tabular(&self, long: bool) -> String {
        let of = |key: &str| self.details[key].as_str().unwrap_or_default().to_owned();
        let mut text = format!("status: {}\n", of("status"));
        if !long {
            return text;
        }
        let _infallible = writeln!(text, "extended_status: {}", of("extended_status"));
        let _infallible = writeln!(text, "boot_status_code: {}", of("boot_status_code"));
        if !of("last_update").is_empty() {
            let _infallible = writeln!(text, "last_update: {}", of("last_update"));
        }
        let _infallible = writeln!(text, "detail: {}", of("detail"));
        let _infallible = writeln!(
            text,
            "errors:{}",
            bullets(&self.details["errors"]).unwrap_or_else(|| " []".to_owned())
        );
        let warnings = bullets(&self.details["recoverable_errors"]["WARNING"]).map_or_else(
            || " {}".to_owned(),
            |warnings| format!("\nWARNING:{warnings}"),
        );
        let _infallible = writeln!(text, "recoverable_errors:{warnings}");
        text
    }
}

fn bullets(lines: &Value) -> Option<String> {
    let lines: Vec<&str> = lines.as_array()?.iter().filter_map(Value::as_str).collect();
    let bullets = lines
        .iter()
        .map(|line| format!("\n\t- {}", line.replace('\n', " ")));
    (!lines.is_empty()).then(|| bullets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: bool) -> Progress {
        Progress {
            datasource: Some("DataSourceNoCloud [seed=/dev/vdb]".to_owned()),
            disabled: false,
            done,
            last_update: "Sat, 21 Nov 2026 20:34:11 +0000".to_owned(),
        }
    }

    #[test]
    fn status_of_a_good_boot() {
        let mut journal = Journal::default();
        journal.stage = Stage::ModulesFinal;
        let running = Status::new(&progress(false), &journal);
        assert_eq!(
            (running.tabular(false).as_str(), running.exit),
            ("status: running\n", 0)
        );
        let done = Status::new(&progress(true), &journal);
        assert_eq!(done.exit, 0);
        assert_eq!(
            done.tabular(true),
            "status: done\nextended_status: done\nboot_status_code: enabled-by-generator\nlast_update: Sat, 21 Nov 2026 20:34:11 +0000\ndetail: DataSourceNoCloud [seed=/dev/vdb]\nerrors: []\nrecoverable_errors: {}\n"
        );
        assert!(done.json().contains("\"datasource\": \"nocloud\""));
    }

    #[test]
    fn status_of_a_degraded_and_of_a_failed_boot() {
        let mut journal = Journal::default();
        journal.warn("util", "Failed loading yaml blob. line 1\ncolumn 2");
        let status = Status::new(&progress(true), &journal);
        assert_eq!(
            (status.tabular(false).as_str(), status.exit),
            ("status: done\n", 2)
        );
        let long = status.tabular(true);
        assert!(long.contains("extended_status: degraded done\n"), "{long}");
        assert!(
            long.ends_with(
                "recoverable_errors:\nWARNING:\n\t- Failed loading yaml blob. line 1 column 2\n"
            ),
            "{long}"
        );
        journal.stage = Stage::ModulesFinal;
        journal.fail("cc_scripts_user", "Runparts: 1 failures");
        let status = Status::new(&progress(true), &journal);
        assert_eq!(
            (status.tabular(false).as_str(), status.exit),
            ("status: error\n", 1)
        );
        assert!(
            status.tabular(true).contains(
                "errors:\n\t- ('scripts_user', RuntimeError(\"Runparts: 1 failures\"))\n"
            )
        );
    }

    #[test]
    fn status_without_a_disk() {
        let progress = Progress {
            disabled: true,
            ..Progress::default()
        };
        let status = Status::new(&progress, &Journal::default());
        assert_eq!(
            (status.tabular(false).as_str(), status.exit),
            ("status: disabled\n", 0)
        );
    }

    #[test]
    fn the_files_of_the_status() {
        let mut journal = Journal::default();
        journal.warn("util", "w");
        journal.stage = Stage::ModulesConfig;
        let status = status_json(&progress(false), &journal);
        assert_eq!(status["v1"]["stage"], "modules-config");
        assert_eq!(
            status["v1"]["init-local"]["recoverable_errors"]["WARNING"][0],
            "w"
        );
        assert_eq!(status["v1"]["modules-final"]["start"], Value::Null);
        let result = result_json(&progress(true), &journal);
        assert_eq!(result["v1"]["errors"], json!([]));
    }
}
