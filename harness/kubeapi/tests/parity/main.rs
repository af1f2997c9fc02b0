//! The API server held against the real kube-apiserver.
//!
//! Conversations (`conversations/`) are held with kubeapi over a socket, and each answer is compared with what the real
//! server answered (`recorded/`). So are the outputs of kubectl (`scripts/`). Differences fail, except those in
//! `explained.yaml`, each of which must be there.
//!
//! - `TRUNKLINE_REAL_KUBECONFIG`: holds them with that server instead, and compares its answers with the record.
//! - `TRUNKLINE_PARITY_WRITE=DIR`: writes what was answered to DIR.
//! - `TRUNKLINE_PARITY_RECORD=DIR`: compares with the record in DIR, not with the one of the repository.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod answer;
mod conversation;
mod explained;
mod kubectl;
mod normal;
mod outcome;
mod servers;
mod speaker;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use explained::Explained;
use libtest_mimic::{Arguments, Failed, Trial};
use outcome::Outcome;
use servers::Against;

/// The corpus does not shrink unnoticed.
const LEAST_EXCHANGES: usize = 300;
const LEAST_COMMANDS: usize = 60;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(path)
}

fn main() {
    let arguments = Arguments::from_args();
    let wanted = |name: &str| {
        let filter = arguments.filter.as_deref();
        filter.is_none_or(|f| {
            if arguments.exact {
                name == f
            } else {
                name.contains(f)
            }
        }) && !arguments
            .skip
            .iter()
            .any(|skip| name.contains(skip.as_str()))
    };
    let conversations = conversation::read_all(&here("conversations"));
    let scripts = kubectl::read_all(&here("scripts"));
    let exchanges: usize = conversations.iter().map(|c| c.exchanges.len()).sum();
    let commands: usize = scripts.iter().map(|s| s.commands.len()).sum();
    let names: Vec<String> = conversations
        .iter()
        .map(|c| c.name.clone())
        .chain(scripts.iter().map(|s| s.name.clone()))
        .collect();
    let outcomes = if arguments.list {
        names.iter().map(|name| Outcome::named(name)).collect()
    } else {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let against = Against::from_environment();
            let conversations = conversations.into_iter().filter(|c| wanted(&c.name));
            let mut outcomes = outcome::of_conversations(conversations.collect(), &against).await;
            let scripts = scripts.into_iter().filter(|s| wanted(&s.name));
            outcomes.extend(outcome::of_scripts(scripts.collect(), &against).await);
            outcomes
        })
    };
    let real = std::env::var_os("TRUNKLINE_REAL_KUBECONFIG").is_some();
    let explained = if real {
        Vec::new()
    } else {
        explained::read(&here("explained.yaml"))
    };
    let mut used = BTreeSet::new();
    let mut trials = Vec::new();
    let whole = outcomes.len() == names.len() && outcomes.iter().all(|o| o.skipped.is_none());
    for outcome in outcomes {
        let failure = outcome.failure(&explained, &mut used);
        let kind = if outcome.skipped.is_some() {
            "skipped"
        } else {
            ""
        };
        let trial = Trial::test(outcome.name, move || {
            failure.map_or(Ok(()), |why| Err(Failed::from(why)))
        });
        trials.push(trial.with_kind(kind));
    }
    if whole && !real {
        trials.push(Trial::test(
            "every explanation explains something",
            move || idle(&explained, &used),
        ));
    }
    if !arguments.list || arguments.filter.is_none() {
        trials.push(Trial::test(
            "the page on fidelity shows every explanation",
            page,
        ));
        trials.push(Trial::test("the corpus is large", move || {
            eprintln!("{exchanges} exchanges, {commands} commands of kubectl");
            if exchanges >= LEAST_EXCHANGES && commands >= LEAST_COMMANDS {
                return Ok(());
            }
            Err(format!("{exchanges} exchanges and {commands} commands are too few").into())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn idle(explained: &[Explained], used: &BTreeSet<usize>) -> Result<(), Failed> {
    let idle: Vec<String> = explained
        .iter()
        .enumerate()
        .filter(|(number, _)| !used.contains(number))
        .map(|(_, explained)| explained.line())
        .collect();
    if idle.is_empty() {
        return Ok(());
    }
    Err(format!("in explained.yaml, but not so:\n{}", idle.join("\n")).into())
}

/// The table under "API" in docs/fidelity.md is what explained.yaml says, line by line.
fn page() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md");
    let text = std::fs::read_to_string(path)?;
    let section = text
        .split("\n## Kubernetes API\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let shown: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let said: Vec<String> = explained::read(&here("explained.yaml"))
        .iter()
        .map(Explained::line)
        .collect();
    if shown == said {
        return Ok(());
    }
    Err(format!(
        "the table under \"Kubernetes API\" in docs/fidelity.md must be:\n{}",
        said.join("\n")
    )
    .into())
}
