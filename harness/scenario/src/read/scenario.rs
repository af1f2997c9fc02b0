//! The scenario as a whole.

use std::sync::Arc;

use indexmap::IndexMap;

use super::value::one_or_many;
use super::{Fields, Reader};
use crate::diagnostic::{Code, Diagnostic};
use crate::grammar::{
    LOGIN, METADATA, NAMESPACE, ORIGIN, REQUIRES, SCENARIO, SPEC, timeout_record,
};
use crate::manifest::Manifests;
use crate::model::{
    CaseId, Login, Namespace, NamespaceName, ObjectRef, Phrase, Requires, Scenario, Scope, Sdn,
    SourceNote, Spec, TimeoutKind, Timeouts,
};
use crate::node::{Kind, Node};
use crate::span::Located;

/// The scenario for one case; its manifests are not read yet. `None` when there were errors.
pub(crate) fn scenario(node: &Node, case: &CaseId) -> (Option<Scenario>, Vec<Diagnostic>) {
    let mut reader = Reader {
        case,
        diagnostics: Vec::new(),
    };
    let scenario = reader.scenario(node);
    let diagnostics = reader.diagnostics;
    let sound = !diagnostics.iter().any(Diagnostic::is_error);
    (scenario.filter(|_| sound), diagnostics)
}

