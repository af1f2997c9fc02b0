//! Every draft of the decision on the format is read as far as this version goes: what it says beyond that
//! is planned, and nothing in it is a mistake.

use camino::Utf8Path;
use trunkline_scenario::{Code, Suite};

#[test]
fn drafts_are_in_the_language() {
    let page = Utf8Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/decisions/0001-scenario-format.md"
    ));
    let text = std::fs::read_to_string(page).unwrap();
    let drafts: Vec<&str> = text
        .split("\n```yaml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    // 25 scenarios: the first is shipped, three pairs are one file each
    assert_eq!(drafts.len(), 21);
    for draft in drafts {
        let title = draft.lines().nth(2).unwrap_or("");
        let suite = Suite::from_text("docs/decisions/draft.yaml", draft);
        let mistakes: Vec<String> = suite
            .diagnostics
            .iter()
            .filter(|one| !matches!(one.code, Code::Planned | Code::MissingManifest))
            .map(ToString::to_string)
            .collect();
        assert!(mistakes.is_empty(), "{title}: {mistakes:#?}");
    }
}
