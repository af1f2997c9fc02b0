//! Tables: what `kubectl get` prints.

pub mod age;
mod autoscaling;
mod cluster;
mod config;
mod custom;
mod nodes;
mod pods;
mod services;
mod volumes;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object;
use crate::read::metadata;
use crate::registry::Served;
use crate::request::Include;

/// A column of a built-in kind.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub name: &'static str,
    pub kind: &'static str,
    /// Columns with a priority above 0 are only shown by `-o wide`.
    pub wide: bool,
}

/// A text column.
const fn col(name: &'static str) -> Head {
    Head {
        name,
        kind: "string",
        wide: false,
    }
}

/// A number column.
const fn int(name: &'static str) -> Head {
    Head {
        name,
        kind: "integer",
        wide: false,
    }
}

/// A column with a time.
const fn date(name: &'static str) -> Head {
    Head {
        name,
        kind: "date",
        wide: false,
    }
}

/// A text column of the wide form.
const fn wide(name: &'static str) -> Head {
    Head {
        name,
        kind: "string",
        wide: true,
    }
}

/// How a built-in kind is printed.
#[derive(Clone, Copy)]
pub struct Printer {
    pub heads: &'static [Head],
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
}

const NAME_AND_AGE: &[Head] = &[col("Name"), col("Age")];
const DEFAULT: &[Head] = &[col("Name"), date("Created At")];

fn printer(served: &Served) -> Printer {
    let key = (
        served.resource.group.as_str(),
        served.resource.plural.as_str(),
    );
    pods::printer(key)
        .or_else(|| workloads::printer(key))
        .or_else(|| services::printer(key))
        .or_else(|| nodes::printer(key))
        .or_else(|| volumes::printer(key))
        .or_else(|| cluster::printer(key))
        .or_else(|| config::printer(key))
        .unwrap_or(Printer {
            heads: DEFAULT,
            cells: |object, _| {
                vec![
                    object::name(object).into(),
                    object::meta(object, "creationTimestamp").into(),
                ]
            },
        })
}

/// A table without columns and rows.
pub fn empty(version: &str) -> Value {
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": {}, "columnDefinitions": null,
        "rows": [],
    })
}

/// The table of one object.
pub fn of_object(
    served: &Served,
    object: &Value,
    version: &str,
    include: Include,
    now: Timestamp,
) -> Value {
    let metadata = json!({"resourceVersion": object::resource_version(object)});
    of_list(
        served,
        std::iter::once(object),
        &metadata,
        version,
        include,
        now,
    )
}

/// The table of a list.
pub fn of_list<'a>(
    served: &Served,
    objects: impl Iterator<Item = &'a Value>,
    metadata: &Value,
    version: &str,
    include: Include,
    now: Timestamp,
) -> Value {
    let mut table = empty(version);
    table["metadata"] = metadata.clone();
    let row = |cells: Vec<Value>, object: &Value| {
        let mut row = json!({"cells": cells});
        let conditions = pods::conditions(served, object);
        let object = match include {
            Include::None => Value::Null,
            Include::Metadata => metadata::in_version(object, version),
            Include::Object => object.clone(),
        };
        row["object"] = object;
        if let Some(conditions) = conditions {
            row["conditions"] = conditions;
        }
        row
    };
    let columns = &served.version().columns;
    if served.resource.is_custom() {
        table["columnDefinitions"] = custom::heads(columns);
        table["rows"] = objects
            .map(|object| row(custom::cells(columns, object, now), object))
            .collect();
    } else {
        let printer = printer(served);
        table["columnDefinitions"] = printer.heads.iter().map(definition).collect();
        table["rows"] = objects
            .map(|object| row((printer.cells)(object, now), object))
            .collect();
    }
    table
}

fn definition(head: &Head) -> Value {
    json!({
        "name": head.name, "type": head.kind, "format": if head.name == "Name" { "name" } else { "" }, "description": "",
        "priority": i32::from(head.wide),
    })
}

/// The age of an object.
fn age(object: &Value, now: Timestamp) -> Value {
    age::since(object::meta(object, "creationTimestamp"), now).into()
}

/// A text, or `<none>`.
fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>" } else { text }.into()
}

/// Container names and images of a pod spec, comma separated.
fn containers(spec: &Value) -> [Value; 2] {
    ["name", "image"].map(|key| {
        object::list(spec, &["containers"])
            .iter()
            .map(|c| object::text(c, &[key]))
            .collect::<Vec<_>>()
            .join(",")
            .into()
    })
}

/// A label selector as text, or `<none>`.
fn selector(selector: &Value) -> Value {
    or_none(&crate::write::scale::selector_text(selector))
}
