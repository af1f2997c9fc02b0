//! Transcripts: what was typed and what came back, run again and compared.
//!
//! `$ ` begins a command, `> ` continues it (a here-document, say), everything up to the next command is its output on
//! both streams, and `[exit N]` its exit code where that is not 0. Lines with `## ` are for the reader.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use regex::Regex;

/// No command of a transcript takes longer.
const LIMIT_SECONDS: &str = "90";

/// Where commands run, and what they find there.
pub struct Shell {
    pub dir: PathBuf,
    pub path: OsString,
    pub kubeconfig: PathBuf,
    pub home: PathBuf,
}

impl Shell {
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Both streams of a command as a terminal would show them, and how it ended.
    fn run(&self, script: &str) -> String {
        let script = format!("exec 2>&1\n{script}");
        let output = self
            .command("timeout")
            .args([LIMIT_SECONDS, "sh", "-c", &script])
            .output()
            .expect("timeout runs");
        let mut told = String::from_utf8_lossy(&output.stdout).into_owned();
        if !told.is_empty() && !told.ends_with('\n') {
            told.push('\n');
        }
        if !output.status.success() {
            let code = output
                .status
                .code()
                .map_or("by a signal".to_owned(), |code| code.to_string());
            let _ = writeln!(told, "[exit {code}]");
        }
        told
    }
}

/// Runs a transcript again and compares; with `SNAPSHOTS=overwrite` in the environment the file is written anew.
pub fn check(shell: &Shell, file: &Path) -> Result<(), String> {
    let recorded =
        fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut played = String::new();
    let mut lines = recorded.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("## ") {
            let gap = if played.is_empty() { "" } else { "\n" };
            let _ = writeln!(played, "{gap}{line}");
        }
        // What is neither is output of then.
        let Some(first) = line.strip_prefix("$ ") else {
            continue;
        };
        let _ = writeln!(played, "{line}");
        let mut script = first.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with("> ")) {
            let _ = writeln!(played, "{more}");
            let _ = write!(script, "\n{}", &more[2..]);
        }
        played.push_str(&normal(&shell.run(&script)));
    }
    let expected = snapbox::Data::read_from(file, Some(snapbox::data::DataFormat::Text)).raw();
    let assert = snapbox::Assert::new().action_env("SNAPSHOTS");
    assert
        .try_eq(Some(&file.display()), played.into(), expected)
        .map_err(|error| error.to_string())
}

/// Output without what differs from run to run: times, identifiers, versions, ports, and the width of columns, which
/// follows from them.
fn normal(output: &str) -> String {
    const ALIKE: &[(&str, &str)] = &[
        // 2026-01-02T03:04:05Z, and as `describe` and Go write it
        (
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000( UTC)?)?",
            "[TIME]",
        ),
        (
            r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000",
            "[TIME]",
        ),
        (
            r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
            "[UID]",
        ),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r#"(resourceVersion"?: ?)"\d+""#, "${1}\"[VERSION]\""),
        // ages: 5s, 2m10s, 3h
        (
            r"(?m)(^|\s|\()(<invalid>|\d+[smh](\d+[sm])?)( ago)?(\s|\)|$)",
            "$1[AGE]$4$5",
        ),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
        (r"\bkube-api-access-[a-z0-9]{5}\b", "kube-api-access-[ID]"),
        // versions of kubectl differ in how they write what nobody has said
        (r"(?m)^ *(ConfigMap)?Optional:.*\n", ""),
        // the other end of an interface of a pod
        (r"@if\d+\b", "@if[N]"),
        // pods of replica sets, and replica sets
        (
            r"\b([a-z]+)-([bcdf-hj-np-tv-xz0-9]{8,10})-([bcdf-hj-np-tv-xz0-9]{5})\b",
            "$1-[HASH]-[ID]",
        ),
        (
            r"([a-z]-|pod-template-hash[=:] ?)([bcdf-hj-np-tv-xz0-9]{8,10})\b",
            "$1[HASH]",
        ),
        (r"/tmp/(LIVE|MERGED)-\d+/", "/tmp/$1/"),
        // which worker, and which of its addresses
        (r"lab-worker2?\b", "lab-worker[N]"),
        (r"\b10\.244\.\d+\.\d+\b", "[POD-IP]"),
        (r"\b10\.96\.\d+\.\d+\b", "[SERVICE-IP]"),
        (r"\b172\.18\.0\.[34]\b", "[NODE-IP]"),
        (r"0a:58:0a:f4(:[0-9a-f]{2}){2}", "[POD-MAC]"),
        (r"02:42:ac:12:00:0[34]", "[NODE-MAC]"),
        // versions of kubectl differ in how they say where something was deleted
        (r"(deleted) from [a-z0-9-]+ namespace", "$1"),
        (r"(\S) {2,}", "$1  "),
        (r"(?m)[ \t]+$", ""),
    ];
    let mut text = output.replace('\r', "");
    for (pattern, instead) in ALIKE {
        text = Regex::new(pattern)
            .expect("a pattern")
            .replace_all(&text, *instead)
            .into_owned();
    }
    text
}
