//! What names are made of: namespaces, Services and their endpoints, as the API last told of them.

use std::{collections::HashMap, fmt::Debug, hash::Hash, net::IpAddr, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::JoinSet};

use super::{NAMESPACE, SERVICE, question};

/// Of which Service a slice is.
const OWNER: &str = "kubernetes.io/service-name";

/// The watches; they end when this is dropped.
pub type Watching = JoinSet<()>;

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    namespaces: Store<Namespace>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    /// Ticks with every change of one of them.
    changes: watch::Sender<()>,
}

/// One address behind a Service that takes traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: IpAddr,
    /// Its label below the Service.
    pub host: String,
    pub ports: Vec<EndpointPort>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    pub name: String,
    pub protocol: String,
    pub number: u16,
}

impl Cluster {
    /// Also says whether DNS itself has had an endpoint.
    pub fn watch(client: &Client) -> (Self, Watching, watch::Receiver<bool>) {
        let mut watching = JoinSet::new();
        let changes = watch::Sender::new(());
        let (endpoint, has_endpoint) = watch::channel(false);
        let namespaces = follow(client, &mut watching, &changes, |_: &Namespace| ());
        let services = follow(client, &mut watching, &changes, |_: &Service| ());
        let slices = follow(
            client,
            &mut watching,
            &changes,
            move |slice: &EndpointSlice| {
                let ours = slice.namespace().as_deref() == Some(NAMESPACE)
                    && slice.labels().get(OWNER).is_some_and(|s| s == SERVICE);
                if ours && ready(slice).next().is_some() {
                    endpoint.send_if_modified(|seen| !std::mem::replace(seen, true));
                }
            },
        );
        let cluster = Self {
            namespaces,
            services,
            slices,
            changes,
        };
        (cluster, watching, has_endpoint)
    }

    /// Returns when everything that the API has now has been seen.
    pub async fn caught_up(&self, client: &Client) -> kube::Result<()> {
        let mut changes = self.changes.subscribe();
        let (namespaces, services, slices) = tokio::try_join!(
            Listed::<Namespace>::now(client),
            Listed::<Service>::now(client),
            Listed::<EndpointSlice>::now(client),
        )?;
        while !(namespaces.is_in(&self.namespaces)
            && services.is_in(&self.services)
            && slices.is_in(&self.slices))
        {
            // It lives as long as this does.
            let _ = changes.changed().await;
        }
        Ok(())
    }

    /// Returns when everything has been seen once.
    pub async fn seen(&self) {
        // The watches end only with the lab.
        let _ = tokio::join!(
            self.namespaces.wait_until_ready(),
            self.services.wait_until_ready(),
            self.slices.wait_until_ready(),
        );
    }

    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.get(&ObjectRef::new(name)).is_some()
    }

    pub fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(&ObjectRef::new(name).within(namespace))
    }

    /// The endpoints of a Service that are ready.
    pub fn endpoints(&self, namespace: &str, service: &str) -> Vec<Endpoint> {
        let mut found: Vec<_> = self
            .slices
            .state()
            .into_iter()
            .filter(|slice| {
                slice.namespace().as_deref() == Some(namespace)
                    && slice.labels().get(OWNER).is_some_and(|s| s == service)
            })
            .flat_map(|slice| endpoints_of(&slice))
            .collect();
        found.sort_by(|a, b| (a.ip, &a.host).cmp(&(b.ip, &b.host)));
        found
    }

    /// The Service with this cluster address.
    pub fn service_at(&self, ip: IpAddr) -> Option<Arc<Service>> {
        self.services
            .state()
            .into_iter()
            .find(|service| cluster_ips(service).any(|own| own == ip))
    }

    /// Host, Service and namespace of every endpoint with this address.
    pub fn endpoints_at(&self, ip: IpAddr) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        for slice in self.slices.state() {
            let (Some(service), Some(namespace)) = (slice.labels().get(OWNER), slice.namespace())
            else {
                continue;
            };
            for endpoint in endpoints_of(&slice).into_iter().filter(|e| e.ip == ip) {
                found.push((endpoint.host, service.clone(), namespace.clone()));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// A Service's own addresses; none for headless and external ones.
pub fn cluster_ips(service: &Service) -> impl Iterator<Item = IpAddr> {
    let spec = service.spec.as_ref();
    let listed = spec.and_then(|spec| spec.cluster_ips.as_ref());
    listed
        .into_iter()
        .flatten()
        .filter_map(|ip| ip.parse().ok())
}

fn ready(
    slice: &EndpointSlice,
) -> impl Iterator<Item = &k8s_openapi::api::discovery::v1::Endpoint> {
    slice.endpoints.iter().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    })
}

