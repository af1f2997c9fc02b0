//! The fields that virtual machines may have, from the list that the lab's definitions of them are made of.

use std::{collections::HashMap, sync::OnceLock};

use crate::diagnostic::{Code, Diagnostic};
use crate::node::{Kind, Node};
use crate::suggest;

/// `TYPE`, then its fields, indented: `NAME[*] TYPE [ATTRIBUTE…]`.
const FIELDS: &str = include_str!("../../../kubevirt/crds/fields.txt");

type Types = HashMap<&'static str, HashMap<&'static str, &'static str>>;

fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(|| {
        let mut types = Types::new();
        let mut current = "";
        for line in FIELDS.lines().filter(|line| !line.starts_with('#')) {
            let Some(field) = line.strip_prefix("  ") else {
                current = line.trim_end();
                continue;
            };
            let (name, rest) = field.split_once(' ').unwrap_or((field, "any"));
            let known = types.entry(current).or_default();
            known.insert(name.trim_end_matches('*'), rest);
        }
        types
    })
}

/// Keys that KubeVirt does not have, wherever they are: the API drops them in silence.
pub(super) fn unknown(object: &Node, kind: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // What is below `metadata` is Kubernetes' own.
    check(object, kind, &mut found);
    found
}

fn check(node: &Node, type_: &str, found: &mut Vec<Diagnostic>) {
    if let Some(item) = enclosed(type_, '[', ']') {
        if let Kind::List(items) = &node.kind {
            for node in items {
                check(node, item, found);
            }
        }
        return;
    }
    if let Some(value) = enclosed(type_, '{', '}') {
        if let Kind::Map(entries) = &node.kind {
            for entry in entries {
                check(&entry.value, value, found);
            }
        }
        return;
    }
    let name = type_.split(' ').next().unwrap_or(type_);
    let (Some(fields), Kind::Map(entries)) = (types().get(name), &node.kind) else {
        return;
    };
    for entry in entries {
        let key = entry.key.value.as_str();
        if let Some(type_) = fields.get(key) {
            check(&entry.value, type_, found);
            continue;
        }
        let near = suggest::closest(key, sorted(fields));
        let message = format!("KubeVirt knows no `{key}` here, and drops it in silence");
        found.push(match near {
            Some(near) => Diagnostic::error(Code::BadMachine, &entry.key.at, message)
                .help(format!("did you mean `{near}`?")),
            // A later version may have it.
            None => Diagnostic::warning(Code::BadMachine, &entry.key.at, message)
                .help("leave it out, unless the KubeVirt of the site is a later one that has it"),
        });
    }
}

/// In the order of the alphabet, so that messages do not change from run to run.
fn sorted(fields: &HashMap<&'static str, &'static str>) -> Vec<&'static str> {
    let mut names: Vec<&str> = fields.keys().copied().collect();
    names.sort_unstable();
    names
}

/// `[Disk] list` is a list of `Disk`.
fn enclosed(text: &str, open: char, close: char) -> Option<&str> {
    let inner = text.strip_prefix(open)?;
    let mut depth = 1_usize;
    for (at, c) in inner.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
        }
        if depth == 0 {
            return Some(&inner[..at]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_understood() {
        let of = |kind: &str| &types()[kind];
        assert_eq!(of("VirtualMachine")["spec"], "VirtualMachineSpec");
        let spec = of("VirtualMachineInstanceSpec");
        assert!(spec.contains_key("terminationGracePeriodSeconds"));
        let networks = enclosed(spec["networks"], '[', ']').unwrap();
        assert!(of(networks.split(' ').next().unwrap()).contains_key("multus"));
        // Every type that a field names is there, or a scalar.
        assert!(types().len() > 100, "{}", types().len());
    }
}
