//! What kubectl prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::answer::Answer;
use crate::normal::Placeholders;

const LIMIT: Duration = Duration::from_secs(60);

/// Commands, one after the other, in a namespace of their own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    #[serde(skip)]
    pub name: String,
    #[allow(dead_code)] // for readers of the file
    pub about: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    pub commands: Vec<Step>,
}

/// One command: the words after `kubectl`, and what it reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    run: String,
    #[serde(default)]
    input: String,
    /// Tries again until the output contains this: some things take effect a moment later on the real server.
    #[serde(default)]
    contains: String,
}

/// The kubectl of this machine.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// `1.34`: outputs differ between versions of kubectl.
    pub minor: String,
}

pub fn read_all(directory: &Path) -> Vec<Script> {
    let mut all: Vec<Script> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut script: Script = serde_yaml::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.file_stem().unwrap().to_str().unwrap();
            name.clone_into(&mut script.name);
            script
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

pub async fn program() -> Option<Program> {
    let path =
        std::env::var_os("TRUNKLINE_KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from);
    let output = Command::new(&path)
        .args(["version", "--client", "-o", "json"])
        .output()
        .await
        .ok()?;
    let version: Value = serde_json::from_slice(&output.stdout).ok()?;
    let version = version.pointer("/clientVersion/gitVersion")?.as_str()?;
    let mut parts = version.trim_start_matches('v').split('.');
    let minor = format!("{}.{}", parts.next()?, parts.next()?);
    Some(Program { path, minor })
}

pub async fn run(
    script: &Script,
    program: &Program,
    kubeconfig: &str,
) -> Result<Vec<Answer>, String> {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    std::fs::write(home.path().join("kubeconfig"), kubeconfig).map_err(|e| e.to_string())?;
    for (name, text) in &script.files {
        std::fs::write(home.path().join(name), text).map_err(|e| e.to_string())?;
    }
    let mut placeholders = Placeholders::default();
    for file in script.files.values() {
        placeholders.hear(file);
    }
    let shell = Shell {
        program,
        home: home.path(),
    };
    for setting in [
        vec![
            "create".to_owned(),
            "namespace".to_owned(),
            script.name.clone(),
        ],
        ["config", "set-context", "--current", "--namespace"]
            .map(str::to_owned)
            .into_iter()
            .chain([script.name.clone()])
            .collect(),
    ] {
        let output = shell.run(&setting, "").await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    let mut answers = Vec::new();
    for step in &script.commands {
        placeholders.hear(&step.run);
        placeholders.hear(&step.input);
        let words = words(&step.run);
        let mut output = shell.run(&words, &step.input).await?;
        for _ in 0..100 {
            if String::from_utf8_lossy(&output.stdout).contains(&step.contains) {
                break;
            }
            // Nothing tells when the real server's caches have caught up.
            tokio::time::sleep(Duration::from_millis(100)).await;
            output = shell.run(&words, &step.input).await?;
        }
        let mut lines = |bytes: &[u8]| -> Value {
            let text = String::from_utf8_lossy(bytes);
            let text = text.replace(&home.path().display().to_string(), "<home>");
            let mut lines: Vec<String> = text
                .lines()
                .map(|line| normal(line, &mut placeholders))
                .collect();
            // The causes of a refusal come in any order.
            if lines.iter().any(|line| line.ends_with(" is invalid:")) {
                lines.sort();
            }
            lines.into()
        };
        let mut body = json!({});
        for (key, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !bytes.is_empty() {
                body[key] = lines(bytes);
            }
        }
        answers.push(Answer {
            to: format!("kubectl {}", step.run),
            code: output
                .status
                .code()
                .and_then(|code| u16::try_from(code).ok()),
            headers: BTreeMap::new(),
            body,
        });
    }
    Ok(answers)
}

struct Shell<'a> {
    program: &'a Program,
    home: &'a Path,
}

impl Shell<'_> {
    async fn run(&self, words: &[String], input: &str) -> Result<Output, String> {
        let mut child = Command::new(&self.program.path)
            .args(words)
            .current_dir(self.home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home)
            .env("KUBECONFIG", self.home.join("kubeconfig"))
            .env("KUBECTL_EXTERNAL_DIFF", "diff -u")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("kubectl does not start: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads no input may have closed it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .map_err(|_| format!("kubectl {words:?} takes too long"))?
            .map_err(|error| error.to_string())
    }
}

/// Words as a shell splits them; single quotes group.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

static AGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(^|\s)(\d+[smh](\d+[smh])?|<invalid>)( ago)?(\s|$)").unwrap());
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}").unwrap()
});
static LOG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([IWE])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ ").unwrap());
static TEMPORARY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(/tmp/)?(LIVE|MERGED)-\d+").unwrap());
static DIFF_TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}").unwrap());
static GAP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\S) {2,}").unwrap());
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"((?:resourceVersion|Resource Version)"?: *"?)\d+"#).unwrap());

/// A line of output, its columns two spaces apart.
fn normal(line: &str, placeholders: &mut Placeholders) -> String {
    let line = placeholders.text(line);
    let line = DATE.replace_all(&line, "<time>");
    let line = DIFF_TIME.replace_all(&line, "<time>");
    let line = TEMPORARY.replace_all(&line, "<$2>");
    let line = VERSION.replace_all(&line, "${1}<n>");
    let line = LOG.replace(&line, "$1<log> ");
    let line = AGE.replace_all(&line, "$1<age>$4$5");
    GAP.replace_all(&line, "$1  ").trim_end().to_owned()
}
