//! The objects a condition is about, and those that decide their fate: the pods of a deployment.

use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt as _, future::select_all};
use kube::api::{DynamicObject, ResourceExt as _};
use serde_json::Value;
use trunkline_scenario::model::Subject;

use crate::{
    context::At,
    convert,
    error::Error,
    events::ObjectRef,
    objects::{
        catalogue::Resource,
        names::{self, GROUP},
        watch::{Objects, Selection, Watch, WatchLost},
    },
};

/// The label by which a launcher pod names its machine.
const LAUNCHER_OF: &str = "vm.kubevirt.io/name";

pub(super) struct Subjects {
    subject: Subject,
    /// One for each namespace; empty until the kind is known.
    watches: Vec<Watch>,
    /// The pods in the same namespaces, where the subject is something that makes pods.
    pods: Vec<Watch>,
    /// The instances in the same namespaces, where the subject is virtual machines: events are about them.
    instances: Vec<Watch>,
    /// What the objects looked like before the action.
    before: HashSet<(String, String)>,
}

/// One object as last seen.
pub(super) struct Seen<'a> {
    pub object: &'a DynamicObject,
    /// It is as it was before the action.
    pub unchanged: bool,
}

impl Subjects {
    pub fn new(subject: &Subject) -> Self {
        Self {
            subject: subject.clone(),
            watches: Vec::new(),
            pods: Vec::new(),
            instances: Vec::new(),
            before: HashSet::new(),
        }
    }

    /// The kind as the scenario calls it.
    pub fn word(&self) -> &str {
        match &self.subject {
            Subject::One(object) => &object.kind,
            Subject::All { resource, .. } => resource,
        }
    }

