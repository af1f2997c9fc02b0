//! Captures: values read from objects so that nothing that varies is written down.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::cel::{Cel, CelError};
use super::reference::ObjectRef;
use super::template::{Late, Phrase, PhraseError, Scope};
use crate::diagnostic::Diagnostic;
use crate::span::{Located, Span};
use crate::suggest;

/// One name of a `let`.
#[derive(Debug, Clone, PartialEq)]
pub struct Let {
    pub name: Located<String>,
    pub capture: CaptureSpec,
}

/// A capture as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum CaptureSpec {
    Sentence(Late<Capture>),
    Fields {
        at: Span,
        object: Late<ObjectRef>,
        value: Cel,
    },
}

impl CaptureSpec {
    pub fn at(&self) -> &Span {
        match self {
            Self::Sentence(sentence) => sentence.at(),
            Self::Fields { at, .. } => at,
        }
    }

    pub fn resolve(&self, scope: &Scope) -> Result<Capture, Diagnostic> {
        match self {
            Self::Sentence(sentence) => sentence.resolve(scope),
            Self::Fields { object, value, .. } => Ok(Capture::Cel {
                object: object.resolve(scope)?,
                value: value.clone(),
            }),
        }
    }
}

/// A field of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttachmentField {
    /// The first address.
    Ip,
    Ips,
    Mac,
    /// The name of the interface inside the workload.
    Interface,
    /// The name of the network as the object reports it.
    Name,
    Mtu,
}

impl AttachmentField {
    const ALL: &[(&str, AttachmentField)] = &[
        ("ip", Self::Ip),
        ("ips", Self::Ips),
        ("mac", Self::Mac),
        ("interface", Self::Interface),
        ("name", Self::Name),
        ("mtu", Self::Mtu),
    ];

    /// The words for them.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    fn key(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, field)| *field == self)
            .map_or("", |(key, _)| key)
    }
}

/// What to read from which object.
#[derive(Debug, Clone, PartialEq)]
pub enum Capture {
    /// `pod/blue/server network shared-net ip`: an entry of the pod's network-status by the name of its
    /// attachment definition (of the pod's namespace unless `NAMESPACE/NAME`; `default` is the pod network).
    /// Of a `vmi`: an entry of `status.interfaces` by the name of the network in the spec.
    Network {
        object: ObjectRef,
        network: String,
        /// All of [`AttachmentField`] as one object when `None`.
        field: Option<AttachmentField>,
    },
    /// `pod/blue/server interface net1 mac`; of a `vmi`, by the interface's name in the spec.
    Interface {
        object: ObjectRef,
        interface: String,
        field: Option<AttachmentField>,
    },
    /// `pod/blue/server ip`: the primary address (`status.podIP`; of a `vmi` its first interface's;
    /// of a `service` its cluster address; of a `node` its internal address).
    Ip { object: ObjectRef },
    /// `pod/blue/server node`: where it runs.
    Node { object: ObjectRef },
    /// `deployment/default/dhcp field status.readyReplicas`, with `.0` or `[0]` for items of lists and
    /// `["…"]` for keys with dots.
    Field {
        object: ObjectRef,
        path: Vec<String>,
    },
    /// `pod/blue/server`: the object itself, for `${server.status.hostIP}`.
    Object { object: ObjectRef },
    /// `{object: …, value: CEL}`.
    Cel { object: ObjectRef, value: Cel },
}

/// Why a value cannot be read from the object as it is now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// It may still come: watch on.
    #[error("{0}")]
    Missing(String),
    /// It never will.
    #[error("{0}")]
    Never(String),
}

impl Capture {
    pub fn object(&self) -> &ObjectRef {
        match self {
            Self::Network { object, .. }
            | Self::Interface { object, .. }
            | Self::Ip { object }
            | Self::Node { object }
            | Self::Field { object, .. }
            | Self::Object { object }
            | Self::Cel { object, .. } => object,
        }
    }

    /// Reads the value, and has it wait for what is used of it: an attachment is there before its address is.
    pub fn extract_with(
        &self,
        object: &Value,
        scope: &Scope,
        fields: &BTreeSet<String>,
    ) -> Result<Value, NotYet> {
        let value = self.extract(object, scope)?;
        let whole = matches!(
            self,
            Self::Network { field: None, .. } | Self::Interface { field: None, .. }
        );
        let lacks = |field: &&String| {
            AttachmentField::names().any(|name| name == field.as_str())
                && value.get(field.as_str()).is_none()
        };
        match fields.iter().find(lacks).filter(|_| whole) {
            Some(field) => Err(NotYet::Missing(format!(
                "the attachment `{}` has no {field} in its status",
                value["name"].as_str().unwrap_or("?"),
            ))),
            None => Ok(value),
        }
    }

