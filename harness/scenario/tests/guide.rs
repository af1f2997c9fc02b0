//! The guide says what the code does: its scenarios are read, and its table is the one of the code.

#![allow(clippy::unwrap_used, reason = "a test")]

use trunkline_scenario::{Code, Suite, TimeoutKind, duration};

fn guide() -> String {
    std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/guide/scenarios.md"
    ))
    .unwrap()
}

#[test]
fn its_scenarios_are_right() {
    let text = guide();
    let blocks: Vec<&str> = text
        .split("\n```yaml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let suite = Suite::from_text("docs/guide/example.yaml", block);
        let mistakes: Vec<String> = suite
            .diagnostics
            .iter()
            .filter(|one| one.code != Code::MissingManifest)
            .map(ToString::to_string)
            .collect();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
    }
}

#[test]
fn its_timeouts_are_those_of_the_code() {
    let text = guide();
    let mut rows = vec![
        "| key | default | waits for |".to_owned(),
        "|---|---|---|".to_owned(),
    ];
    rows.extend(TimeoutKind::ALL.iter().map(|kind| {
        format!(
            "| `{}` | {} | {} |",
            kind.key(),
            duration::show(kind.default_duration()),
            kind.meaning()
        )
    }));
    let table = rows.join("\n");
    assert!(text.contains(&table), "the table should be\n{table}");
}
