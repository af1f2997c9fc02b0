//! Naming things: objects, groups of objects, and where a probe starts.

use std::fmt;

use super::template::{Phrase, PhraseError};
use crate::suggest;

/// A valid namespace name (an RFC 1123 label).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceName(String);

impl NamespaceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Phrase for NamespaceName {
    fn parse_phrase(text: &str) -> Result<Self, PhraseError> {
        if is_label(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PhraseError::new(
                format!("`{text}` is not a namespace name"),
                "use lower-case letters, digits and dashes, at most 63, \
                 beginning and ending with a letter or digit",
            ))
        }
    }
}

/// One object: `pod/blue/server`, `nncp/data-net` (no namespace), `deployment.apps/default/dhcp`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    /// As written, in lower case: kind, plural, short name, or `resource.group`.
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

impl ObjectRef {
    /// The kind in the singular short form this language prefers (`pods` and `po` are `pod`).
    pub fn canonical_kind(&self) -> &str {
        canonical_kind(&self.kind)
    }
}

const OBJECT_HELP: &str = "write `kind/namespace/name`, as in `pod/tenantblue/blue-server`, \
                           or `kind/name` for an object without a namespace";

impl Phrase for ObjectRef {
    fn parse_phrase(text: &str) -> Result<Self, PhraseError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, name] => (*kind, None, *name),
            [kind, namespace, name] => (*kind, Some(*namespace), *name),
            _ => {
                return Err(PhraseError::new(
                    format!("`{text}` does not name an object"),
                    OBJECT_HELP,
                ));
            }
        };
        let kind = kind.to_ascii_lowercase();
        if !is_subdomain(&kind) {
            return Err(
                PhraseError::new(format!("`{kind}` is not a kind"), OBJECT_HELP).at(0..kind.len()),
            );
        }
        if let Some(namespace) = namespace
            && !is_label(namespace)
        {
            let start = kind.len() + 1;
            return Err(PhraseError::new(
                format!("`{namespace}` is not a namespace name"),
                OBJECT_HELP,
            )
            .at(start..start + namespace.len()));
        }
        if !is_object_name(name) {
            return Err(PhraseError::new(
                format!("`{name}` is not the name of an object"),
                OBJECT_HELP,
            )
            .at(text.len() - name.len()..text.len()));
        }
        if namespace.is_none() && is_namespaced(&kind) == Some(true) {
            return Err(PhraseError::new(
                format!(
                    "a {} lives in a namespace, and `{text}` does not say which",
                    canonical_kind(&kind)
                ),
                format!("write `{}/NAMESPACE/{name}`", canonical_kind(&kind)),
            ));
        }
        if let Some(namespace) = namespace
            && is_namespaced(&kind) == Some(false)
        {
            let start = kind.len() + 1;
            return Err(PhraseError::new(
                format!("a {} has no namespace", canonical_kind(&kind)),
                format!("write `{}/{name}`", canonical_kind(&kind)),
            )
            .at(start..start + namespace.len()));
        }
        Ok(Self {
            kind,
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

/// What a condition is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    One(ObjectRef),
    /// `pods in tenantblue`, `pods labelled role=web in data-consumer, data-adapter`.
    All {
        /// The plural, in lower case.
        resource: String,
        /// A label selector in Kubernetes' own notation.
        selector: Option<String>,
        /// Empty for objects without a namespace.
        namespaces: Vec<String>,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(object) => object.fmt(f),
            Self::All {
                resource,
                selector,
                namespaces,
            } => {
                f.write_str(resource)?;
                if let Some(selector) = selector {
                    write!(f, " labelled {selector}")?;
                }
                if !namespaces.is_empty() {
                    write!(f, " in {}", namespaces.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

impl Phrase for Subject {
    fn parse_phrase(text: &str) -> Result<Self, PhraseError> {
        let text = text.trim();
        if !text.contains(' ') && text.contains('/') {
            return ObjectRef::parse_phrase(text).map(Self::One);
        }
        let (head, namespaces) = match text.split_once(" in ") {
            Some((head, list)) => (head, namespaces(list)?),
            None => (text, Vec::new()),
        };
        let (resource, selector) = match head.split_once(" labelled ") {
            Some((resource, selector)) => (resource, Some(selector.trim().to_owned())),
            None => (head, None),
        };
        let resource = resource.trim().to_ascii_lowercase();
        let help = "write one object as `pod/tenantblue/blue-server`, or several as \
                    `pods in tenantblue` or `pods labelled role=web in tenantblue, tenantyellow`";
        if !is_subdomain(&resource) || selector.as_deref() == Some("") {
            return Err(PhraseError::new(
                format!("`{text}` does not name objects"),
                help,
            ));
        }
        if namespaces.is_empty() && is_namespaced(&resource) == Some(true) {
            return Err(PhraseError::new(
                format!("`{resource}` live in namespaces, and none is named"),
                format!("write `{resource} in NAMESPACE`"),
            ));
        }
        Ok(Self::All {
            resource,
            selector,
            namespaces,
        })
    }
}

fn namespaces(list: &str) -> Result<Vec<String>, PhraseError> {
    list.split(',')
        .flat_map(|part| part.split(" and "))
        .map(|name| NamespaceName::parse_phrase(name.trim()).map(|name| name.0))
        .collect()
}

/// Where a probe starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// `pod/tenantblue/podclient`, or `pod/tenantblue/podclient container http-server`.
    Pod {
        namespace: String,
        name: String,
        /// The first container when `None`.
        container: Option<String>,
    },
    /// `vm/tenantblue/vm-client`: the guest of a virtual machine, over its serial console.
    Vm { namespace: String, name: String },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod {
                namespace,
                name,
                container,
            } => {
                write!(f, "pod/{namespace}/{name}")?;
                match container {
                    Some(container) => write!(f, " container {container}"),
                    None => Ok(()),
                }
            }
            Self::Vm { namespace, name } => write!(f, "vm/{namespace}/{name}"),
        }
    }
}

const SOURCE_HELP: &str = "write `from: pod/NAMESPACE/NAME` or `from: vm/NAMESPACE/NAME`";

impl Phrase for Source {
    fn parse_phrase(text: &str) -> Result<Self, PhraseError> {
        let (object, container) = match text.split_once(" container ") {
            Some((object, container)) => (object.trim(), Some(container.trim().to_owned())),
            None => (text.trim(), None),
        };
        let kind = object.split('/').next().unwrap_or("");
        if let Some(what) = planned_source(kind) {
            return Err(PhraseError::new(
                format!("probes from {what} are planned, not in this version"),
                SOURCE_HELP,
            )
            .planned());
        }
        let object = ObjectRef::parse_phrase(object)?;
        match (object.canonical_kind(), &object.namespace, container) {
            ("pod", Some(namespace), container) => Ok(Self::Pod {
                namespace: namespace.clone(),
                name: object.name,
                container,
            }),
            ("vm" | "vmi", Some(namespace), None) => Ok(Self::Vm {
                namespace: namespace.clone(),
                name: object.name,
            }),
            ("vm" | "vmi", _, Some(_)) => Err(PhraseError::new(
                "a virtual machine has no containers",
                "write `from: vm/NAMESPACE/NAME`",
            )),
            (kind, _, _) => Err(PhraseError::new(
                format!("a probe cannot start from a {kind}"),
                SOURCE_HELP,
            )),
        }
    }
}

/// Sources that the language has and this version cannot start probes from.
pub(crate) fn planned_source(kind: &str) -> Option<&'static str> {
    match canonical_kind(kind) {
        "outside" => Some("a host outside the cluster"),
        "machine" => Some("the machine itself"),
        "deployment" | "statefulset" => Some("a workload"),
        _ => None,
    }
}

/// Kinds that this program knows by all their names, and whether they live in a namespace.
const KINDS: &[(&str, bool, &[&str])] = &[
    ("pod", true, &["pods", "po"]),
    ("service", true, &["services", "svc"]),
    ("configmap", true, &["configmaps", "cm"]),
    ("secret", true, &["secrets"]),
    ("serviceaccount", true, &["serviceaccounts", "sa"]),
    (
        "pvc",
        true,
        &["persistentvolumeclaim", "persistentvolumeclaims"],
    ),
    ("event", true, &["events", "ev"]),
    (
        "deployment",
        true,
        &[
            "deployments",
            "deploy",
            "deployment.apps",
            "deployments.apps",
        ],
    ),
    (
        "replicaset",
        true,
        &["replicasets", "rs", "replicaset.apps", "replicasets.apps"],
    ),
    (
        "statefulset",
        true,
        &[
            "statefulsets",
            "sts",
            "statefulset.apps",
            "statefulsets.apps",
        ],
    ),
    (
        "daemonset",
        true,
        &["daemonsets", "ds", "daemonset.apps", "daemonsets.apps"],
    ),
    ("job", true, &["jobs", "job.batch", "jobs.batch"]),
    ("role", true, &["roles"]),
    ("rolebinding", true, &["rolebindings"]),
    ("networkpolicy", true, &["networkpolicies", "netpol"]),
    (
        "nad",
        true,
        &[
            "networkattachmentdefinition",
            "networkattachmentdefinitions",
            "net-attach-def",
            "nads",
        ],
    ),
    (
        "multinetworkpolicy",
        true,
        &["multinetworkpolicies", "multi-policy"],
    ),
    ("udn", true, &["userdefinednetwork", "userdefinednetworks"]),
    ("ipamclaim", true, &["ipamclaims"]),
    ("vm", true, &["virtualmachine", "virtualmachines", "vms"]),
    (
        "vmi",
        true,
        &["virtualmachineinstance", "virtualmachineinstances", "vmis"],
    ),
    (
        "vmim",
        true,
        &[
            "virtualmachineinstancemigration",
            "virtualmachineinstancemigrations",
            "vmims",
        ],
    ),
    ("namespace", false, &["namespaces", "ns"]),
    ("node", false, &["nodes", "no"]),
    ("pv", false, &["persistentvolume", "persistentvolumes"]),
    ("clusterrole", false, &["clusterroles"]),
    ("clusterrolebinding", false, &["clusterrolebindings"]),
    ("storageclass", false, &["storageclasses", "sc"]),
    (
        "crd",
        false,
        &[
            "customresourcedefinition",
            "customresourcedefinitions",
            "crds",
        ],
    ),
    (
        "nncp",
        false,
        &[
            "nodenetworkconfigurationpolicy",
            "nodenetworkconfigurationpolicies",
        ],
    ),
    (
        "cudn",
        false,
        &["clusteruserdefinednetwork", "clusteruserdefinednetworks"],
    ),
    ("vpc", false, &["vpcs"]),
    ("subnet", false, &["subnets"]),
];

/// The name this language prefers for a kind; kinds it does not know stay as they are.
pub fn canonical_kind(kind: &str) -> &str {
    KINDS
        .iter()
        .find(|(name, _, others)| *name == kind || others.contains(&kind))
        .map_or(kind, |(name, _, _)| name)
}

/// Whether objects of a kind live in a namespace; `None` for kinds this program does not know.
pub fn is_namespaced(kind: &str) -> Option<bool> {
    let canonical = canonical_kind(kind);
    KINDS
        .iter()
        .find(|(name, _, _)| *name == canonical)
        .map(|(_, namespaced, _)| *namespaced)
}

/// A kind that was perhaps meant.
pub(crate) fn similar_kind(kind: &str) -> Option<&'static str> {
    suggest::closest(kind, KINDS.iter().map(|(name, _, _)| *name))
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_subdomain(text)
}

fn is_subdomain(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 253
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || c == '-' || c == '.')
}

/// Names of objects may hold more than DNS allows (`system:node` is a cluster role).
fn is_object_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c))
}