    /// Reads the value from the object as the API returned it.
    pub fn extract(&self, object: &Value, scope: &Scope) -> Result<Value, NotYet> {
        match self {
            Self::Network {
                object: reference,
                network,
                field,
            } => {
                let found = attachments(object).into_iter().find(|entry| {
                    let default = network == "default" && entry["default"] == json!(true);
                    default || named(entry, network, reference.namespace.as_deref())
                });
                attachment(found, *field, || {
                    format!("{reference} has no network `{network}` in its status")
                })
            }
            Self::Interface {
                object: reference,
                interface,
                field,
            } => {
                let found = attachments(object).into_iter().find(|entry| {
                    entry["interface"] == json!(interface) || entry["name"] == json!(interface)
                });
                attachment(found, *field, || {
                    format!("{reference} has no interface `{interface}` in its status")
                })
            }
            Self::Ip { object: reference } => primary_address(object).ok_or_else(|| {
                NotYet::Missing(format!("{reference} has no address in its status"))
            }),
            Self::Node { object: reference } => ["/spec/nodeName", "/status/nodeName"]
                .iter()
                .find_map(|path| object.pointer(path).cloned())
                .ok_or_else(|| NotYet::Missing(format!("{reference} is on no node"))),
            Self::Field {
                object: reference,
                path,
            } => {
                let mut value = object;
                for key in path {
                    let next = match value {
                        Value::Array(items) => key.parse().ok().and_then(|i: usize| items.get(i)),
                        other => other.get(key),
                    };
                    value = next.ok_or_else(|| {
                        NotYet::Missing(format!("{reference} has no `{}`", path.join(".")))
                    })?;
                }
                Ok(value.clone())
            }
            Self::Object { .. } => Ok(object.clone()),
            Self::Cel { value, .. } => {
                value.value_for(object, scope).map_err(|error| match error {
                    CelError::Missing(_) => NotYet::Missing(error.to_string()),
                    _ => NotYet::Never(error.to_string()),
                })
            }
        }
    }
}

fn attachment(
    found: Option<Value>,
    field: Option<AttachmentField>,
    none: impl FnOnce() -> String,
) -> Result<Value, NotYet> {
    let entry = found.ok_or_else(|| NotYet::Missing(none()))?;
    let Some(field) = field else {
        return Ok(entry);
    };
    entry.get(field.key()).cloned().ok_or_else(|| {
        NotYet::Missing(format!(
            "the attachment `{}` has no {} in its status",
            entry["name"].as_str().unwrap_or("?"),
            field.key()
        ))
    })
}

fn named(entry: &Value, network: &str, namespace: Option<&str>) -> bool {
    let name = entry["name"].as_str().unwrap_or("");
    name == network
        || namespace.is_some_and(|namespace| {
            !network.contains('/') && name == format!("{namespace}/{network}")
        })
}

