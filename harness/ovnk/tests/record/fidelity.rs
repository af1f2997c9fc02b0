//! The lists of `docs/fidelity.md`.

/// The cells of a section's first table, code marks taken off.
pub fn table(section: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(super::fidelity_page()).unwrap();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}
