//! Objects: what steps refer to must be there at that point.

use super::attachments;
use super::machines;
use super::world::{Key, Presence, World, is_platform};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Action, Apply, Capture, Condition, Delete, ObjectRef, Scenario, Source, Step, Subject, Target,
    Until, UntilSpec, canonical_kind, is_namespaced,
};
use crate::read::with_article;
use crate::span::Span;
use crate::suggest;

/// Where objects go whose manifest and step name no namespace.
const DEFAULT_NAMESPACE: &str = "default";

/// Kinds of which every object of a scenario is created by the scenario.
const OWN_KINDS: &[&str] = &[
    "pod",
    "vm",
    "vmi",
    "nad",
    "deployment",
    "statefulset",
    "daemonset",
    "job",
    "service",
    "secret",
    "pvc",
    "nncp",
    "udn",
    "cudn",
    "multinetworkpolicy",
    "networkpolicy",
    "vpc",
    "subnet",
    "ipamclaim",
];

pub(crate) fn check(scenario: &Scenario) -> Vec<Diagnostic> {
    let mut checker = Checker {
        scenario,
        world: World::new(scenario),
        found: Vec::new(),
    };
    let spec = &scenario.spec;
    for step in &spec.steps {
        checker.step(step);
    }
    // they may run after any step: what is there is not known, what never was is
    for step in spec.catch.iter().chain(&spec.finally) {
        for (_, presence) in checker.world.objects.values_mut() {
            *presence = Presence::Here;
        }
        checker.step(step);
    }
    checker.found
}

