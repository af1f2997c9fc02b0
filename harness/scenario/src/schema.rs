//! The JSON Schema of scenario files, made from the same tables that the reader uses.

use serde_json::{Map, Value, json};

use crate::grammar::{
    DNS, EXEC, Field, HTTP, PING, REJECTED, Record, SCENARIO, STATEMENT_SHAPE, Shape, Status, TCP,
    UDP, Unit, timeout_record,
};
use crate::model::Way;
use crate::suggest;

/// The schema, in the draft that editors know best (2020-12 is not understood by all of them).
pub fn schema() -> Value {
    let mut definitions = Definitions::default();
    let root = definitions.record(&SCENARIO);
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".to_owned(), json!("trunkline scenario"));
    for (key, value) in root {
        schema.insert(key, value);
    }
    let mut done: Vec<(String, Value)> = definitions.done;
    done.sort_by(|a, b| a.0.cmp(&b.0));
    schema.insert(
        "definitions".to_owned(),
        Value::Object(done.into_iter().collect()),
    );
    Value::Object(schema)
}

/// The schema as it is checked in.
pub fn schema_text() -> String {
    // pretty printing of a value cannot fail: its keys are text
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// Records that were turned into definitions, by name.
#[derive(Default)]
struct Definitions {
    done: Vec<(String, Value)>,
}

impl Definitions {
    fn reference(&mut self, record: &Record) -> Value {
        if !self.done.iter().any(|(name, _)| name == record.name) {
            // the name first: records refer to each other
            self.done.push((record.name.to_owned(), Value::Null));
            let schema = Value::Object(self.record(record));
            if let Some(entry) = self.done.iter_mut().find(|(name, _)| name == record.name) {
                entry.1 = schema;
            }
        }
        json!({"$ref": format!("#/definitions/{}", record.name)})
    }

    fn record(&mut self, record: &Record) -> Map<String, Value> {
        let mut properties = Map::new();
        for field in record.offered() {
            properties.insert(field.key.to_owned(), self.field(field, record));
        }
        let required: Vec<&str> = record
            .fields
            .iter()
            .filter(|field| field.status == Status::Required)
            .map(|field| field.key)
            .collect();
        let mut schema = Map::new();
        schema.insert("description".to_owned(), json!(record.doc));
        schema.insert("type".to_owned(), json!("object"));
        schema.insert("additionalProperties".to_owned(), json!(false));
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        schema.insert("properties".to_owned(), Value::Object(properties));
        let rules = self.rules(record);
        if !rules.is_empty() {
            schema.insert("allOf".to_owned(), Value::Array(rules));
        }
        schema
    }

    fn field(&mut self, field: &Field, record: &Record) -> Value {
        let schema = match field.shape {
            // the rules of the record say what it is, verb by verb
            Shape::ByVerb if record.name == "step" => json!({}),
            other => self.shape(&other),
        };
        described(schema, field.doc)
    }

    /// Verbs exclude each other, probes need a source, and `expect` depends on the verb.
    fn rules(&mut self, record: &Record) -> Vec<Value> {
        let verbs: Vec<&str> = record
            .offered()
            .map(|field| field.key)
            .filter(|key| record.verbs.contains(key))
            .collect();
        if verbs.is_empty() {
            return Vec::new();
        }
        let has = |key: &str| json!({"required": [key]});
        let none =
            json!({"not": {"anyOf": verbs.iter().map(|verb| has(verb)).collect::<Vec<_>>()}});
        let mut one: Vec<Value> = verbs.iter().map(|verb| has(verb)).collect();
        let step = record.name == "step";
        if step {
            let idle = ["until", "let", "expect"].map(has);
            one.push(json!({"allOf": [none.clone(), {"anyOf": idle}]}));
        }
        let mut rules = vec![json!({
            "description": format!("{} has one of {}", record.what, suggest::listed(verbs.iter().copied())),
            "oneOf": one,
        })];
        if !["step", "probe"].contains(&record.name) {
            return rules;
        }
        for (verb, expectation) in [
            ("curl", &HTTP),
            ("ping", &PING),
            ("tcp", &TCP),
            ("udp", &UDP),
            ("dns", &DNS),
            ("exec", &EXEC),
        ] {
            let mut then = Map::new();
            if step {
                then.insert("required".to_owned(), json!(["from"]));
            }
            let described = self.reference(expectation);
            let words = if verb == "exec" { "^answered$" } else { WAYS };
            let expect = json!({"anyOf": [{"type": "string", "pattern": words, "examples": ways()}, described]});
            then.insert("properties".to_owned(), json!({"expect": expect}));
            rules.push(json!({"if": has(verb), "then": then}));
        }
        if step {
            let sentences = self.shape(&Shape::OneOrMany(&STATEMENT_SHAPE));
            let rejected = self.reference(&REJECTED);
            let refusal = json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["rejected"],
                "properties": {"rejected": rejected},
            });
            rules.push(json!({
                "if": has("apply"),
                "then": {"properties": {"expect": {"anyOf": [{"const": "rejected"}, refusal, sentences.clone()]}}},
            }));
            rules.push(json!({
                "if": {"anyOf": [has("delete"), has("start"), has("stop"), has("restart"), none]},
                "then": {"properties": {"expect": sentences, "from": false}},
            }));
            rules.push(json!({"if": has("together"), "then": {"properties": {"expect": false}}}));
        }
        rules
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Text => json!({"type": "string"}),
            // numbers are taken as they were written
            Shape::Template => json!({"type": ["string", "number"]}),
            Shape::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
            Shape::Sentence { pattern, examples } => {
                let mut schema = json!({"type": "string", "examples": examples});
                if !pattern.is_empty() {
                    // what has holes follows the pattern once they are filled
                    schema["anyOf"] = json!([{"pattern": pattern}, {"pattern": "\\$\\{"}]);
                }
                schema
            }
            Shape::Boolean => holes_or(&json!({"type": "boolean"})),
            Shape::Integer { min, max } => {
                holes_or(&json!({"type": "integer", "minimum": min, "maximum": max}))
            }
            Shape::Duration => holes_or(&json!({
                "type": "string",
                "pattern": DURATION,
                "examples": ["500ms", "2s", "1m30s"],
            })),
            Shape::Cel => json!({
                "type": "string",
                "examples": ["object.status.phase == 'Running'"],
            }),
            Shape::Bound(unit) => bound(*unit),
            Shape::Words(words) => holes_or(&json!({
                "enum": words.iter().map(|(word, _)| word).collect::<Vec<_>>(),
                "enumDescriptions": words.iter().map(|(_, meaning)| meaning).collect::<Vec<_>>(),
            })),
            Shape::Record(record) => self.reference(record),
            Shape::List(item) => json!({"type": "array", "items": self.shape(item)}),
            Shape::OneOrMany(item) => {
                let item = self.shape(item);
                json!({"anyOf": [item.clone(), {"type": "array", "items": item}]})
            }
            Shape::Either(shapes) => {
                let shapes: Vec<Value> = shapes.iter().map(|shape| self.shape(shape)).collect();
                json!({"anyOf": shapes})
            }
            Shape::Table { keys, value } => {
                let value = self.shape(value);
                if keys.is_empty() {
                    json!({"type": "object", "additionalProperties": value})
                } else {
                    json!({
                        "type": "object",
                        "patternProperties": {*keys: value},
                        "additionalProperties": false,
                    })
                }
            }
            Shape::Timeouts => self.reference(timeout_record()),
            Shape::Json | Shape::ByVerb => json!({}),
        }
    }
}

