//! Operations of a path: what they take and give, in which media types.

use serde_json::{Map, Value, json};

use crate::schema::Gvk;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

pub const LISTING: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
pub const WRITING: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
pub const PATCHING: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
pub const DELETING: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];

/// Whether a resource is Kubernetes' own or a definition's: the documents of the two are written by different hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Builtin,
    Custom,
}

impl Flavour {
    /// The media types of an answer.
    pub fn answers(self) -> &'static [&'static str] {
        match self {
            Self::Builtin => &[JSON, PROTOBUF, YAML],
            Self::Custom => &[JSON, YAML],
        }
    }

    /// The media types of an answer that can be a stream.
    pub fn streams(self) -> &'static [&'static str] {
        match self {
            Self::Builtin => &[
                JSON,
                "application/json;stream=watch",
                PROTOBUF,
                "application/vnd.kubernetes.protobuf;stream=watch",
                YAML,
            ],
            Self::Custom => &[JSON, YAML],
        }
    }

    /// A body that must be there.
    pub fn body(self, schema: &Value) -> Value {
        let mut body = self.optional_body(schema);
        body["required"] = true.into();
        body
    }

    pub fn optional_body(self, schema: &Value) -> Value {
        match self {
            Self::Builtin => json!({"content": content(&["*/*"], schema)}),
            Self::Custom => json!({"content": content(self.answers(), schema)}),
        }
    }

    pub fn patch(self, schema: &Value) -> Value {
        let mut types = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        // Custom resources know no strategic merge patch.
        if self == Self::Builtin {
            types.push("application/strategic-merge-patch+json");
        }
        json!({"content": content(&types, schema), "required": true})
    }
}

/// An operation to be written down.
pub struct Operation {
    pub id: String,
    /// As in `x-kubernetes-action`.
    pub action: &'static str,
    pub gvk: Gvk,
    /// Of the query; those of the path are added.
    pub parameters: Vec<&'static str>,
    pub body: Option<Value>,
    pub answer: Value,
    pub codes: &'static [&'static str],
}

impl Operation {
    pub fn write(self, tag: &str, path: &[&str]) -> Value {
        let mut responses = Map::new();
        for code in self.codes {
            let said = match *code {
                "200" => "OK",
                "201" => "Created",
                _ => "Accepted",
            };
            responses.insert(
                (*code).to_owned(),
                json!({"description": said, "content": self.answer}),
            );
        }
        responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        let mut out = json!({"tags": [tag], "operationId": self.id});
        let mut parameters: Vec<(&str, &str)> = self
            .parameters
            .iter()
            .map(|name| (*name, "query"))
            .chain(path.iter().map(|name| (*name, "path")))
            .collect();
        parameters.sort_unstable();
        out["parameters"] = parameters.into_iter().map(parameter).collect();
        if let Some(body) = self.body {
            out["requestBody"] = body;
        }
        out["responses"] = responses.into();
        out["x-kubernetes-action"] = self.action.into();
        out["x-kubernetes-group-version-kind"] = json!({
            "group": self.gvk.group, "kind": self.gvk.kind, "version": self.gvk.version,
        });
        out
    }
}

/// A schema in each of some media types.
pub fn content(media: &[&str], schema: &Value) -> Value {
    media
        .iter()
        .map(|media| ((*media).to_owned(), json!({"schema": schema})))
        .collect::<Map<_, _>>()
        .into()
}

fn parameter((name, place): (&str, &str)) -> Value {
    let kind = match (name, place) {
        (_, "path") => "string",
        (
            "allowWatchBookmarks"
            | "follow"
            | "force"
            | "ignoreStoreReadErrorWithClusterBreakingPotential"
            | "insecureSkipTLSVerifyBackend"
            | "orphanDependents"
            | "previous"
            | "sendInitialEvents"
            | "stderr"
            | "stdin"
            | "stdout"
            | "timestamps"
            | "tty"
            | "watch",
            _,
        ) => "boolean",
        (
            "gracePeriodSeconds" | "limit" | "limitBytes" | "ports" | "sinceSeconds" | "tailLines"
            | "timeoutSeconds",
            _,
        ) => "integer",
        _ => "string",
    };
    let mut out = json!({"in": place, "name": name});
    if place == "path" {
        out["required"] = true.into();
    }
    out["schema"] = json!({"type": kind, "uniqueItems": true});
    out
}

/// The item of a path: its operations by method. Parameters that all of them have are said once, for the path.
pub fn item(mut operations: Map<String, Value>) -> Value {
    let lists: Vec<Vec<Value>> = operations
        .values()
        .map(|operation| {
            operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .collect();
    let shared: Vec<Value> = lists
        .first()
        .into_iter()
        .flatten()
        .filter(|parameter| lists.iter().all(|list| list.contains(parameter)))
        .cloned()
        .collect();
    for operation in operations.values_mut() {
        if let Some(list) = operation["parameters"].as_array_mut() {
            list.retain(|parameter| !shared.contains(parameter));
        }
        if operation["parameters"].as_array().is_none_or(Vec::is_empty)
            && let Some(operation) = operation.as_object_mut()
        {
            operation.shift_remove("parameters");
        }
    }
    if !shared.is_empty() {
        operations.insert("parameters".to_owned(), shared.into());
    }
    operations.into()
}