struct Checker<'a> {
    scenario: &'a Scenario,
    world: World<'a>,
    found: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    fn step(&mut self, step: &'a Step) {
        match &step.action {
            Action::Apply(apply) => self.apply(apply),
            Action::Delete(delete) => self.delete(delete),
            Action::Run(_, targets) => {
                for target in targets {
                    if let Some(reference) = target.known() {
                        self.reference(reference, target.at());
                    }
                }
            }
            Action::Probe(probes) => {
                for probe in probes {
                    if let Some(source) = probe.from.known() {
                        self.source(source, probe.from.at());
                    }
                }
            }
            Action::Look => {}
        }
        for until in &step.until {
            match until {
                UntilSpec::Sentence(sentence) => {
                    if let Some(until) = sentence.known() {
                        self.until(until, sentence.at());
                    }
                }
                UntilSpec::Fields {
                    object, condition, ..
                } => {
                    if let Some(subject) = object.known() {
                        self.subject(subject, condition, object.at());
                    }
                }
            }
        }
        for one in &step.lets {
            match &one.capture {
                crate::model::CaptureSpec::Sentence(sentence) => {
                    if let Some(capture) = sentence.known() {
                        self.reference(capture.object(), sentence.at());
                        self.attachment(capture, sentence.at());
                    }
                }
                crate::model::CaptureSpec::Fields { object, .. } => {
                    if let Some(reference) = object.known() {
                        self.reference(reference, object.at());
                    }
                }
            }
        }
    }

    fn apply(&mut self, apply: &'a Apply) {
        if apply.rejected.is_some() {
            // what the API refuses is not there afterwards, and may be wrong in any way
            return;
        }
        let namespace = apply
            .namespace
            .as_ref()
            .map_or(DEFAULT_NAMESPACE, |namespace| namespace.value.as_str());
        let mut created = Vec::new();
        for path in &apply.files {
            let Some(manifest) = self.scenario.manifests.get(path) else {
                continue;
            };
            for object in &manifest.objects {
                created.push((self.world.create(object, namespace), object, path));
            }
        }
        for (key, object, path) in created {
            if let Some(namespace) = &key.namespace
                && !self.world.has_namespace(namespace)
            {
                let at = object.locate("metadata.namespace");
                let error = self.unknown_namespace(namespace, &at);
                self.found.push(error.and(&path.at, "applied here"));
            }
            self.found
                .extend(attachments::check(&self.world, &key, object));
            self.found
                .extend(machines::check(&self.world, &key, object));
        }
    }

    fn delete(&mut self, delete: &'a Delete) {
        let namespace = delete
            .namespace
            .as_ref()
            .map_or(DEFAULT_NAMESPACE, |namespace| namespace.value.as_str());
        for target in &delete.targets {
            match target {
                Target::Object(object) => {
                    if let Some(reference) = object.known() {
                        self.reference(reference, object.at());
                        self.world.delete(&Key::from(reference), object.at());
                    }
                }
                Target::File(path) => {
                    let Some(manifest) = self.scenario.manifests.get(path) else {
                        continue;
                    };
                    for object in &manifest.objects {
                        let key = super::world::key_of(object, namespace);
                        self.world.delete(&key, &path.at);
                    }
                }
            }
        }
    }

    fn until(&mut self, until: &Until, at: &Span) {
        self.subject(&until.subject, &until.condition, at);
    }

    fn subject(&mut self, subject: &Subject, condition: &Condition, at: &Span) {
        match subject {
            // what is gone need not be there
            Subject::One(_) if matches!(condition, Condition::Gone) => {}
            Subject::One(object) => self.reference(object, at),
            Subject::All { namespaces, .. } => {
                for namespace in namespaces {
                    self.namespace(namespace, at);
                }
            }
        }
    }

    fn namespace(&mut self, namespace: &str, at: &Span) -> bool {
        let known = self.world.has_namespace(namespace);
        if !known {
            let error = self.unknown_namespace(namespace, at);
            self.found.push(error);
        }
        known
    }

    fn unknown_namespace(&self, namespace: &str, at: &Span) -> Diagnostic {
        let error = Diagnostic::error(
            Code::UnknownNamespace,
            at,
            format!("the namespace `{namespace}` is neither declared nor created"),
        );
        let known = self
            .world
            .of_kind("namespace", None)
            .map(|(key, _)| key.name.as_str());
        match suggest::closest(namespace, known) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("add it to `namespaces: [{namespace}]`")),
        }
    }

    fn reference(&mut self, reference: &ObjectRef, at: &Span) {
        let kind = reference.canonical_kind();
        if is_namespaced(kind).is_none() {
            if let Some(near) = crate::model::similar_kind(kind) {
                self.found.push(
                    Diagnostic::warning(
                        Code::UnknownObject,
                        at,
                        format!("`{kind}` may not be a kind"),
                    )
                    .help(format!("did you mean `{near}`?")),
                );
            }
            return;
        }
        if let Some(namespace) = &reference.namespace {
            if !self.namespace(namespace, at) {
                return;
            }
            if is_platform(namespace) && self.world.presence(&Key::from(reference)).is_none() {
                // the platform's own objects; ours would be known
                return;
            }
        }
        match self.world.presence(&Key::from(reference)) {
            Some(Presence::Here) => {}
            Some(Presence::Deleted(by)) => {
                let error = Diagnostic::error(
                    Code::UnknownObject,
                    at,
                    format!("`{reference}` is deleted by then"),
                )
                .and(by, "deleted here")
                .help("refer to it earlier, or apply it again");
                self.found.push(error);
            }
            None if !OWN_KINDS.contains(&kind) || self.made_by_controller(reference) => {}
            None => {
                let error = self.never_created(reference, at);
                self.found.push(error);
            }
        }
    }

    /// Pods of workloads, instances of virtual machines, attachments of user defined networks.
    fn made_by_controller(&self, reference: &ObjectRef) -> bool {
        let namespace = reference.namespace.as_deref();
        let any = |kinds: &[&str], namespace| {
            kinds
                .iter()
                .any(|kind| self.world.of_kind(kind, namespace).next().is_some())
        };
        match reference.canonical_kind() {
            "pod" => {
                let workloads = [
                    "deployment",
                    "statefulset",
                    "daemonset",
                    "job",
                    "replicaset",
                    "vm",
                    "vmi",
                ];
                workloads.iter().any(|kind| {
                    self.world.of_kind(kind, namespace).any(|(key, _)| {
                        let own = reference
                            .name
                            .strip_prefix("virt-launcher-")
                            .unwrap_or(&reference.name);
                        own.starts_with(&format!("{}-", key.name))
                    })
                })
            }
            "vmi" => self
                .world
                .of_kind("vm", namespace)
                .any(|(key, _)| key.name == reference.name),
            "nad" => any(&["udn"], namespace) || any(&["cudn"], None),
            "ipamclaim" => any(&["vm", "vmi"], namespace),
            "pvc" => any(&["statefulset", "vm"], namespace),
            _ => false,
        }
    }

    fn never_created(&self, reference: &ObjectRef, at: &Span) -> Diagnostic {
        let kind = reference.canonical_kind();
        let error = Diagnostic::error(
            Code::UnknownObject,
            at,
            format!(
                "no step before this one creates {} `{reference}`",
                with_article(kind)
            ),
        );
        let there: Vec<String> = self
            .world
            .of_kind(kind, None)
            .map(|(key, _)| show(key))
            .collect();
        let wanted = show(&Key::from(reference));
        match suggest::closest(&wanted, there.iter().map(String::as_str)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None if there.is_empty() => error.help("apply a manifest that holds it"),
            None => error.help(format!(
                "there are {}",
                suggest::listed(there.iter().take(6).map(String::as_str))
            )),
        }
    }

    fn source(&mut self, source: &Source, at: &Span) {
        let (namespace, name, container) = match source {
            Source::Pod {
                namespace,
                name,
                container,
            } => (namespace, name, container),
            Source::Vm { namespace, name } => {
                self.machine(namespace, name, at);
                return;
            }
        };
        let reference = ObjectRef {
            kind: "pod".to_owned(),
            namespace: Some(namespace.clone()),
            name: name.clone(),
        };
        self.reference(&reference, at);
        let Some(container) = container else { return };
        let Some(pod) = self.world.object(&Key::from(&reference)) else {
            return;
        };
        let containers: Vec<&str> = pod.value["spec"]["containers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["name"].as_str())
            .collect();
        if !containers.contains(&container.as_str()) {
            self.found.push(
                Diagnostic::error(
                    Code::UnknownObject,
                    at,
                    format!("`{reference}` has no container `{container}`"),
                )
                .and(&pod.locate("spec.containers"), "its containers")
                .help(format!("it has {}", suggest::listed(containers))),
            );
        }
    }

    /// A virtual machine, or an instance without one.
    fn machine(&mut self, namespace: &str, name: &str, at: &Span) {
        let named = |kind: &str| ObjectRef {
            kind: kind.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        };
        let instance = named("vmi");
        let alone = self.world.presence(&Key::from(&instance)).is_some();
        self.reference(&if alone { instance } else { named("vm") }, at);
    }

    /// A pod is asked for an attachment that its manifest does not have.
    fn attachment(&mut self, capture: &Capture, at: &Span) {
        let Capture::Network {
            object: reference,
            network,
            ..
        } = capture
        else {
            return;
        };
        let Some(pod) = self.world.object(&Key::from(reference)) else {
            return;
        };
        if canonical_kind(&reference.kind) != "pod" || network == "default" {
            return;
        }
        let namespace = reference.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let wanted = attachments::qualified(network, namespace);
        let attached = attachments::networks(pod, namespace);
        if attached.iter().any(|one| one.name == wanted) {
            return;
        }
        let error = Diagnostic::error(
            Code::UnknownObject,
            at,
            format!("`{reference}` is not attached to `{network}`"),
        );
        let names: Vec<&str> = attached.iter().map(|one| one.name.as_str()).collect();
        self.found
            .push(match suggest::closest(&wanted, names.iter().copied()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None if names.is_empty() => error.help(
                    "its manifest has no annotation `k8s.v1.cni.cncf.io/networks`; \
                 the pod network is called `default`",
                ),
                None => error.help(format!("it is attached to {}", suggest::listed(names))),
            });
    }
}

fn show(key: &Key) -> String {
    match &key.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", key.kind, key.name),
        None => format!("{}/{}", key.kind, key.name),
    }
}
