//! What a well-formed scenario can still have wrong.

mod attachments;
mod machine_fields;
mod machines;
mod names;
mod networks;
mod objects;
mod uses;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic};
use crate::model::Scenario;
use crate::node::Node;

/// Everything about one case. With `complete`, all its manifests were read and objects can be checked.
pub(crate) fn scenario(scenario: &Scenario, complete: bool) -> Vec<Diagnostic> {
    let mut found = names::check(scenario);
    if complete {
        found.extend(objects::check(scenario));
        found.extend(networks::check(scenario));
    }
    found
}

/// What a scenario uses of a captured value: `ip` and `mac` for `${server.ip}` and `${server.mac}`.
pub(crate) fn fields_used(scenario: &Scenario, name: &str) -> BTreeSet<String> {
    let spec = &scenario.spec;
    let steps = spec.steps.iter().chain(&spec.catch).chain(&spec.finally);
    steps
        .flat_map(|step| {
            let lets = step.lets.iter().flat_map(|one| uses::capture(&one.capture));
            let statements = step.statements.iter().flat_map(uses::statement);
            uses::before(step).into_iter().chain(lets).chain(statements)
        })
        .filter(|used| used.name == name)
        .filter_map(|used| used.fields.into_iter().next())
        .collect()
}

/// Parameters that no case uses, or that a capture hides.
pub(crate) fn parameters(document: &Node, cases: &[Arc<Scenario>]) -> Vec<Diagnostic> {
    names::check_parameters(document, cases)
}

/// Two files that call their scenario the same.
pub(crate) fn names_of_scenarios(scenarios: &[Arc<Scenario>]) -> Vec<Diagnostic> {
    let mut first_of: Vec<&Scenario> = Vec::new();
    let mut found = Vec::new();
    for scenario in scenarios {
        let same = first_of.iter().find(|one| one.name == scenario.name);
        match same {
            Some(first) if first.name.at != scenario.name.at => found.push(
                Diagnostic::error(
                    Code::DuplicateScenario,
                    &scenario.name.at,
                    format!("two scenarios have the name `{}`", scenario.name),
                )
                .and(&first.name.at, "the other one")
                .help("rename one of them"),
            ),
            Some(_) => {}
            None => first_of.push(scenario),
        }
    }
    found
}
