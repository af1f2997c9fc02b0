//! Holds conversations and compares the answers with the record.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};

use crate::answer::{Answer, Difference, Record, compare};
use crate::conversation::Conversation;
use crate::explained::Explained;
use crate::kubectl::{self, Script};
use crate::servers::Against;
use crate::speaker;

/// How many conversations are held at once, each with its own kubeapi.
const AT_ONCE: usize = 4;

/// What came of a conversation or of a script.
#[derive(Debug, Default)]
pub struct Outcome {
    pub name: String,
    pub skipped: Option<String>,
    /// It could not be held, or has no record.
    broken: Option<String>,
    differences: Vec<Difference>,
}

impl Outcome {
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Why it fails, if it does. Explanations that were needed go to `used`.
    pub fn failure(&self, explained: &[Explained], used: &mut BTreeSet<usize>) -> Option<String> {
        if let Some(broken) = &self.broken {
            return Some(broken.clone());
        }
        let mut left = Vec::new();
        for difference in &self.differences {
            match explained.iter().position(|e| e.explains(difference)) {
                Some(number) => {
                    used.insert(number);
                }
                None => left.push(difference.to_string()),
            }
        }
        if left.is_empty() {
            return None;
        }
        Some(format!(
            "{} unexplained differences:\n{}",
            left.len(),
            left.join("\n")
        ))
    }
}

pub async fn of_conversations(conversations: Vec<Conversation>, against: &Against) -> Vec<Outcome> {
    let held = conversations.into_iter().map(|conversation| async move {
        let name = conversation.name.clone();
        let server = against.server().await;
        match speaker::hold(&conversation, &server.ways).await {
            Ok(answers) => judge(&name, &answers, against),
            Err(why) => broken(&name, why),
        }
    });
    // The real server is one for all, and so they take turns.
    let at_once = if against.is_real() { 1 } else { AT_ONCE };
    stream::iter(held).buffered(at_once).collect().await
}

pub async fn of_scripts(scripts: Vec<Script>, against: &Against) -> Vec<Outcome> {
    if scripts.is_empty() {
        return Vec::new();
    }
    let Some(program) = kubectl::program().await else {
        let why = "kubectl is not installed (TRUNKLINE_KUBECTL names one)";
        return skip(&scripts, why);
    };
    if against
        .read(&format!("{}-{}", scripts[0].name, program.minor))
        .is_none()
        && !against.writes()
    {
        let why = format!("there is no record of kubectl {}", program.minor);
        return skip(&scripts, &why);
    }
    let mut outcomes = Vec::new();
    for script in scripts {
        let server = against.server().await;
        let outputs = kubectl::run(&script, &program, &server.kubeconfig).await;
        let record = format!("{}-{}", script.name, program.minor);
        let mut outcome = match outputs {
            Ok(outputs) => judge(&record, &outputs, against),
            Err(why) => broken(&script.name, why),
        };
        outcome.name = script.name;
        outcomes.push(outcome);
    }
    outcomes
}

fn skip(scripts: &[Script], why: &str) -> Vec<Outcome> {
    let skipped = scripts.iter().map(|script| {
        eprintln!("{} is skipped: {why}", script.name);
        Outcome {
            skipped: Some(why.to_owned()),
            ..Outcome::named(&script.name)
        }
    });
    skipped.collect()
}

fn broken(name: &str, why: String) -> Outcome {
    Outcome {
        broken: Some(why),
        ..Outcome::named(name)
    }
}

fn judge(name: &str, answers: &[Answer], against: &Against) -> Outcome {
    against.write(name, answers);
    let Some(record) = against.read(name) else {
        if against.writes() {
            return Outcome::named(name);
        }
        return broken(name, "there is no record (ci/parity makes one)".to_owned());
    };
    let Record { answers: real, .. } = record;
    let titles = |answers: &[Answer]| answers.iter().map(|a| a.to.clone()).collect::<Vec<_>>();
    if titles(&real) != titles(answers) && !against.writes() {
        return broken(
            name,
            "the record is of another version of this conversation".to_owned(),
        );
    }
    let pairs = real.iter().zip(answers).enumerate();
    let differences = pairs.flat_map(|(n, (real, ours))| compare(name, n + 1, real, ours));
    Outcome {
        differences: differences.collect(),
        ..Outcome::named(name)
    }
}
