//! The part of the OCI runtime specification that we use.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    oci_version: &'static str,
    pub process: ProcessSpec,
    pub root: Root,
    pub mounts: Vec<Mount>,
    pub linux: Linux,
}

impl Spec {
    pub(crate) fn new(process: ProcessSpec, root: Root, mounts: Vec<Mount>, linux: Linux) -> Self {
        Self {
            oci_version: "1.1.0",
            process,
            root,
            mounts,
            linux,
        }
    }
}

/// A process: a container's first one, or one that is executed later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessSpec {
    pub terminal: bool,
    pub user: UserIds,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub capabilities: CapabilitySets,
    pub no_new_privileges: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserIds {
    pub uid: u32,
    pub gid: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub(crate) struct CapabilitySets {
    pub bounding: Vec<String>,
    pub effective: Vec<String>,
    pub permitted: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Root {
    pub path: PathBuf,
    pub readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mount {
    pub destination: PathBuf,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub source: PathBuf,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Linux {
    pub namespaces: Vec<Namespace>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<serde_json::Value>,
}

impl Linux {
    pub(crate) fn new(namespaces: Vec<Namespace>) -> Self {
        Self {
            namespaces,
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            seccomp: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
}

impl Namespace {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, path: None }
    }

    pub(crate) fn joined(kind: &'static str, path: &Path) -> Self {
        Self {
            kind,
            path: Some(path.to_owned()),
        }
    }
}
