//! From watches to worlds: one task follows all kinds and publishes a new world when something
//! changed. Changes that arrive together are published together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::config::ClusterConfig;
use crate::names::Key;
use crate::world::{World, key};

/// A world, and how many came before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    pub(crate) generation: u64,
    /// Every kind has been listed.
    pub(crate) complete: bool,
    pub(crate) world: World,
}

pub(crate) type Worlds = watch::Receiver<Arc<Published>>;

pub(crate) type Versions = watch::Receiver<Seen>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Node,
    Namespace,
    Pod,
    Nad,
    Service,
    EndpointSlice,
}

const KINDS: [Kind; 6] = [
    Kind::Node,
    Kind::Namespace,
    Kind::Pod,
    Kind::Nad,
    Kind::Service,
    Kind::EndpointSlice,
];

enum Object {
    Node(Box<core::Node>),
    Namespace(Box<core::Namespace>),
    Pod(Box<core::Pod>),
    Nad(Box<DynamicObject>),
    Service(Box<core::Service>),
    EndpointSlice(Box<discovery::EndpointSlice>),
}

struct Change {
    kind: Kind,
    event: Event<Object>,
}

/// Which versions have been observed, whether or not they changed the world.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seen {
    latest: BTreeMap<Kind, u64>,
    objects: BTreeMap<(Kind, Key), u64>,
}

/// Starts following. The task ends when nobody is left to tell.
pub(crate) fn start(client: &kube::Client, config: ClusterConfig) -> (Worlds, Versions) {
    let mut observer = Observer {
        world: World {
            config,
            ..World::default()
        },
        listed: BTreeSet::new(),
        relisting: BTreeSet::new(),
        versions: Seen::default(),
        scheduled: 0,
    };
    let first = Published {
        world: observer.world.clone(),
        ..Published::default()
    };
    let (tx, rx) = watch::channel(Arc::new(first));
    let (versions, seen_versions) = watch::channel(Seen::default());
    let mut events = streams(client);
    tokio::spawn(async move {
        let mut generation = 0;
        while let Some(seen) = events.next().await {
            let mut changed = observer.see(seen);
            while let Some(Some(seen)) = events.next().now_or_never() {
                changed |= observer.see(seen);
            }
            if !changed {
                observer.publish_versions(&versions);
                continue;
            }
            generation += 1;
            let published = Published {
                generation,
                complete: observer.listed.len() == KINDS.len(),
                world: observer.world.clone(),
            };
            if tx.send(Arc::new(published)).is_err() {
                return;
            }
            // After the world, so that whoever knows a version finds it there.
            observer.publish_versions(&versions);
        }
    });
    (rx, seen_versions)
}

fn streams(client: &kube::Client) -> SelectAll<BoxStream<'static, Change>> {
    let c = || client.clone();
    let nads = Api::all_with(c(), &crate::nad::resource());
    futures::stream::select_all([
        follow(Kind::Node, Api::all(c()), |node| {
            Object::Node(Box::new(node))
        }),
        follow(Kind::Namespace, Api::all(c()), |namespace| {
            Object::Namespace(Box::new(namespace))
        }),
        follow(Kind::Pod, Api::all(c()), |pod| Object::Pod(Box::new(pod))),
        follow(Kind::Nad, nads, |nad| Object::Nad(Box::new(nad))),
        follow(Kind::Service, Api::all(c()), |service| {
            Object::Service(Box::new(service))
        }),
        follow(Kind::EndpointSlice, Api::all(c()), |slice| {
            Object::EndpointSlice(Box::new(slice))
        }),
    ])
}

fn follow<K>(
    kind: Kind,
    api: Api<K>,
    wrap: impl Fn(K) -> Object + Send + 'static,
) -> BoxStream<'static, Change>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> =
        Box::pin(watcher(api, watcher::Config::default()).default_backoff());
    events
        .filter_map(move |event| {
            let seen = match event {
                Ok(event) => Some(Change {
                    kind,
                    event: match event {
                        Event::Apply(object) => Event::Apply(wrap(object)),
                        Event::Delete(object) => Event::Delete(wrap(object)),
                        Event::InitApply(object) => Event::InitApply(wrap(object)),
                        Event::Init => Event::Init,
                        Event::InitDone => Event::InitDone,
                    },
                }),
                Err(error) => {
                    // The watcher tries again by itself.
                    tracing::debug!(?kind, %error, "watch interrupted");
                    None
                }
            };
            std::future::ready(seen)
        })
        .boxed()
}