impl Reader<'_> {
    fn scenario(&mut self, node: &Node) -> Option<Scenario> {
        if !self.right_version(node) {
            return None;
        }
        let fields = self.open(node, &SCENARIO)?;
        let name = fields
            .get("metadata")
            .and_then(|node| self.open(node, &METADATA))
            .and_then(|metadata| metadata.get("name"))
            .and_then(|node| self.label(node));
        let (spec, tags) = self.spec(fields.get("spec")?)?;
        Some(Scenario {
            source: Arc::clone(node.at.source()),
            name: name?,
            case: self.case.clone(),
            parameters: Scope::default(),
            tags,
            spec,
            manifests: Arc::new(Manifests::default()),
        })
    }

    fn right_version(&mut self, node: &Node) -> bool {
        const HELP: &str = "begin with `apiVersion: trunkline.dev/v1alpha1` and `kind: Scenario`";
        if !matches!(node.kind, Kind::Map(_)) {
            let message = format!("this is {}, not a scenario", node.describe());
            self.report(Diagnostic::error(Code::NotAScenario, &node.at, message).help(HELP));
            return false;
        }
        let mut right = true;
        for (key, wanted) in [
            ("apiVersion", "trunkline.dev/v1alpha1"),
            ("kind", "Scenario"),
        ] {
            if let Some(value) = node.get(key)
                && !matches!(&value.kind, Kind::Text(text) if text == wanted)
            {
                right = false;
                self.report(
                    Diagnostic::error(
                        Code::NotAScenario,
                        &value.at,
                        format!(
                            "the {key} of a scenario is `{wanted}`, not {}",
                            value.describe()
                        ),
                    )
                    .help(HELP),
                );
            }
        }
        right
    }

    fn spec(&mut self, node: &Node) -> Option<(Spec, Vec<Located<String>>)> {
        let fields = self.open(node, &SPEC)?;
        let title = fields.get("title").and_then(|node| self.text(node));
        let tags = fields
            .get("tags")
            .map(|node| self.tags(node))
            .unwrap_or_default();
        let spec = Spec {
            description: fields.get("description").and_then(|node| self.text(node)),
            origin: fields.get("source").and_then(|node| self.origin(node)),
            requires: fields
                .get("requires")
                .and_then(|node| self.requires(node))
                .unwrap_or_default(),
            namespaces: self.namespaces(&fields),
            logins: self.logins(&fields),
            timeouts: fields
                .get("timeouts")
                .and_then(|node| self.timeouts(node))
                .unwrap_or_default(),
            known: self.known(&fields),
            steps: self.filled_steps(&fields),
            catch: fields
                .get("catch")
                .map(|node| self.steps(node))
                .unwrap_or_default(),
            finally: fields
                .get("finally")
                .map(|node| self.steps(node))
                .unwrap_or_default(),
            title: title?,
        };
        Some((spec, tags))
    }

    fn filled_steps(&mut self, fields: &Fields<'_>) -> Vec<crate::model::Step> {
        let Some(node) = fields.get("steps") else {
            return Vec::new();
        };
        if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
            self.report(
                Diagnostic::error(
                    Code::BadValue,
                    &node.at,
                    "a scenario without steps shows nothing",
                )
                .help("add at least one step"),
            );
        }
        self.steps(node)
    }

    fn label(&mut self, node: &Node) -> Option<Located<String>> {
        let text = self.text(node)?;
        if NamespaceName::parse_phrase(&text).is_ok() {
            return Some(text);
        }
        self.report(
            Diagnostic::error(
                Code::BadValue,
                &text.at,
                format!("`{}` is not a name", text.value),
            )
            .help("use lower-case letters, digits and dashes, as in `overlay-ipam`"),
        );
        None
    }

    fn tags(&mut self, node: &Node) -> Vec<Located<String>> {
        one_or_many(node)
            .into_iter()
            .filter_map(|tag| self.label(tag))
            .collect()
    }

    fn origin(&mut self, node: &Node) -> Option<SourceNote> {
        if !matches!(node.kind, Kind::Map(_)) {
            return Some(SourceNote {
                name: self.text(node)?,
                url: None,
            });
        }
        let fields = self.open(node, &ORIGIN)?;
        Some(SourceNote {
            name: self.text(fields.get("name")?)?,
            url: fields.get("url").and_then(|node| self.text(node)),
        })
    }

    fn requires(&mut self, node: &Node) -> Option<Requires> {
        let fields = self.open(node, &REQUIRES)?;
        let mut flag = |key: &str| fields.get(key).and_then(|node| self.boolean(node));
        let mut requires = Requires {
            vms: flag("vms"),
            nmstate: flag("nmstate"),
            storage: flag("storage"),
            network_segmentation: flag("networkSegmentation"),
            multi_network_policy: flag("multiNetworkPolicy"),
            sdn: None,
            workers: None,
        };
        if let Some(node) = fields.get("sdn") {
            requires.sdn = self.word(node, Sdn::ALL.iter().map(|sdn| (sdn.as_str(), *sdn)));
        }
        if let Some(node) = fields.get("workers") {
            let workers = self.integer(node, 1, 100)?;
            requires.workers = Some(workers.map(|count| u32::try_from(count).unwrap_or(u32::MAX)));
        }
        Some(requires)
    }

    fn namespaces(&mut self, fields: &Fields<'_>) -> Vec<Namespace> {
        let Some(items) = fields
            .get("namespaces")
            .and_then(|node| self.list(node, "namespaces"))
        else {
            return Vec::new();
        };
        let mut namespaces: Vec<Namespace> = Vec::new();
        for item in items {
            let Some(namespace) = self.namespace(item) else {
                continue;
            };
            if let Some(first) = namespaces.iter().find(|one| one.name == namespace.name) {
                self.report(
                    Diagnostic::error(
                        Code::DuplicateName,
                        &namespace.name.at,
                        format!("the namespace `{}` is here twice", namespace.name),
                    )
                    .and(&first.name.at, "the first time")
                    .help("keep one of them"),
                );
                continue;
            }
            namespaces.push(namespace);
        }
        namespaces
    }

    fn logins(&mut self, fields: &Fields<'_>) -> Vec<Login> {
        let Some(node) = fields.get("login") else {
            return Vec::new();
        };
        let mut logins: Vec<Login> = Vec::new();
        for item in one_or_many(node) {
            let Some(login) = self.login(item) else {
                continue;
            };
            let twice = logins.iter().any(|other| {
                (other.vms.is_empty() && login.vms.is_empty())
                    || login.vms.iter().any(|vm| other.vms.contains(vm))
            });
            if twice {
                self.report(
                    Diagnostic::error(
                        Code::Conflict,
                        &item.at,
                        "this login is for virtual machines that have one already",
                    )
                    .help(
                        "name the virtual machines of each with `vms`; one may be for all others",
                    ),
                );
            }
            logins.push(login);
        }
        logins
    }

    fn login(&mut self, node: &Node) -> Option<Login> {
        let fields = self.open(node, &LOGIN)?;
        let user = self.text(fields.get("user")?)?;
        let password = self.text(fields.get("password")?)?;
        let control = |text: &str| text.chars().any(char::is_control);
        if user.is_empty() || control(&user) || control(&password) {
            let what = "a login is typed: a user that is not empty, and nothing that has no key";
            self.report(
                Diagnostic::error(Code::BadValue, &node.at, what)
                    .help("write `{user: fedora, password: fedora}`"),
            );
            return None;
        }
        let mut vms = Vec::new();
        for node in fields.get("vms").map(one_or_many).unwrap_or_default() {
            let text = self.text(node)?;
            match ObjectRef::parse_phrase(&text) {
                Ok(object) if matches!(object.canonical_kind(), "vm" | "vmi") => vms.push(object),
                _ => {
                    self.report(
                        Diagnostic::error(
                            Code::BadValue,
                            &text.at,
                            format!("`{}` does not name a virtual machine", text.value),
                        )
                        .help("write `vm/NAMESPACE/NAME`"),
                    );
                    return None;
                }
            }
        }
        Some(Login {
            user: user.value,
            password: password.value,
            vms,
        })
    }

    fn namespace(&mut self, node: &Node) -> Option<Namespace> {
        if !matches!(node.kind, Kind::Map(_)) {
            return Some(Namespace {
                name: self.namespace_name(node)?,
                labels: IndexMap::new(),
            });
        }
        let fields = self.open(node, &NAMESPACE)?;
        let name = self.namespace_name(fields.get("name")?)?;
        let mut labels = IndexMap::new();
        if let Some(node) = fields.get("labels") {
            for (key, value) in self.table(node, "labels")? {
                labels.insert(key.value.clone(), self.text(value)?.value);
            }
        }
        Some(Namespace { name, labels })
    }

    fn namespace_name(&mut self, node: &Node) -> Option<Located<NamespaceName>> {
        let text = self.text(node)?;
        match NamespaceName::parse_phrase(&text) {
            Ok(name) => Some(Located::new(name, text.at)),
            Err(error) => {
                self.report(
                    Diagnostic::error(Code::BadValue, &text.at, error.message).help(error.help),
                );
                None
            }
        }
    }

    fn timeouts(&mut self, node: &Node) -> Option<Timeouts> {
        let fields = self.open(node, timeout_record())?;
        let mut timeouts = Timeouts::default();
        for kind in TimeoutKind::ALL {
            if let Some(duration) = self.optional_duration(&fields, kind.key()) {
                timeouts.own.insert(*kind, duration);
            }
        }
        Some(timeouts)
    }
}
