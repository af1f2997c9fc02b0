//! Parameters: one file, many named cases.
//!
//! Parameters are known before anything runs, so they are filled into the tree of the file; what is read
//! from that tree afterwards has only captures left as holes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::diagnostic::{Code, Diagnostic};
use crate::model::{CaseId, is_name};
use crate::node::{Entry, Kind, Node};
use crate::span::{Located, Span};
use crate::suggest;

/// A parameter and its possible values by name.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: Located<String>,
    pub(crate) values: Vec<(String, Node)>,
}

/// One combination of values.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: CaseId,
    /// The file's tree with this case's values filled in.
    pub(crate) tree: Node,
    pub(crate) values: Vec<(String, Value)>,
}

/// Every combination that `except` does not leave out, and what is wrong with the parameters.
pub(crate) fn cases(root: &Node) -> (Vec<Case>, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let parameters = declared(root, &mut found);
    let left_out = exceptions(root, &parameters, &mut found);
    let mut cases = Vec::new();
    for chosen in product(&parameters) {
        let id = CaseId(
            chosen
                .iter()
                .map(|(parameter, value)| (parameter.name.value.clone(), value.0.clone()))
                .collect(),
        );
        if left_out.iter().any(|exception| matches(exception, &id)) {
            continue;
        }
        let mut tree = root.clone();
        fill_spec(&mut tree, &chosen, &mut found);
        let values = chosen
            .iter()
            .map(|(parameter, (_, node))| (parameter.name.value.clone(), node.to_json()))
            .collect();
        cases.push(Case { id, tree, values });
    }
    if cases.is_empty()
        && let Some(except) = root.get("spec").and_then(|spec| spec.get("except"))
    {
        found.push(
            Diagnostic::error(
                Code::BadValue,
                &except.at,
                "no combination of the parameters is left",
            )
            .help("leave out fewer of them"),
        );
    }
    (cases, found)
}

/// The parameters of a file; those with mistakes are reported and left out.
pub(crate) fn declared(root: &Node, found: &mut Vec<Diagnostic>) -> Vec<Parameter> {
    let Some(node) = root.get("spec").and_then(|spec| spec.get("parameters")) else {
        return Vec::new();
    };
    let Kind::Map(entries) = &node.kind else {
        found.push(
            Diagnostic::error(
                Code::WrongType,
                &node.at,
                format!("parameters are a mapping, not {}", node.describe()),
            )
            .help("write `topology: [layer2, localnet]`"),
        );
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|entry| parameter(entry, found))
        .collect()
}

fn parameter(entry: &Entry, found: &mut Vec<Diagnostic>) -> Option<Parameter> {
    let name = &entry.key;
    if !is_name(name) {
        found.push(
            Diagnostic::error(
                Code::BadValue,
                &name.at,
                format!("`{}` is not a name", name.value),
            )
            .help("names begin with a letter and hold letters, digits and underscores"),
        );
        return None;
    }
    let mut values: Vec<(String, Node)> = Vec::new();
    match &entry.value.kind {
        Kind::List(items) => {
            for item in items {
                match &item.kind {
                    Kind::Text(text) => values.push((text.clone(), item.clone())),
                    Kind::Bool(_) | Kind::Number(_) => {
                        values.push((item.at.text().to_owned(), item.clone()));
                    }
                    _ => {
                        found.push(
                            Diagnostic::error(
                                Code::WrongType,
                                &item.at,
                                format!("{} as a value needs a name", item.describe()),
                            )
                            .help("write the values as a mapping: `small: {size: 1}`"),
                        );
                        return None;
                    }
                }
            }
        }
        Kind::Map(entries) => {
            values.extend(
                entries
                    .iter()
                    .map(|one| (one.key.value.clone(), one.value.clone())),
            );
        }
        _ => {}
    }
    if values.is_empty() {
        found.push(
            Diagnostic::error(
                Code::WrongType,
                &entry.value.at,
                format!("the parameter `{}` has no values", name.value),
            )
            .help("list them, as in `topology: [layer2, localnet]`"),
        );
        return None;
    }
    let mut seen = BTreeSet::new();
    for (value, node) in &values {
        if !seen.insert(value.clone()) {
            found.push(
                Diagnostic::error(
                    Code::DuplicateName,
                    &node.at,
                    format!("`{}` has the value `{value}` twice", name.value),
                )
                .help("keep one of them"),
            );
            return None;
        }
    }
    Some(Parameter {
        name: name.clone(),
        values,
    })
}

type Exception = Vec<(String, Vec<String>)>;

fn exceptions(
    root: &Node,
    parameters: &[Parameter],
    found: &mut Vec<Diagnostic>,
) -> Vec<Exception> {
    let Some(node) = root.get("spec").and_then(|spec| spec.get("except")) else {
        return Vec::new();
    };
    let Kind::List(items) = &node.kind else {
        found.push(
            Diagnostic::error(
                Code::WrongType,
                &node.at,
                format!("`except` is a list, not {}", node.describe()),
            )
            .help("write `- {topology: localnet, placement: same-node}` lines"),
        );
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| exception(item, parameters, found))
        .collect()
}

fn exception(
    item: &Node,
    parameters: &[Parameter],
    found: &mut Vec<Diagnostic>,
) -> Option<Exception> {
    let Kind::Map(entries) = &item.kind else {
        found.push(
            Diagnostic::error(
                Code::WrongType,
                &item.at,
                format!("a combination is a mapping, not {}", item.describe()),
            )
            .help("write `{topology: localnet, placement: same-node}`"),
        );
        return None;
    };
    let mut exception = Vec::new();
    for entry in entries {
        let Some(parameter) = parameters
            .iter()
            .find(|one| one.name.value == entry.key.value)
        else {
            found.push(unknown_parameter(&entry.key, parameters));
            return None;
        };
        let names: Vec<(String, &Node)> = match &entry.value.kind {
            Kind::List(items) => items.iter().map(|item| (written(item), item)).collect(),
            _ => vec![(written(&entry.value), &entry.value)],
        };
        for (name, node) in &names {
            if !parameter.values.iter().any(|(value, _)| value == name) {
                found.push(unknown_value(name, node, parameter));
                return None;
            }
        }
        exception.push((
            entry.key.value.clone(),
            names.into_iter().map(|(name, _)| name).collect(),
        ));
    }
    Some(exception)
}

