//! From what a plan does to the rights it takes. Pure.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use trunkline_scenario::model::{Action, Lifecycle, Scope, Source, Subject, Target};

use super::{Need, Right, Verb};
use crate::{
    objects::catalogue::Resource,
    plan::{Plan, PlannedObject, PlannedStep},
    until::makes_pods,
};

const APPLY: &[Verb] = &[Verb::Get, Verb::Create, Verb::Patch];
const REMOVE: &[Verb] = &[Verb::List, Verb::Watch, Verb::Delete];
const SEE: &[Verb] = &[Verb::List, Verb::Watch];

const KUBEVIRT: &str = "kubevirt.io";
const SUBRESOURCES: &str = "subresources.kubevirt.io";
const INSTANCES: &str = "virtualmachineinstances";

pub(super) fn of(plan: &Plan<'_>, kinds: &[Arc<Resource>], exec: &[Verb]) -> Vec<(Right, Need)> {
    let mut list = List {
        kinds,
        defined: defined(plan),
        own: plan
            .scenario
            .spec
            .namespaces
            .iter()
            .map(|namespace| namespace.name.value.as_str().to_owned())
            .collect(),
        scope: &plan.scenario.parameters,
        exec,
        rights: BTreeMap::new(),
    };
    for namespace in &plan.scenario.spec.namespaces {
        let name = namespace.name.value.as_str();
        list.core("namespaces", None, Some(name), APPLY, Need::Must);
        list.core("namespaces", None, Some(name), REMOVE, Need::Must);
    }
    for step in plan.steps.iter().chain(&plan.catch).chain(&plan.finally) {
        list.step(step);
    }
    list.rights.into_iter().collect()
}

/// A kind as far as rights are concerned.
#[derive(Clone)]
struct Served {
    group: String,
    plural: String,
    kind: String,
    namespaced: bool,
}

struct List<'a> {
    kinds: &'a [Arc<Resource>],
    /// Kinds that the scenario itself defines.
    defined: Vec<Served>,
    /// Namespaces that the scenario declares: what is in them goes with them.
    own: Vec<String>,
    scope: &'a Scope,
    exec: &'a [Verb],
    rights: BTreeMap<Right, Need>,
}