const DURATION: &str = r"^([0-9]+(\.[0-9]+)?\s*(h|m|s|ms|us|ns)\s*)+$";
const WAYS: &str = "^(answered|(blocked|refused|unreachable|unresolved)( or (blocked|refused|unreachable|unresolved))*)$";

fn ways() -> Vec<&'static str> {
    Way::ALL
        .iter()
        .map(|way| way.as_str())
        .chain(["blocked or unreachable", "answered"])
        .collect()
}

fn bound(unit: Unit) -> Value {
    let (number, one, examples) = match unit {
        Unit::Count => (true, r"[0-9]+", ["3", "at least 3"]),
        Unit::Percent => (true, r"[0-9]+(\.[0-9]+)?\s*%?", ["0%", "under 25%"]),
        Unit::Duration => (false, r"[0-9].*", ["under 50ms", "between 1s and 2s"]),
    };
    let pattern = format!("^((under |over |at most |at least )?{one}|between {one} and {one})$");
    let text = json!({"type": "string", "pattern": pattern, "examples": examples});
    let shape = if number {
        json!({"anyOf": [{"type": "number", "minimum": 0}, text]})
    } else {
        text
    };
    holes_or(&shape)
}

/// A parameter may stand for the whole value.
fn holes_or(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "string", "pattern": "^\\$\\{[^}]+\\}$"}]})
}

fn described(schema: Value, doc: &str) -> Value {
    match schema {
        Value::Object(mut fields) if !fields.contains_key("$ref") => {
            fields.shift_insert(0, "description".to_owned(), json!(doc));
            Value::Object(fields)
        }
        // draft 7 ignores what stands beside a reference
        reference => json!({"description": doc, "allOf": [reference]}),
    }
}