    pub fn is_started(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Starts the watches unless they run or the kind is unknown, and waits until they stand.
    pub async fn start(&mut self, at: At<'_, '_>) -> Result<(), crate::events::Failure> {
        if self.is_started() {
            return Ok(());
        }
        let Some(resource) = at.case.catalogue.by_word(self.word()).await? else {
            return Ok(());
        };
        let (namespaces, selection) = match &self.subject {
            Subject::One(object) => (
                object.namespace.as_slice().to_vec(),
                Selection::name(&object.name),
            ),
            Subject::All {
                selector,
                namespaces,
                ..
            } => (
                namespaces.clone(),
                Selection {
                    name: None,
                    labels: selector.clone(),
                },
            ),
        };
        let namespaces: Vec<Option<&str>> = if namespaces.is_empty() {
            vec![None]
        } else {
            namespaces.iter().map(|name| Some(name.as_str())).collect()
        };
        let client = &at.case.client;
        self.watches = namespaces
            .iter()
            .map(|namespace| {
                Watch::start(&resource, resource.objects(client, *namespace), &selection)
            })
            .collect();
        let all = |kind: Arc<Resource>| {
            let watch = |namespace: Option<&str>| {
                let api = kind.objects(client, namespace);
                Watch::start(&kind, api, &Selection::default())
            };
            namespaces.iter().copied().map(watch).collect()
        };
        if makes_pods(&resource.api.kind)
            && let Some(pods) = at.case.catalogue.by_kind("v1", "Pod").await?
        {
            self.pods = all(pods);
        }
        if resource.api.kind == "VirtualMachine"
            && let Some(instances) = at.case.catalogue.by_word("vmi").await?
        {
            self.instances = all(instances);
        }
        let Self {
            watches,
            pods,
            instances,
            before,
            ..
        } = self;
        for watch in watches.iter_mut().chain(pods).chain(instances) {
            let objects = watch
                .synced()
                .await
                .map_err(|lost| lost.about(&self.subject.to_string()))?;
            before.extend(objects.values().map(version));
        }
        Ok(())
    }

    /// Takes in what has arrived.
    pub fn catch_up(&mut self) -> Result<(), WatchLost> {
        for watch in self.parts() {
            watch.catch_up()?;
        }
        Ok(())
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Watch> {
        self.watches
            .iter_mut()
            .chain(&mut self.pods)
            .chain(&mut self.instances)
    }

    /// Waits for the next change of any of them.
    pub async fn changed(&mut self) -> Result<(), WatchLost> {
        let changes = self.parts().map(|watch| watch.changed().boxed());
        let (result, _, _): (Result<&Objects, WatchLost>, _, _) = select_all(changes).await;
        result.map(|_| ())
    }

    /// The objects of the subject as last seen.
    pub fn seen(&self) -> Vec<Seen<'_>> {
        self.watches
            .iter()
            .flat_map(|watch| watch.objects().values())
            .map(|object| self.look_at(object))
            .collect()
    }

    /// An object and the pods it is made of.
    pub fn family<'a>(&'a self, seen: &Seen<'a>) -> impl Iterator<Item = Seen<'a>> {
        let parent = seen.object;
        let labels = parent
            .data
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        let machine = is_machine(parent).then_some(parent.metadata.name.as_deref());
        let pods = self.pods.iter().flat_map(|watch| watch.objects().values());
        let children = pods.filter(move |pod| {
            let same_namespace = pod.metadata.namespace == parent.metadata.namespace;
            let own = match machine {
                Some(name) => pod.labels().get(LAUNCHER_OF).map(String::as_str) == name,
                None => labels.is_some_and(|labels| !labels.is_empty() && carries(pod, labels)),
            };
            same_namespace && own
        });
        std::iter::once(parent)
            .chain(children)
            .map(|object| self.look_at(object))
    }

    /// Everything there is to know about an object: itself and its pods.
    pub fn everybody<'a>(&'a self, object: &ObjectRef) -> Vec<&'a DynamicObject> {
        let seen = self
            .watches
            .iter()
            .flat_map(|watch| watch.objects().values());
        let wanted = seen
            .filter(|seen| names::reference(seen) == *object)
            .map(|object| self.look_at(object));
        wanted
            .flat_map(|seen| {
                let parent = seen.object;
                let instances = self.instances.iter();
                let instances = instances.flat_map(|watch| watch.objects().values());
                let own = instances.filter(|instance| {
                    instance.metadata.name == parent.metadata.name
                        && instance.metadata.namespace == parent.metadata.namespace
                });
                self.family(&seen)
                    .map(|member| member.object)
                    .chain(own)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// The object; of a group its first member, or the group as such while it has none.
    pub fn first_name(&self) -> ObjectRef {
        match &self.subject {
            Subject::One(object) => convert::object(object),
            Subject::All {
                resource,
                namespaces,
                ..
            } => {
                let watches = self.watches.iter();
                let seen = watches.flat_map(|watch| watch.objects().values()).next();
                seen.map_or_else(
                    || ObjectRef {
                        kind: resource.clone(),
                        namespace: namespaces.first().cloned(),
                        name: GROUP.into(),
                    },
                    names::reference,
                )
            }
        }
    }

    fn look_at<'a>(&self, object: &'a DynamicObject) -> Seen<'a> {
        Seen {
            object,
            unchanged: self.before.contains(&version(object)),
        }
    }
}

impl From<Error> for WatchLost {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

fn is_machine(object: &DynamicObject) -> bool {
    let kind = object.types.as_ref().map(|types| types.kind.as_str());
    matches!(kind, Some("VirtualMachine" | "VirtualMachineInstance"))
}

fn version(object: &DynamicObject) -> (String, String) {
    let meta = &object.metadata;
    (
        meta.uid.clone().unwrap_or_default(),
        meta.resource_version.clone().unwrap_or_default(),
    )
}

fn carries(pod: &DynamicObject, wanted: &serde_json::Map<String, Value>) -> bool {
    let labels = pod.metadata.labels.as_ref();
    wanted.iter().all(|(key, value)| {
        labels
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
            == value.as_str()
    })
}

pub(crate) fn makes_pods(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment"
            | "ReplicaSet"
            | "StatefulSet"
            | "DaemonSet"
            | "Job"
            | "VirtualMachine"
            | "VirtualMachineInstance"
    )
}