impl List<'_> {
    fn step(&mut self, planned: &PlannedStep<'_>) {
        let step = planned.step;
        match &step.action {
            Action::Apply(_) => {
                for object in &planned.objects {
                    self.apply(object);
                }
            }
            Action::Delete(delete) => {
                for object in &planned.objects {
                    if let Some(kind) = self.by_kind(object) {
                        self.add(&kind, object.namespace, object.name, REMOVE);
                    }
                }
                for target in &delete.targets {
                    if let Target::Object(object) = target
                        && let Ok(object) = object.resolve(self.scope)
                    {
                        self.named(&object, REMOVE);
                    }
                }
            }
            Action::Probe(probes) => {
                for probe in probes {
                    match probe.from.resolve(self.scope) {
                        Ok(Source::Pod {
                            namespace, name, ..
                        }) => self.probe(&namespace, &name),
                        Ok(Source::Vm { namespace, name }) => self.guest(&namespace, &name),
                        Err(_) => {}
                    }
                }
            }
            Action::Run(what, targets) => {
                for target in targets {
                    if let Ok(object) = target.resolve(self.scope) {
                        self.lifecycle(*what, &object);
                    }
                }
            }
            Action::Look => {}
        }
        for until in &step.until {
            if let Ok(until) = until.resolve(self.scope) {
                self.watch(&until.subject);
            }
        }
        for capture in &step.lets {
            if let Ok(capture) = capture.capture.resolve(self.scope) {
                // Read, and watched where there is nothing to read yet.
                self.named(capture.object(), &[Verb::Get, Verb::List, Verb::Watch]);
            }
        }
    }

    fn apply(&mut self, object: &PlannedObject<'_>) {
        let Some(kind) = self.by_kind(object) else {
            return;
        };
        let namespace = kind
            .namespaced
            .then(|| object.namespace.unwrap_or("default").to_owned());
        self.add(&kind, namespace.as_deref(), object.name, APPLY);
        let with_its_namespace = namespace
            .as_ref()
            .is_some_and(|name| self.own.contains(name));
        if !with_its_namespace {
            self.add(&kind, namespace.as_deref(), object.name, REMOVE);
        }
        if kind.kind == "CustomResourceDefinition" {
            self.add(&kind, None, object.name, SEE);
        }
        if kind.kind == "Pod"
            && kind.group.is_empty()
            && let Some(namespace) = namespace.filter(|_| with_its_namespace)
        {
            // Pods are refused until their account exists, which is a moment after the namespace does.
            let account = object
                .manifest
                .value
                .pointer("/spec/serviceAccountName")
                .and_then(Value::as_str)
                .unwrap_or("default");
            self.core(
                "serviceaccounts",
                Some(&namespace),
                Some(account),
                SEE,
                Need::Must,
            );
        }
    }

    fn probe(&mut self, namespace: &str, pod: &str) {
        let see = [Verb::Get, Verb::List, Verb::Watch];
        self.core("pods", Some(namespace), Some(pod), &see, Need::Must);
        self.sub("exec", namespace, pod, self.exec, Need::Must);
        // Only where the agent cannot be written into the container.
        let patch = [Verb::Patch];
        self.sub("ephemeralcontainers", namespace, pod, &patch, Need::Helps);
    }

    /// A console, from the moment the machine runs; its pod is what the network knows of it.
    fn guest(&mut self, namespace: &str, name: &str) {
        let see = [Verb::List, Verb::Watch];
        for verb in see {
            self.right(
                KUBEVIRT,
                INSTANCES,
                None,
                Some(namespace),
                Some(name),
                verb,
                Need::Must,
            );
        }
        self.right(
            SUBRESOURCES,
            INSTANCES,
            Some("console"),
            Some(namespace),
            Some(name),
            Verb::Get,
            Need::Must,
        );
        self.core("pods", Some(namespace), None, &see, Need::Must);
        self.core("events", Some(namespace), None, SEE, Need::Helps);
    }

    fn lifecycle(&mut self, what: Lifecycle, object: &trunkline_scenario::model::ObjectRef) {
        if object.canonical_kind() != "vm" {
            self.named(object, &[Verb::Patch, Verb::List, Verb::Watch]);
            return;
        }
        let (namespace, name) = (object.namespace.as_deref(), Some(object.name.as_str()));
        for verb in [Verb::List, Verb::Watch] {
            self.right(KUBEVIRT, INSTANCES, None, namespace, name, verb, Need::Must);
        }
        self.right(
            SUBRESOURCES,
            "virtualmachines",
            Some(what.verb()),
            namespace,
            name,
            Verb::Update,
            Need::Must,
        );
    }

    fn watch(&mut self, subject: &Subject) {
        let (word, name, namespaces) = match subject {
            Subject::One(object) => (
                object.kind.as_str(),
                Some(object.name.as_str()),
                object.namespace.as_slice(),
            ),
            Subject::All {
                resource,
                namespaces,
                ..
            } => (resource.as_str(), None, namespaces.as_slice()),
        };
        let Some(kind) = self.by_word(word) else {
            return;
        };
        if !kind.namespaced {
            self.add(&kind, None, name, SEE);
        }
        for namespace in namespaces {
            self.add(&kind, Some(namespace), name, SEE);
            if makes_pods(&kind.kind) {
                self.core("pods", Some(namespace), None, SEE, Need::Must);
            }
            // They often hold the reason why something does not come true.
            self.core("events", Some(namespace), None, SEE, Need::Helps);
        }
    }

    fn named(&mut self, object: &trunkline_scenario::model::ObjectRef, verbs: &[Verb]) {
        if let Some(kind) = self.by_word(&object.kind) {
            self.add(
                &kind,
                object.namespace.as_deref(),
                Some(&object.name),
                verbs,
            );
        }
    }

    fn add(&mut self, kind: &Served, namespace: Option<&str>, name: Option<&str>, verbs: &[Verb]) {
        let namespace = kind.namespaced.then(|| namespace.unwrap_or("default"));
        for verb in verbs {
            self.right(
                &kind.group,
                &kind.plural,
                None,
                namespace,
                name,
                *verb,
                Need::Must,
            );
        }
    }

    fn core(
        &mut self,
        plural: &str,
        namespace: Option<&str>,
        name: Option<&str>,
        verbs: &[Verb],
        need: Need,
    ) {
        for verb in verbs {
            self.right("", plural, None, namespace, name, *verb, need);
        }
    }

    fn sub(&mut self, sub: &str, namespace: &str, pod: &str, verbs: &[Verb], need: Need) {
        for verb in verbs {
            self.right(
                "",
                "pods",
                Some(sub),
                Some(namespace),
                Some(pod),
                *verb,
                need,
            );
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a right, in one place"
    )]
    fn right(
        &mut self,
        group: &str,
        resource: &str,
        subresource: Option<&str>,
        namespace: Option<&str>,
        name: Option<&str>,
        verb: Verb,
        need: Need,
    ) {
        // Authorization of a new object does not know its name; that of a subresource does.
        let nameless = verb == Verb::Create && subresource.is_none();
        let right = Right {
            namespace: namespace.map(str::to_owned),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.map(str::to_owned),
            verb,
            name: name.filter(|_| !nameless).map(str::to_owned),
        };
        let entry = self.rights.entry(right).or_insert(need);
        *entry = (*entry).max(need);
    }

    fn by_kind(&self, object: &PlannedObject<'_>) -> Option<Served> {
        let served = self.kinds.iter().find(|known| {
            known.api.api_version == object.api_version && known.api.kind == object.kind
        });
        served.map(|known| Served::from(&**known)).or_else(|| {
            let group = object
                .api_version
                .split_once('/')
                .map_or("", |(group, _)| group);
            let own = self
                .defined
                .iter()
                .find(|known| known.group == group && known.kind == object.kind);
            own.cloned()
        })
    }

    fn by_word(&self, word: &str) -> Option<Served> {
        let served = self.kinds.iter().find(|known| known.answers_to(word));
        served.map(|known| Served::from(&**known)).or_else(|| {
            let own = self
                .defined
                .iter()
                .find(|known| known.plural == word || known.kind.eq_ignore_ascii_case(word));
            own.cloned()
        })
    }
}

impl From<&Resource> for Served {
    fn from(resource: &Resource) -> Self {
        Self {
            group: resource.api.group.clone(),
            plural: resource.api.plural.clone(),
            kind: resource.api.kind.clone(),
            namespaced: resource.namespaced,
        }
    }
}

/// The kinds of the definitions among a scenario's manifests.
fn defined(plan: &Plan<'_>) -> Vec<Served> {
    let manifests = plan.scenario.manifests.iter();
    let objects = manifests.flat_map(|(_, manifest)| &manifest.objects);
    objects
        .filter(|object| object.kind() == "CustomResourceDefinition")
        .filter_map(|object| {
            let spec = &object.value["spec"];
            Some(Served {
                group: spec["group"].as_str()?.to_owned(),
                plural: spec["names"]["plural"].as_str()?.to_owned(),
                kind: spec["names"]["kind"].as_str()?.to_owned(),
                namespaced: spec["scope"].as_str() == Some("Namespaced"),
            })
        })
        .collect()
}
