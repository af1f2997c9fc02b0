//! What a run will do, before it does anything.

use std::sync::Arc;

use trunkline_engine::plan::Plan;
use trunkline_scenario::{Suite, model::Scenario};

fn load(path: &str) -> Arc<Scenario> {
    let suite = Suite::load([path]);
    let errors: Vec<_> = suite
        .diagnostics
        .iter()
        .filter(|one| one.is_error())
        .map(ToString::to_string)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    suite.scenarios.first().cloned().expect("one scenario")
}

#[test]
fn order_deadlines_and_attempts_are_known_before_anything_is_done() {
    // Tests run in the directory of the package; paths are shown as given.
    insta::assert_snapshot!(Plan::new(&load("tests/data/plan.yaml")));
}
