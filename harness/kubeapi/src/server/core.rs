//! What all requests share.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::admission::hook::Admission;
use crate::aggregated::AggregatedApi;
use crate::auth::tokens::jwt::Signer;
use crate::pods::PodConnector;
use crate::registry::{Registry, Served};
use crate::status::Status;
use crate::storage::{Entry, Key, Store};

/// What a server is told when it is built.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The version to report, `v1.34.4`.
    pub version: String,
    /// First address and prefix length of the service network.
    pub service_network: (Ipv4Addr, u8),
    /// Whether what a controller manager does is done here.
    pub controllers: bool,
    /// Where pods reach the server.
    pub advertised: Option<SocketAddr>,
    /// Whether pods get a volume with their account's token.
    pub mounts_tokens: bool,
    /// Resources that nothing acts on (group and plural), which is said when they are created.
    pub idle: Vec<(String, String)>,
    /// What the server calls itself when it says so.
    pub called: String,
}

/// What was added to a server when it was built.
pub struct Extensions {
    pub admissions: Vec<Arc<dyn Admission>>,
    pub aggregated: Vec<Arc<AggregatedApi>>,
}

/// The state of a server. Locks are held for pointer swaps and allocations only, never across I/O.
pub struct Core {
    pub store: Store,
    pub settings: Settings,
    registry: RwLock<Arc<Registry>>,
    pods: RwLock<Arc<dyn PodConnector>>,
    /// Held from choosing a service's address to storing the service.
    pub service_allocation: Mutex<()>,
    /// Published in every namespace as `kube-root-ca.crt`.
    pub root_ca: RwLock<String>,
    /// Signs the tokens of service accounts.
    pub signer: Signer,
    /// Who sees what clients write.
    pub admissions: Vec<Arc<dyn Admission>>,
    /// Groups that others answer for.
    pub aggregated: Vec<Arc<AggregatedApi>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl Core {
    pub fn new(
        settings: Settings,
        registry: Registry,
        pods: Arc<dyn PodConnector>,
        signer: Signer,
        extensions: Extensions,
    ) -> Self {
        Self {
            store: Store::default(),
            settings,
            registry: RwLock::new(Arc::new(registry)),
            pods: RwLock::new(pods),
            service_allocation: Mutex::new(()),
            root_ca: RwLock::default(),
            signer,
            admissions: extensions.admissions,
            aggregated: extensions.aggregated,
        }
    }

    pub fn registry(&self) -> Arc<Registry> {
        self.registry
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes what is served, one change at a time.
    pub fn change_registry(&self, change: impl FnOnce(&Registry) -> Registry) {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *registry = Arc::new(change(&registry));
    }

    pub fn pods(&self) -> Arc<dyn PodConnector> {
        self.pods
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn connect_pods(&self, pods: Arc<dyn PodConnector>) {
        *self.pods.write().unwrap_or_else(PoisonError::into_inner) = pods;
    }

    pub fn root_ca(&self) -> String {
        self.root_ca
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn set_root_ca(&self, pem: &str) {
        pem.clone_into(&mut self.root_ca.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The stored entry of an object, or NotFound.
    pub fn entry(
        &self,
        served: &Served,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Arc<Entry>, Status> {
        let key = Key::new(namespace.unwrap_or_default(), name);
        self.store
            .get(&served.resource.storage, &key)
            .ok_or_else(|| Status::not_found(&served.resource.group, &served.resource.plural, name))
    }
}
