//! `x-kubernetes-validations`: CEL rules of custom resources.

use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::Value;

use super::error::FieldError;
use super::node::{Additional, Arena, Node, NodeId};
use super::{cel_value, correlate, path};

/// The longest message a messageExpression may give.
const MAX_MESSAGE: usize = 5 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    text: String,
    message: Option<String>,
    reason: Option<String>,
    /// JSONPath of the field to blame, relative to the rule's place.
    field_path: Option<String>,
    optional_old_self: bool,
    uses_old_self: bool,
    program: Result<Arc<Program>, String>,
    message_program: Option<Arc<Program>>,
}

impl Rule {
    pub(super) fn parse_all(schema: &Value) -> Vec<Self> {
        schema
            .get("x-kubernetes-validations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Self::parse)
            .collect()
    }

    fn parse(rule: &Value) -> Option<Self> {
        let field = |name: &str| {
            rule.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let text = field("rule")?;
        let program = compile(text).map(Arc::new);
        Some(Self {
            text: text.to_owned(),
            message: field("message").map(str::to_owned),
            reason: field("reason").map(str::to_owned),
            field_path: field("fieldPath").map(str::to_owned),
            optional_old_self: rule.get("optionalOldSelf") == Some(&Value::Bool(true)),
            uses_old_self: program
                .as_ref()
                .is_ok_and(|p| p.references().has_variable("oldSelf")),
            program,
            message_program: field("messageExpression")
                .and_then(|text| compile(text).ok())
                .map(Arc::new),
        })
    }

    /// The rule as errors name it.
    fn name(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.text).trim()
    }

    fn default_message(&self) -> String {
        match &self.message {
            Some(message) => message.trim().to_owned(),
            None => format!("failed rule: {}", self.text.trim()),
        }
    }
}

/// Compiles an expression; the error is the parser's.
pub(super) fn compile(text: &str) -> Result<Program, String> {
    // Upstream indents the lines that point to the place.
    Program::compile(text).map_err(|e| e.to_string().replace("\n| ", "\n | "))
}

/// Evaluates every rule that applies. Transition rules run where the old value can be matched.
pub(super) fn evaluate(
    arena: &Arena,
    root: NodeId,
    new: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    if !arena[root].has_rules {
        return Vec::new();
    }
    let mut evaluation = Evaluation {
        arena,
        base: Context::default().with_all(),
        errors: Vec::new(),
    };
    evaluation.visit(&arena[root], new, old, "");
    evaluation.errors
}

struct Evaluation<'a> {
    arena: &'a Arena,
    base: Context<'static>,
    errors: Vec<FieldError>,
}