pub(crate) fn written(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) => text.clone(),
        _ => node.at.text().to_owned(),
    }
}

pub(crate) fn unknown_parameter(name: &Located<String>, parameters: &[Parameter]) -> Diagnostic {
    let names = || parameters.iter().map(|one| one.name.value.as_str());
    let error = Diagnostic::error(
        Code::UnknownName,
        &name.at,
        format!("there is no parameter `{}`", name.value),
    );
    match suggest::closest(name, names()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help(format!("the parameters are {}", suggest::listed(names()))),
    }
}

pub(crate) fn unknown_value(name: &str, node: &Node, parameter: &Parameter) -> Diagnostic {
    let names = || parameter.values.iter().map(|(value, _)| value.as_str());
    Diagnostic::error(
        Code::UnknownName,
        &node.at,
        format!("`{}` has no value `{name}`", parameter.name.value),
    )
    .help(match suggest::closest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its values are {}", suggest::listed(names())),
    })
}

fn matches(exception: &Exception, id: &CaseId) -> bool {
    exception.iter().all(|(parameter, values)| {
        id.0.iter()
            .any(|(name, value)| name == parameter && values.contains(value))
    })
}

type Chosen<'a> = Vec<(&'a Parameter, &'a (String, Node))>;

fn product(parameters: &[Parameter]) -> Vec<Chosen<'_>> {
    parameters
        .iter()
        .fold(vec![Vec::new()], |combinations, parameter| {
            combinations
                .into_iter()
                .flat_map(|chosen: Chosen<'_>| {
                    parameter.values.iter().map(move |value| {
                        let mut chosen = chosen.clone();
                        chosen.push((parameter, value));
                        chosen
                    })
                })
                .collect()
        })
}

/// Fills every key of the spec but the parameters' own.
fn fill_spec(root: &mut Node, chosen: &Chosen<'_>, found: &mut Vec<Diagnostic>) {
    if chosen.is_empty() {
        return;
    }
    let Kind::Map(entries) = &mut root.kind else {
        return;
    };
    for entry in entries {
        if entry.key.value != "spec" {
            continue;
        }
        let Kind::Map(entries) = &mut entry.value.kind else {
            continue;
        };
        for entry in entries {
            if !["parameters", "except"].contains(&entry.key.value.as_str()) {
                fill(&mut entry.value, chosen, found);
            }
        }
    }
}

fn fill(node: &mut Node, chosen: &Chosen<'_>, found: &mut Vec<Diagnostic>) {
    match &mut node.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| fill(item, chosen, found)),
        Kind::Map(entries) => entries
            .iter_mut()
            .for_each(|entry| fill(&mut entry.value, chosen, found)),
        Kind::Text(text) => match fill_text(text, &node.at, chosen) {
            Ok(Some(kind)) => node.kind = kind,
            Ok(None) => {}
            Err(error) => found.push(error),
        },
        _ => {}
    }
}

/// `None` when no parameter occurs. A text that is one hole takes the value with its type.
fn fill_text(text: &str, at: &Span, chosen: &Chosen<'_>) -> Result<Option<Kind>, Diagnostic> {
    let mut filled = String::new();
    let mut rest = text;
    let mut changed = false;
    while let Some(start) = rest.find("${") {
        let escaped = rest[..start].ends_with('$');
        let Some(length) = rest[start..].find('}').filter(|_| !escaped) else {
            filled.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            continue;
        };
        let hole = &rest[start..=start + length];
        let path: Vec<&str> = hole[2..hole.len() - 1].split('.').collect();
        let parameter = chosen
            .iter()
            .find(|(parameter, _)| parameter.name.value == path[0]);
        filled.push_str(&rest[..start]);
        if let Some((_, (_, value))) = parameter {
            let value = path[1..]
                .iter()
                .try_fold(value, |value, key| value.get(key))
                .ok_or_else(|| no_field(hole, &path, value, at))?;
            if hole == text {
                return Ok(Some(value.kind.clone()));
            }
            changed = true;
            match &value.kind {
                Kind::Text(text) => filled.push_str(text),
                Kind::List(_) | Kind::Map(_) => {
                    return Err(Diagnostic::error(
                        Code::WrongType,
                        at,
                        format!(
                            "{hole} is {}, which cannot be part of a text",
                            value.describe()
                        ),
                    )
                    .help("name a field of it, as in `${parameter.field}`"));
                }
                _ => filled.push_str(value.at.text()),
            }
        } else {
            filled.push_str(hole);
        }
        rest = &rest[start + length + 1..];
    }
    filled.push_str(rest);
    Ok(changed.then_some(Kind::Text(filled)))
}

fn no_field(hole: &str, path: &[&str], value: &Node, at: &Span) -> Diagnostic {
    let error = Diagnostic::error(
        Code::UnknownName,
        at,
        format!("{hole} has no value in every case"),
    );
    match &value.kind {
        Kind::Map(entries) => error.help(format!(
            "here `{}` has the fields {}",
            path[0],
            suggest::listed(entries.iter().map(|entry| entry.key.value.as_str()))
        )),
        _ => error.help(format!(
            "here `{}` is {}, without fields",
            path[0],
            value.describe()
        )),
    }
}
