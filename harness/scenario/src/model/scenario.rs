//! A scenario as a whole.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use super::reference::{NamespaceName, ObjectRef};
use super::step::Step;
use super::template::Scope;
use super::timeouts::Timeouts;
use crate::manifest::Manifests;
use crate::span::{Located, SourceFile, Span};

/// One scenario for one combination of its parameters: what the engine runs.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub source: Arc<SourceFile>,
    /// Unique among all scenarios.
    pub name: Located<String>,
    /// Which values its parameters have; empty without parameters.
    pub case: CaseId,
    /// The values of its parameters: the scope that captures are added to.
    pub parameters: Scope,
    pub tags: Vec<Located<String>>,
    pub spec: Spec,
    /// Every manifest that a step names, parsed.
    pub manifests: Arc<Manifests>,
}

impl Scenario {
    /// The fields of a captured value that the scenario uses, as `ip` in `${server.ip}`.
    pub fn fields_used(&self, name: &str) -> BTreeSet<String> {
        crate::lint::fields_used(self, name)
    }

    /// `overlay-ipam`, or `placement[same-node,layer2]` with parameters.
    pub fn full_name(&self) -> String {
        format!("{}{}", self.name, self.case)
    }
}

/// The chosen value of each parameter by its name, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CaseId(pub Vec<(String, String)>);

/// `[same-node,layer2]`; nothing without parameters.
impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let values: Vec<&str> = self.0.iter().map(|(_, value)| value.as_str()).collect();
        write!(f, "[{}]", values.join(","))
    }
}

#[derive(Debug, Clone)]
pub struct Spec {
    pub title: Located<String>,
    pub description: Option<Located<String>>,
    /// Where the scenario comes from.
    pub origin: Option<SourceNote>,
    pub requires: Requires,
    /// Created before the first step, deleted with everything in them at the end.
    pub namespaces: Vec<Namespace>,
    /// Users of guests.
    pub logins: Vec<Login>,
    pub timeouts: Timeouts,
    /// The scenario as a whole is expected to fail.
    pub known: Option<ExpectedFailure>,
    pub steps: Vec<Step>,
    /// Run when a step failed, to say more about it; they cannot make it pass.
    pub catch: Vec<Step>,
    /// Run in any case, after `catch`.
    pub finally: Vec<Step>,
}

impl Spec {
    /// Who logs in to the console of a virtual machine: the entry that names it, else the one for all, else the user
    /// of KubeVirt's demos.
    pub fn login(&self, namespace: &str, name: &str) -> Login {
        let named = |login: &&Login| {
            login
                .vms
                .iter()
                .any(|vm| vm.namespace.as_deref() == Some(namespace) && vm.name == name)
        };
        let entry = self.logins.iter().find(named);
        let entry = entry.or_else(|| self.logins.iter().find(|login| login.vms.is_empty()));
        entry.cloned().unwrap_or_default()
    }
}

/// A user of guests.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    pub user: String,
    pub password: String,
    /// The virtual machines it is for; all others when empty.
    pub vms: Vec<ObjectRef>,
}

impl Login {
    pub const DEFAULT_USER: &str = "fedora";
    pub const DEFAULT_PASSWORD: &str = "fedora";
}

impl Default for Login {
    fn default() -> Self {
        Self {
            user: Self::DEFAULT_USER.to_owned(),
            password: Self::DEFAULT_PASSWORD.to_owned(),
            vms: Vec::new(),
        }
    }
}

/// The demo or post that a scenario was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceNote {
    pub name: Located<String>,
    pub url: Option<Located<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    pub name: Located<NamespaceName>,
    pub labels: IndexMap<String, String>,
}

/// What the site must have; without it the scenario is skipped, with the reason.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requires {
    pub sdn: Option<Located<Sdn>>,
    /// Nodes that take ordinary pods.
    pub workers: Option<Located<u32>>,
    pub vms: Option<Located<bool>>,
    pub nmstate: Option<Located<bool>>,
    /// A default storage class.
    pub storage: Option<Located<bool>>,
    /// Primary user defined networks.
    pub network_segmentation: Option<Located<bool>>,
    pub multi_network_policy: Option<Located<bool>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sdn {
    OvnKubernetes,
    KubeOvn,
}

impl Sdn {
    pub const ALL: &[Sdn] = &[Self::OvnKubernetes, Self::KubeOvn];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OvnKubernetes => "ovn-kubernetes",
            Self::KubeOvn => "kube-ovn",
        }
    }
}

impl fmt::Display for Sdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `known:`: this fails today, for this reason. It is reported as such, and turns red once it passes.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedFailure {
    pub at: Span,
    pub because: Located<String>,
    pub issue: Option<Located<String>>,
}

/// The step may be tried again. A retry without a reason is not possible.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub at: Span,
    /// Attempts beyond the first.
    pub times: u32,
    pub because: Located<String>,
}
