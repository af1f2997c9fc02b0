//! A cached watch.

use std::fmt::Debug;
use std::hash::Hash;

use futures::stream::{BoxStream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// A store of all objects of a kind, and a stream that ticks after every change of it.
pub(super) fn informer<K>(client: &Client) -> (Store<K>, BoxStream<'static, ()>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    let (store, writer) = reflector::store();
    let stream = watcher(Api::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .map(|event| {
            if let Err(error) = event {
                tracing::warn!(%error, kind = %K::kind(&()), "watching");
            }
        })
        .boxed();
    (store, stream)
}
