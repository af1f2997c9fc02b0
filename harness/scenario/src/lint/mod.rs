//! What a well-formed scenario can still have wrong.

mod attachments;
mod machine_fields;
mod machines;
mod names;
mod networks;
mod objects;
mod uses;
mod world;

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
