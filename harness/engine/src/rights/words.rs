//! Rights in words.

use std::collections::BTreeMap;

use super::{Right, Verb};

/// `pods/exec in namespace blue`, `deployments.apps in namespace blue`, `nodes`.
pub(super) fn what(right: &Right) -> String {
    let Right {
        namespace,
        group,
        resource,
        subresource,
        ..
    } = right;
    let mut text = resource.clone();
    if !group.is_empty() {
        text = format!("{text}.{group}");
    }
    if let Some(subresource) = subresource {
        text = format!("{text}/{subresource}");
    }
    match namespace {
        Some(namespace) => format!("{text} in namespace {namespace}"),
        None => text,
    }
}

/// Rights as few sentences, one for each kind and place: `get, create, patch deployments.apps in namespace blue`.
pub fn sentences<'r>(rights: impl IntoIterator<Item = &'r Right>) -> Vec<String> {
    let mut places: BTreeMap<_, (String, Vec<Verb>)> = BTreeMap::new();
    for right in rights {
        let place = (
            &right.namespace,
            &right.group,
            &right.resource,
            &right.subresource,
        );
        let verbs = &mut places.entry(place).or_insert((what(right), Vec::new())).1;
        if !verbs.contains(&right.verb) {
            verbs.push(right.verb);
        }
    }
    places
        .into_values()
        .map(|(what, mut verbs)| {
            verbs.sort_unstable();
            let verbs: Vec<_> = verbs.into_iter().map(Verb::as_str).collect();
            format!("{} {what}", verbs.join(", "))
        })
        .collect()
}
