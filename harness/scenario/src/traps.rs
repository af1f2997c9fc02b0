//! Plain values that YAML 1.1 (kubectl) and YAML 1.2 read differently, or that nobody meant.

use crate::diagnostic::{Code, Diagnostic};
use crate::node::{Kind, Node};

const WORDS: &[&str] = &["yes", "no", "on", "off", "y", "n"];

/// Warnings for every trap in the documents of a manifest.
pub(crate) fn find(documents: &[Node]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for document in documents {
        visit(document, "", &mut found);
    }
    found
}

fn visit(node: &Node, key: &str, found: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| visit(item, key, found)),
        Kind::Map(entries) => {
            for entry in entries {
                if is_word(entry.key.at.text()) {
                    let message = format!(
                        "kubectl reads the key `{0}` as a boolean, here it is the text `{0}`",
                        entry.key.value
                    );
                    found.push(
                        Diagnostic::warning(Code::YamlTrap, &entry.key.at, message)
                            .help(format!("quote it: `\"{}\"`", entry.key.value)),
                    );
                }
                visit(&entry.value, &entry.key.value, found);
            }
        }
        Kind::Bool(value) if is_word(node.at.text()) => {
            let written = node.at.text();
            found.push(
                Diagnostic::warning(
                    Code::YamlTrap,
                    &node.at,
                    format!("`{written}` is the boolean {value}"),
                )
                .help(format!("write `{value}`, or `\"{written}\"` for the word")),
            );
        }
        Kind::Number(value)
            if !key.to_lowercase().ends_with("mode") && is_octal(node.at.text()) =>
        {
            let written = node.at.text();
            found.push(
                Diagnostic::warning(
                    Code::YamlTrap,
                    &node.at,
                    format!("`{written}` is octal, the number {value}"),
                )
                .help(format!("write `{value}`, or `\"{written}\"` for the text")),
            );
        }
        _ => {}
    }
}

fn is_word(written: &str) -> bool {
    WORDS.contains(&written.to_lowercase().as_str())
}

fn is_octal(written: &str) -> bool {
    written.len() > 1
        && written.starts_with('0')
        && written.bytes().all(|byte| byte.is_ascii_digit())
}