/// The attachments of a pod (from its network-status annotation) or a VMI (from `status.interfaces`),
/// each with the keys of [`AttachmentField`] that are known, and `default` for the pod network.
pub(crate) fn attachments(object: &Value) -> Vec<Value> {
    let annotation =
        object["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].as_str();
    if let Some(text) = annotation
        && let Ok(Value::Array(entries)) = serde_json::from_str(text)
    {
        return entries.into_iter().map(from_status_annotation).collect();
    }
    match &object["status"]["interfaces"] {
        Value::Array(entries) => entries.iter().map(from_vmi_interface).collect(),
        _ => Vec::new(),
    }
}

fn from_status_annotation(entry: Value) -> Value {
    let Value::Object(mut fields) = entry else {
        return Value::Null;
    };
    if let Some(first) = fields.get("ips").and_then(|ips| ips.get(0)).cloned() {
        fields.insert("ip".to_owned(), first);
    }
    Value::Object(fields)
}

fn from_vmi_interface(entry: &Value) -> Value {
    let mut fields = Map::new();
    for (ours, theirs) in [
        ("name", "name"),
        ("interface", "interfaceName"),
        ("ip", "ipAddress"),
        ("ips", "ipAddresses"),
        ("mac", "mac"),
    ] {
        if let Some(value) = entry.get(theirs) {
            fields.insert(ours.to_owned(), value.clone());
        }
    }
    Value::Object(fields)
}

fn primary_address(object: &Value) -> Option<Value> {
    let internal = object["status"]["addresses"].as_array().and_then(|all| {
        let address = all.iter().find(|one| one["type"] == "InternalIP")?;
        address.get("address").cloned()
    });
    [
        "/status/podIP",
        "/status/interfaces/0/ipAddress",
        "/spec/clusterIP",
    ]
    .iter()
    .find_map(|path| object.pointer(path).cloned())
    .or(internal)
}

const HELP: &str = "write `pod/NAMESPACE/NAME network NAD ip`, `… interface net1 mac`, `… ip`, `… node`, \
                    `… field status.podIP`, or `{object: pod/…, value: \"CEL\"}`";

impl Phrase for Capture {
    fn parse_phrase(text: &str) -> Result<Self, PhraseError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some((object, rest)) = words.split_first() else {
            return Err(PhraseError::new("there is nothing to capture", HELP));
        };
        if *object == "answer" {
            return Err(PhraseError::new(
                "captures from the answer of a probe are planned, not in this version",
                HELP,
            )
            .planned());
        }
        let object = ObjectRef::parse_phrase(object)?;
        match rest {
            [] => Ok(Self::Object { object }),
            ["ip"] => Ok(Self::Ip { object }),
            ["node"] => Ok(Self::Node { object }),
            ["field", path] => Ok(Self::Field {
                object,
                path: field_path(path)?,
            }),
            ["network", network, field @ ..] => Ok(Self::Network {
                object,
                network: (*network).to_owned(),
                field: attachment_field(field)?,
            }),
            ["interface", interface, field @ ..] => Ok(Self::Interface {
                object,
                interface: (*interface).to_owned(),
                field: attachment_field(field)?,
            }),
            [word @ ("network" | "interface" | "field")] => Err(PhraseError::new(
                format!("`{word}` does not say which"),
                HELP,
            )),
            [word, ..] => {
                let known = ["ip", "node", "field", "network", "interface"];
                let help = match suggest::closest(word, known) {
                    Some(near) => format!("did you mean `{near}`? {HELP}"),
                    None => HELP.to_owned(),
                };
                Err(PhraseError::new(
                    format!("`{word}` is not something to capture"),
                    help,
                ))
            }
        }
    }
}

fn attachment_field(words: &[&str]) -> Result<Option<AttachmentField>, PhraseError> {
    match words {
        [] => Ok(None),
        [word] => AttachmentField::ALL
            .iter()
            .find(|(key, _)| key == word)
            .map(|(_, field)| Some(*field))
            .ok_or_else(|| {
                PhraseError::new(
                    format!("an attachment has no `{word}`"),
                    format!(
                        "take one of {}, or nothing for all of them",
                        suggest::listed(AttachmentField::names())
                    ),
                )
            }),
        [_, extra, ..] => Err(PhraseError::new(
            format!("`{extra}` is one word too many"),
            HELP,
        )),
    }
}

/// `status.conditions[0].type`, `metadata.labels["kubevirt.io/domain"]`.
fn field_path(text: &str) -> Result<Vec<String>, PhraseError> {
    let bad = || {
        PhraseError::new(
            format!("`{text}` is not a path of fields"),
            "write `status.podIP`, `status.conditions[0].type` or `metadata.labels[\"example.com/key\"]`",
        )
    };
    let mut path = Vec::new();
    let mut rest = text.strip_prefix('.').unwrap_or(text);
    while !rest.is_empty() {
        let (key, after) = if let Some(inner) = rest.strip_prefix("[\"") {
            inner.split_once("\"]").ok_or_else(bad)?
        } else if let Some(inner) = rest.strip_prefix('[') {
            inner.split_once(']').ok_or_else(bad)?
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            rest.split_at(end)
        };
        if key.is_empty() {
            return Err(bad());
        }
        path.push(key.to_owned());
        rest = match after.strip_prefix('.') {
            Some("") => return Err(bad()),
            Some(more) => more,
            None => after,
        };
    }
    if path.is_empty() {
        Err(bad())
    } else {
        Ok(path)
    }
}