struct Observer {
    world: World,
    /// Kinds that were listed at least once.
    listed: BTreeSet<Kind>,
    /// What was there before a new list began and has not been seen since.
    relisting: BTreeSet<(Kind, Key)>,
    versions: Seen,
    scheduled: u64,
}

impl Observer {
    /// Whether the world changed.
    fn see(&mut self, seen: Change) -> bool {
        match seen.event {
            Event::Init => {
                let keys = self.keys(seen.kind);
                self.relisting
                    .extend(keys.into_iter().map(|key| (seen.kind, key)));
                false
            }
            Event::InitDone => {
                let (gone, kept) = std::mem::take(&mut self.relisting)
                    .into_iter()
                    .partition(|(kind, _)| *kind == seen.kind);
                self.relisting = kept;
                let gone: BTreeSet<(Kind, Key)> = gone;
                for (kind, key) in &gone {
                    self.remove(*kind, key);
                }
                self.listed.insert(seen.kind) || !gone.is_empty()
            }
            Event::Apply(object) | Event::InitApply(object) => {
                let at = (seen.kind, object.key());
                self.relisting.remove(&at);
                self.versions.saw(at, object.version());
                self.apply(object)
            }
            Event::Delete(object) => {
                self.versions
                    .saw((seen.kind, object.key()), object.version());
                self.remove(seen.kind, &object.key());
                true
            }
        }
    }

    fn keys(&self, kind: Kind) -> Vec<Key> {
        let cluster = |name: &str| Key::new("", name);
        let world = &self.world;
        match kind {
            Kind::Node => {
                let names = world.nodes.keys().chain(&world.bare_nodes);
                names.map(|name| cluster(name.as_str())).collect()
            }
            Kind::Namespace => world.namespaces.iter().map(|n| cluster(n)).collect(),
            Kind::Pod => world.pods.keys().cloned().collect(),
            Kind::Nad => world.nads.keys().cloned().collect(),
            Kind::Service => world.services.keys().cloned().collect(),
            Kind::EndpointSlice => world.endpoint_slices.keys().cloned().collect(),
        }
    }

    fn apply(&mut self, object: Object) -> bool {
        let world = &mut self.world;
        match object {
            Object::Node(node) => {
                let before = (world.nodes.clone(), world.bare_nodes.clone());
                world.observe_node(&node);
                before.0 != world.nodes || before.1 != world.bare_nodes
            }
            Object::Namespace(namespace) => world.namespaces.insert(namespace.name_any()),
            Object::Pod(pod) => {
                let key = key(pod.as_ref());
                let before = world.pods.get(&key).cloned();
                // The order is the one of being scheduled.
                let order = match &before {
                    Some(before) if before.node.is_some() => before.order,
                    _ => {
                        self.scheduled += 1;
                        self.scheduled
                    }
                };
                world.observe_pod(&pod, order);
                before.as_ref() != world.pods.get(&key)
            }
            Object::Nad(nad) => {
                let key = key(nad.as_ref());
                let before = world.nads.get(&key).cloned();
                world.observe_nad(&nad);
                before.as_ref() != world.nads.get(&key)
            }
            Object::Service(service) => {
                let key = key(service.as_ref());
                let before = world.services.get(&key).cloned();
                world.observe_service(&service);
                before.as_ref() != world.services.get(&key)
            }
            Object::EndpointSlice(slice) => {
                let key = key(slice.as_ref());
                let before = world.endpoint_slices.get(&key).cloned();
                world.observe_endpoint_slice(&slice);
                before.as_ref() != world.endpoint_slices.get(&key)
            }
        }
    }

    fn publish_versions(&self, versions: &watch::Sender<Seen>) {
        versions.send_if_modified(|published| {
            let changed = *published != self.versions;
            if changed {
                published.clone_from(&self.versions);
            }
            changed
        });
    }