fn endpoints_of(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            Some(EndpointPort {
                name: port.name.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                number: u16::try_from(port.port?).ok()?,
            })
        })
        .collect();
    ready(slice)
        .flat_map(|endpoint| {
            let host = endpoint.hostname.clone().filter(|host| !host.is_empty());
            endpoint
                .addresses
                .iter()
                .filter_map(|ip| ip.parse::<IpAddr>().ok())
                .map(move |ip| (ip, host.clone().unwrap_or_else(|| question::label(ip))))
        })
        .map(|(ip, host)| Endpoint {
            ip,
            host,
            ports: ports.clone(),
        })
        .collect()
}

/// The objects of a kind at one moment, with their versions.
struct Listed<K: Resource<DynamicType = ()>> {
    version: u64,
    objects: HashMap<ObjectRef<K>, u64>,
}

impl<K> Listed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    async fn now(client: &Client) -> kube::Result<Self> {
        let list = Api::<K>::all(client.clone())
            .list_metadata(&ListParams::default())
            .await?;
        let objects = list.items.iter().map(|object| {
            let mut reference = ObjectRef::new(&object.name_any());
            reference.namespace = object.namespace();
            (reference, version(object.resource_version()))
        });
        Ok(Self {
            version: version(list.metadata.resource_version.clone()),
            objects: objects.collect(),
        })
    }

    /// Whether a store has all of them, and none that was gone by then.
    fn is_in(&self, store: &Store<K>) -> bool {
        let has = |(reference, listed): (&ObjectRef<K>, &u64)| {
            let object = store.get(reference);
            object.is_some_and(|object| version(object.resource_version()) >= *listed)
        };
        let was_there = |object: &Arc<K>| {
            self.objects.contains_key(&ObjectRef::from_obj(&**object))
                || version(object.resource_version()) > self.version
        };
        self.objects.iter().all(has) && store.state().iter().all(was_there)
    }
}

/// The lab's versions are numbers.
fn version(text: Option<String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A store that follows all objects of a kind.
fn follow<K>(
    client: &Client,
    watching: &mut Watching,
    changes: &watch::Sender<()>,
    tell: impl Fn(&K) + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    let (store, writer): (Store<K>, Writer<K>) = reflector::store();
    let events = watcher(Api::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let changes = changes.clone();
    watching.spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => tell(&object),
                Ok(Event::Init | Event::InitDone | Event::Delete(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, kind = %K::kind(&()), "watching for cluster DNS");
                }
            }
            changes.send_replace(());
        }
    });
    store
}

#[cfg(test)]
pub mod fixture {
    //! Clusters made of literals.
    #![allow(clippy::needless_pass_by_value)] // literals read best by value

    use serde_json::{Value, json};

    use super::*;

    /// From objects of the three kinds.
    pub fn cluster(objects: Vec<Value>) -> Cluster {
        let (namespaces, mut namespace_writer) = reflector::store();
        let (services, mut service_writer) = reflector::store();
        let (slices, mut slice_writer) = reflector::store();
        for object in objects {
            match object["kind"].as_str() {
                Some("Namespace") => apply(&mut namespace_writer, object),
                Some("Service") => apply(&mut service_writer, object),
                _ => apply(&mut slice_writer, object),
            }
        }
        Cluster {
            namespaces,
            services,
            slices,
            changes: watch::Sender::new(()),
        }
    }

    fn apply<K>(writer: &mut Writer<K>, object: Value)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
    {
        let object = serde_json::from_value(object).unwrap();
        writer.apply_watcher_event(&Event::Apply(object));
    }

    pub fn namespace(name: &str) -> Value {
        json!({"kind": "Namespace", "metadata": {"name": name}})
    }

    pub fn service(name: &str, spec: Value) -> Value {
        json!({"kind": "Service", "metadata": {"name": name, "namespace": "blue"}, "spec": spec})
    }

    pub fn slice(service: &str, ports: Value, endpoints: Value) -> Value {
        json!({
            "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
            "metadata": {"name": service, "namespace": "blue", "labels": {OWNER: service}},
        })
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{DeleteParams, PostParams};
    use kubeapi::ApiServer;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_the_api_has_is_seen_and_what_it_has_no_more_is_not() {
        let api = ApiServer::builder().build().unwrap();
        let client = api.client("system:test");
        let (cluster, _watching, endpoint) = Cluster::watch(&client);
        let services: Api<Service> = Api::namespaced(client.clone(), "default");
        for round in 0..20 {
            let name = format!("web-{round}");
            let object = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
            let service = serde_json::from_value(object).unwrap();
            let made = services
                .create(&PostParams::default(), &service)
                .await
                .unwrap();
            cluster.caught_up(&client).await.unwrap();
            let address = cluster_ips(&made).next().unwrap();
            assert!(cluster.service("default", &name).is_some());
            assert_eq!(cluster.service_at(address).unwrap().name_any(), name);

            services
                .delete(&name, &DeleteParams::default())
                .await
                .unwrap();
            cluster.caught_up(&client).await.unwrap();
            assert!(cluster.service("default", &name).is_none());
        }
        assert!(cluster.has_namespace("default") && !cluster.has_namespace("nowhere"));
        assert!(!*endpoint.borrow(), "DNS itself has no endpoint here");
    }
}
