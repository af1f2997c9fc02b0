//! Field selectors: `status.phase=Running,spec.nodeName!=worker`.

use serde_json::Value;

use super::SelectorError;
use crate::object;

/// Terms that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let Some((field, equal, value)) = split_term(part) else {
                return Err(SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            terms.push(Term {
                field: field.to_owned(),
                equal,
                value: unescape(value)?,
            });
        }
        Ok(Self(terms))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields asked about.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|term| term.field.as_str())
    }

    /// The same selector, for objects of one name only.
    #[must_use]
    pub fn and_name(mut self, name: &str) -> Self {
        self.0.push(Term {
            field: "metadata.name".to_owned(),
            equal: true,
            value: name.to_owned(),
        });
        self
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|term| (field(object, &term.field) == term.value) == term.equal)
    }
}

/// The text of a field as selectors compare it.
fn field(object: &Value, path: &str) -> String {
    let path: Vec<&str> = match path {
        "source" | "reportingComponent" if object.get("source").is_some() => {
            vec!["source", "component"]
        }
        "source" => vec!["reportingComponent"],
        path => path.split('.').collect(),
    };
    match object::at(object, &path) {
        Value::String(text) => text.clone(),
        // Fields that exist in the selector's vocabulary but not in the object have their zero value.
        Value::Null if matches!(path.last(), Some(&("unschedulable" | "hostNetwork"))) => {
            "false".to_owned()
        }
        Value::Null if path == ["status", "successful"] => "0".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The fields that can be selected on, besides `metadata.name` and `metadata.namespace`.
pub fn selectable(group: &str, plural: &str) -> &'static [&'static str] {
    match (group, plural) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        _ => &[],
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (field, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        Some((field, false, value))
    } else {
        let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?;
        Some((field, true, value))
    }
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: \\{}",
                        other.map(String::from).unwrap_or_default()
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("status.phase=Running", true)]
    #[case("status.phase==Running,spec.nodeName=n", true)]
    #[case("status.phase!=Running", false)]
    #[case("spec.nodeName!=", true)]
    #[case("metadata.name=a\\,b", false)]
    #[case("spec.unschedulable=false", true)]
    fn matching(#[case] selector: &str, #[case] expected: bool) {
        let object = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        assert_eq!(
            FieldSelector::parse(selector).unwrap().matches(&object),
            expected
        );
    }

    #[test]
    fn refusals() {
        assert_eq!(
            FieldSelector::parse("phase").unwrap_err().to_string(),
            "invalid selector: 'phase'; can't understand 'phase'"
        );
        assert!(FieldSelector::parse("a=b\\x").is_err());
    }
}
