//! CEL expressions, compiled when the file is read.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, ExecutionError, Program, Value as CelValue};
use serde_json::Value;

use super::capture::attachments;
use super::cel_names;
use super::template::Scope;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Located, Span};

/// Names that mean something in every expression over an object.
pub(crate) const OBJECT_NAMES: &[&str] = &["object", "networks"];

/// A compiled expression. Captured names are variables in it; so are, for an expression over an object,
/// `object` and `networks` (the parsed `k8s.v1.cni.cncf.io/network-status` of a pod, else an empty list).
#[derive(Clone)]
pub struct Cel {
    text: Located<String>,
    program: Arc<Program>,
}

impl fmt::Debug for Cel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cel({:?})", self.text.value)
    }
}

impl PartialEq for Cel {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CelError {
    /// A field is not there. Of an object that is still being filled in, this is "not yet".
    #[error("there is no `{0}` (yet)")]
    Missing(String),
    #[error("{0}")]
    Failed(String),
    #[error("the expression yields {0}, not true or false")]
    NotBoolean(String),
}

impl Cel {
    pub fn parse(text: Located<String>) -> Result<Self, Diagnostic> {
        match Program::compile(&text.value) {
            Ok(program) => Ok(Self {
                text,
                program: Arc::new(program),
            }),
            Err(errors) => {
                let first = errors.errors.first();
                let message = first.map_or_else(|| errors.to_string(), |error| explain(&error.msg));
                let at = first.map_or_else(
                    || text.at.clone(),
                    |error| place(&text, error.pos.0, error.pos.1),
                );
                Err(
                    Diagnostic::error(Code::BadCel, &at, format!("this is not CEL: {message}"))
                        .help("see https://cel.dev; `object` is the object, captured names are variables"),
                )
            }
        }
    }

    pub fn text(&self) -> &str {
        &self.text.value
    }

    pub fn at(&self) -> &Span {
        &self.text.at
    }

    /// The variables the expression takes from outside: captured names, `object`, `networks`.
    pub fn variables(&self) -> BTreeSet<String> {
        cel_names::free(self.program.expression())
    }

    /// The value for one object; captured names are variables.
    pub fn value_for(&self, object: &Value, scope: &Scope) -> Result<Value, CelError> {
        self.run(
            &[
                ("object", object.clone()),
                ("networks", Value::Array(attachments(object))),
            ],
            scope,
        )
    }

    /// Whether the expression is true of one object.
    pub fn holds_for(&self, object: &Value, scope: &Scope) -> Result<bool, CelError> {
        boolean(self.value_for(object, scope)?)
    }

    /// Whether the expression is true of captured values alone.
    pub fn holds(&self, scope: &Scope) -> Result<bool, CelError> {
        boolean(self.run(&[], scope)?)
    }

    fn run(&self, own: &[(&str, Value)], scope: &Scope) -> Result<Value, CelError> {
        let mut context = Context::default().with_all();
        let captured = scope.iter().map(|(name, value)| (name, value.clone()));
        for (name, value) in captured.chain(own.iter().cloned()) {
            context.add_variable_from_value(name, from_json(value));
        }
        let value = self
            .program
            .execute(&context)
            .map_err(|error| match error {
                ExecutionError::NoSuchKey(key) => CelError::Missing(key.to_string()),
                // Which field a function was to be given, it does not say.
                ExecutionError::MissingArgumentOrTarget => {
                    CelError::Missing("argument of a function".to_owned())
                }
                other => CelError::Failed(other.to_string()),
            })?;
        to_json(&value)
    }
}

/// Whole numbers become `int`, as Kubernetes has them: a literal in an expression is one too, and the two types of
/// whole numbers are never equal.
fn from_json(value: Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => CelValue::Int(number),
            (None, Some(number)) => CelValue::UInt(number),
            (None, None) => CelValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => CelValue::String(Arc::new(text)),
        Value::Array(items) => CelValue::List(Arc::new(items.into_iter().map(from_json).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, CelValue> = fields
                .into_iter()
                .map(|(name, value)| (Key::from(name), from_json(value)))
                .collect();
            CelValue::Map(Map { map: Arc::new(map) })
        }
    }
}

fn to_json(value: &CelValue) -> Result<Value, CelError> {
    Ok(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(value) => Value::Bool(*value),
        CelValue::Int(value) => Value::from(*value),
        CelValue::UInt(value) => Value::from(*value),
        CelValue::Float(value) => Value::from(*value),
        CelValue::String(text) => Value::String(text.to_string()),
        CelValue::List(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        CelValue::Map(map) => Value::Object(
            map.map
                .iter()
                .map(|(key, value)| Ok((key.to_string(), to_json(value)?)))
                .collect::<Result<_, CelError>>()?,
        ),
        other => {
            return Err(CelError::Failed(format!(
                "a value of type {} is not JSON; turn it into text with `string(…)`",
                other.type_of()
            )));
        }
    })
}

fn boolean(value: Value) -> Result<bool, CelError> {
    match value {
        Value::Bool(value) => Ok(value),
        other => Err(CelError::NotBoolean(other.to_string())),
    }
}

/// The place of a CEL error; exact for expressions on one line, else the whole expression.
fn place(text: &Located<String>, line: isize, column: isize) -> Span {
    let written = text.at.text();
    let quote = usize::from(written.starts_with(['"', '\'']));
    let one_line = line == 1 && written.get(quote..quote + text.value.len()) == Some(&text.value);
    match usize::try_from(column) {
        Ok(column) if one_line && column > 0 => {
            let start = quote + column - 1;
            text.at.part(start..start + 1)
        }
        _ => text.at.clone(),
    }
}

/// The parser's words for the commonest mistakes, in ours.
fn explain(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    let first = first.strip_prefix("Syntax error: ").unwrap_or(first);
    if first.contains("token recognition error at: '= ") {
        return "`=` assigns nothing here; compare with `==`".to_owned();
    }
    if first.contains("mismatched input '<EOF>'") {
        return "the expression ends too early".to_owned();
    }
    let first = first.replace("'<EOF>'", "the end");
    match first.split_once(" expecting ") {
        Some((what, _)) => what.to_owned(),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::span::SourceFile;

    fn holds(expression: &str) -> bool {
        judge(expression).unwrap()
    }

    fn judge(expression: &str) -> Result<bool, CelError> {
        let file = SourceFile::new("test.yaml", expression);
        let text = Located {
            value: expression.to_owned(),
            at: Span::new(file, 0..expression.len()),
        };
        let object = json!({"status": {"ready": 2, "below": -1, "share": 0.5}, "list": [1, 2]});
        let cel = Cel::parse(text).unwrap();
        cel.holds_for(&object, &Scope::default())
    }

    #[test]
    fn fields_that_are_not_there_may_come() {
        for expression in ["object.spec.a == 2", "size(object.spec.list[0].of) == 1"] {
            let judged = judge(expression);
            assert!(matches!(judged, Err(CelError::Missing(_))), "{judged:?}");
        }
    }

    #[test]
    fn whole_numbers_equal_literals() {
        assert!(holds("object.status.ready == 2"));
        assert!(!holds("object.status.ready == 3"));
        assert!(holds(
            "object.status.below == -1 && object.status.share < 1.0"
        ));
        assert!(holds("size(object.list) == 2 && object.list[1] == 2"));
    }
}