impl Evaluation<'_> {
    fn visit(&mut self, node: &Node, value: &Value, old: Option<&Value>, at: &str) {
        // A rule about nulls belongs to the surrounding schema.
        if value.is_null() || !node.has_rules {
            return;
        }
        if !node.rules.is_empty() {
            self.rules(node, value, old.filter(|o| !o.is_null()), at);
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let old = correlate::field(name, old);
                    if let Some(id) = node.properties.get(name) {
                        self.visit(&self.arena[*id], value, old, &path::child(at, name));
                    } else if let Additional::Schema(id) = node.additional {
                        self.visit(&self.arena[id], value, old, &path::key(at, name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(element) = node.items else { return };
                for (i, item) in items.iter().enumerate() {
                    let old = correlate::item(self.arena, node, item, old);
                    self.visit(&self.arena[element], item, old, &path::index(at, i));
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, node: &Node, value: &Value, old: Option<&Value>, at: &str) {
        let this = cel_value::convert(self.arena, node, value);
        let old_this = old.map(|old| cel_value::convert(self.arena, node, old));
        let unchanged = old == Some(value);
        for rule in &node.rules {
            if rule.uses_old_self && old.is_none() && !rule.optional_old_self {
                continue;
            }
            let mut scope = self.base.new_inner_scope();
            scope.add_variable_from_value("self", this.clone());
            if rule.optional_old_self {
                let optional = match &old_this {
                    Some(old) => OptionalValue::of(old.clone()),
                    None => OptionalValue::none(),
                };
                scope.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(optional)));
            } else if let Some(old) = &old_this {
                scope.add_variable_from_value("oldSelf", old.clone());
            }
            let error = |detail: &str| FieldError::invalid(at, &node.ty_name().into(), detail);
            let program = match &rule.program {
                Ok(program) => program,
                Err(text) => {
                    self.errors
                        .push(error(&format!("rule compile error: {text}")));
                    continue;
                }
            };
            match program.execute(&scope) {
                Ok(Cel::Bool(true)) => {}
                Ok(_) if unchanged && !rule.uses_old_self => {}
                Ok(_) => {
                    let message = rule
                        .message_program
                        .as_ref()
                        .and_then(|program| message(program, &scope))
                        .unwrap_or_else(|| rule.default_message());
                    let at = match &rule.field_path {
                        Some(json_path) => blamed(self.arena, node, at, json_path),
                        None => at.to_owned(),
                    };
                    self.errors.push(refusal(rule, node, at, &message));
                }
                Err(e) => self.errors.push(error(&failure(&e, rule))),
            }
        }
    }
}

impl Node {
    /// The type as CEL errors show it; int-or-string has none.
    fn ty_name(&self) -> &'static str {
        match self.ty {
            super::node::Type::IntOrString => "",
            other => other.name(),
        }
    }
}

fn message(program: &Program, scope: &Context<'_>) -> Option<String> {
    match program.execute(scope) {
        Ok(Cel::String(text)) => {
            let text = text.trim();
            (!text.is_empty() && !text.contains('\n') && text.len() <= MAX_MESSAGE)
                .then(|| text.to_owned())
        }
        _ => None,
    }
}

fn refusal(rule: &Rule, node: &Node, at: String, message: &str) -> FieldError {
    let value = Value::from(node.ty_name());
    match rule.reason.as_deref() {
        Some("FieldValueForbidden") => FieldError::forbidden(at, message),
        Some("FieldValueRequired") => FieldError::required(at, message),
        Some("FieldValueDuplicate") => FieldError::duplicate(at, &value),
        _ => FieldError::invalid(at, &value, message),
    }
}

fn failure(error: &ExecutionError, rule: &Rule) -> String {
    let name = rule.name();
    let text = match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::NoSuchOverload
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::ValuesNotComparable(..) => {
            return format!(
                "'no such overload': call arguments did not match a supported operator, function or macro signature \
                 for rule: {name}"
            );
        }
        other => other.to_string(),
    };
    format!("{text} evaluating rule: {name}")
}

/// The path a rule's `fieldPath` (`.a.b`, `.a['key']`) points to.
fn blamed(arena: &Arena, node: &Node, at: &str, json_path: &str) -> String {
    let mut at = at.to_owned();
    let mut node = Some(node);
    let mut rest = json_path;
    while !rest.is_empty() {
        let name;
        if let Some(quoted) = rest.strip_prefix("['") {
            let Some((key, after)) = quoted.split_once("']") else {
                break;
            };
            (name, rest) = (key.replace("\\'", "'"), after);
        } else {
            let bare = rest.strip_prefix('.').unwrap_or(rest);
            let end = bare.find(['.', '[']).unwrap_or(bare.len());
            if end == 0 {
                break;
            }
            (name, rest) = (bare[..end].to_owned(), &bare[end..]);
        }
        let property = node.and_then(|n| n.properties.get(&name));
        let id = match (property, node.map(|n| n.additional)) {
            (Some(id), _) => Some(*id),
            (None, Some(Additional::Schema(id))) => Some(id),
            (None, _) => None,
        };
        at = if property.is_some() || id.is_none() {
            path::child(&at, &name)
        } else {
            path::key(&at, &name)
        };
        node = id.map(|id| &arena[id]);
    }
    at
}
