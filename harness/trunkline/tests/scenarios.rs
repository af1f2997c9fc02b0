//! Every scenario of the repository as a test, through the same binary a user has.
//!
//! Works under `cargo test` and under nextest, which lists first and then starts a process per test.

mod common;

use common::{host_lacks, trunkline};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde::Deserialize;

#[derive(Deserialize)]
struct Listed {
    name: String,
    file: String,
    tags: Vec<String>,
}

/// Nothing ran: the site lacks what the scenario requires.
const NOTHING_RAN: i32 = 5;

fn scenarios() -> Vec<Listed> {
    let output = trunkline()
        .args(["list", "--json", "scenarios"])
        .output()
        .expect("trunkline runs");
    assert!(
        output.status.success(),
        "trunkline list: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("trunkline list prints JSON")
}

fn run(scenario: &Listed) -> Result<Completion, Failed> {
    if let Some(reason) = host_lacks() {
        return Ok(Completion::ignored_with(reason));
    }
    let output = trunkline()
        .args(["run", &scenario.file, "--case", &scenario.name])
        .output()?;
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    match output.status.code() {
        Some(0) => Ok(Completion::Completed),
        Some(NOTHING_RAN) => Ok(Completion::ignored_with(told)),
        code => Err(format!("trunkline run ended with {code:?}\n{told}").into()),
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let trials = scenarios()
        .into_iter()
        .map(|scenario| {
            let kind = scenario.tags.first().cloned().unwrap_or_default();
            Trial::ignorable_test(scenario.name.clone(), move || run(&scenario)).with_kind(kind)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