    fn remove(&mut self, kind: Kind, key: &Key) {
        self.versions.objects.remove(&(kind, key.clone()));
        let world = &mut self.world;
        match kind {
            Kind::Node => {
                world.nodes.retain(|name, _| name.as_str() != key.name);
                world.bare_nodes.retain(|name| name.as_str() != key.name);
            }
            Kind::Namespace => {
                world.namespaces.remove(&key.name);
            }
            Kind::Pod => {
                world.pods.remove(key);
            }
            Kind::Nad => {
                world.nads.remove(key);
            }
            Kind::Service => {
                world.services.remove(key);
            }
            Kind::EndpointSlice => {
                world.endpoint_slices.remove(key);
            }
        }
    }
}

impl Object {
    fn key(&self) -> Key {
        match self {
            Object::Node(node) => key(node.as_ref()),
            Object::Namespace(namespace) => key(namespace.as_ref()),
            Object::Pod(pod) => key(pod.as_ref()),
            Object::Nad(nad) => key(nad.as_ref()),
            Object::Service(service) => key(service.as_ref()),
            Object::EndpointSlice(slice) => key(slice.as_ref()),
        }
    }

    fn version(&self) -> u64 {
        match self {
            Object::Node(node) => version(node.as_ref()),
            Object::Namespace(namespace) => version(namespace.as_ref()),
            Object::Pod(pod) => version(pod.as_ref()),
            Object::Nad(nad) => version(nad.as_ref()),
            Object::Service(service) => version(service.as_ref()),
            Object::EndpointSlice(slice) => version(slice.as_ref()),
        }
    }
}

/// Versions are numbers that rise, in Kubernetes 1.34 even by its word.
fn version<K: Resource>(object: &K) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version.and_then(|v| v.parse().ok()).unwrap_or(0)
}

impl Seen {
    fn saw(&mut self, at: (Kind, Key), version: u64) {
        let latest = self.latest.entry(at.0).or_default();
        *latest = version.max(*latest);
        self.objects.insert(at, version);
    }

    /// Events of a kind come in order, so the newest one stands for all before it. What is not
    /// listed is gone, unless it is newer than the list.
    fn covers(&self, kind: Kind, list: &Listed) -> bool {
        let latest = self.latest.get(&kind).copied().unwrap_or(0);
        latest >= list.newest
            && self.objects.iter().all(|((other, key), version)| {
                *other != kind || *version > list.version || list.keys.contains(key)
            })
    }
}

/// What exists of a kind.
struct Listed {
    version: u64,
    newest: u64,
    keys: BTreeSet<Key>,
}

/// Waits until everything that exists now has been observed, and what is gone is known to be.
pub(crate) async fn caught_up(client: &kube::Client, versions: &mut Versions) -> kube::Result<()> {
    let c = || client.clone();
    let lists = futures::try_join!(
        list::<core::Node>(Api::all(c())),
        list::<core::Namespace>(Api::all(c())),
        list::<core::Pod>(Api::all(c())),
        list::<DynamicObject>(Api::all_with(c(), &crate::nad::resource())),
        list::<core::Service>(Api::all(c())),
        list::<discovery::EndpointSlice>(Api::all(c())),
    )?;
    let lists = [
        (Kind::Node, lists.0),
        (Kind::Namespace, lists.1),
        (Kind::Pod, lists.2),
        (Kind::Nad, lists.3),
        (Kind::Service, lists.4),
        (Kind::EndpointSlice, lists.5),
    ];
    let covered = |seen: &Seen| lists.iter().all(|(kind, list)| seen.covers(*kind, list));
    // Fails only when the watches have ended, and then nothing will ever be observed.
    let _ = versions.wait_for(covered).await;
    Ok(())
}

async fn list<K>(api: Api<K>) -> kube::Result<Listed>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let list = api.list_metadata(&ListParams::default()).await?;
    let collection = list.metadata.resource_version.as_deref();
    Ok(Listed {
        version: collection.and_then(|v| v.parse().ok()).unwrap_or(0),
        newest: list.items.iter().map(version).max().unwrap_or(0),
        keys: list.items.iter().map(key).collect(),
    })
}
