//! The server: what it is built from and how it is reached.

mod aggregated;
pub(crate) mod bootstrap;
pub(crate) mod core;
mod open_api;
mod removal;
mod resource;
pub(crate) mod respond;
mod route;
mod service;
mod subresource;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;
use tokio::task::AbortHandle;

use crate::admission::hook::Admission;
use crate::aggregated::AggregatedApi;
use crate::auth::tokens::jwt::{KeyError, Signer};
use crate::controllers;
use crate::gvk::api_version;
use crate::pods::{NoPods, PodConnector};
use crate::registry::{Behaviour, Registry, Resource, Version, builtin};
use crate::transport::pki::Pki;
use crate::transport::serve;
use crate::user::User;
use crate::validation::name::NameRule;
use crate::virtual_resource::VirtualResource;
use core::{Core, Extensions, Settings};
use open_api::Documents;
pub use service::ApiService;
use service::Identity;

/// The server cannot be built or cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{resource} {name} is refused: {reason}")]
    Object {
        resource: String,
        name: String,
        reason: String,
    },
    #[error("tls cannot be set up: {0}")]
    Tls(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("listening socket cannot be used: {0}")]
    Listen(#[from] std::io::Error),
}

/// What a server is made of.
pub struct Builder {
    settings: Settings,
    crds: Vec<Value>,
    pods: Arc<dyn PodConnector>,
    virtuals: Vec<VirtualResource>,
    admissions: Vec<Arc<dyn Admission>>,
    aggregated: Vec<Arc<AggregatedApi>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// The version to report, `v1.34.4`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.settings.version);
        self
    }

    /// A CustomResourceDefinition that exists from the start.
    #[must_use]
    pub fn crd(mut self, crd: Value) -> Self {
        self.crds.push(crd);
        self
    }

    /// Who reaches into pods; [`ApiServer::connect_pods`] sets it later.
    #[must_use]
    pub fn pods(mut self, pods: Arc<dyn PodConnector>) -> Self {
        self.pods = pods;
        self
    }

    #[must_use]
    pub fn virtual_resource(mut self, resource: VirtualResource) -> Self {
        self.virtuals.push(resource);
        self
    }

    /// Who sees what clients write; several are asked in this order.
    #[must_use]
    pub fn admission(mut self, admission: Arc<dyn Admission>) -> Self {
        self.admissions.push(admission);
        self
    }

    /// A group that is answered by code.
    #[must_use]
    pub fn aggregated(mut self, api: AggregatedApi) -> Self {
        self.aggregated.push(Arc::new(api));
        self
    }

    /// Where services get their addresses from: network address and prefix length. 10.96.0.0/16 unless set.
    #[must_use]
    pub fn service_network(mut self, address: Ipv4Addr, prefix: u8) -> Self {
        self.settings.service_network = (address, prefix);
        self
    }

    /// Where pods reach the server: the endpoint of the service `default/kubernetes`, which has none otherwise.
    #[must_use]
    pub fn advertise(mut self, address: SocketAddr) -> Self {
        self.settings.advertised = Some(address);
        self
    }

    /// Whether pods get a volume with a token of their service account. Off unless set, because it takes a kubelet that
    /// asks for the tokens.
    #[must_use]
    pub fn mount_tokens(mut self, mount: bool) -> Self {
        self.settings.mounts_tokens = mount;
        self
    }

    /// Resources (group and plural) that are stored while nothing acts on them: whoever creates one is warned, in the name
    /// of `called`.
    #[must_use]
    pub fn nothing_acts_on(mut self, called: &str, resources: &[(&str, &str)]) -> Self {
        called.clone_into(&mut self.settings.called);
        self.settings.idle = resources
            .iter()
            .map(|(group, plural)| ((*group).to_owned(), (*plural).to_owned()))
            .collect();
        self
    }

    /// The server alone, as a kube-apiserver without a controller manager and without the ServiceAccount admission:
    /// nobody collects garbage, empties namespaces, or gives them service accounts.
    #[must_use]
    pub fn without_controllers(mut self) -> Self {
        self.settings.controllers = false;
        self
    }

    /// Builds the server and starts its controllers (garbage collection, namespaces, definitions), so this must be
    /// called within a tokio runtime. They end when the last handle of the server is dropped.
    pub fn build(self) -> Result<ApiServer, Error> {
        let mut resources = builtin::resources();
        resources.extend(
            self.virtuals
                .into_iter()
                .map(virtual_resource)
                .map(Arc::new),
        );
        let core = Arc::new(Core::new(
            self.settings,
            Registry::new(resources),
            self.pods,
            Signer::generate()?,
            Extensions {
                admissions: self.admissions,
                aggregated: self.aggregated,
            },
        ));
        let controllers = controllers::Controllers::new(&core);
        bootstrap::fill(&core, self.crds)?;
        let controllers = tokio::spawn(controllers.run(core.clone())).abort_handle();
        Ok(ApiServer {
            inner: Arc::new(Inner {
                core,
                documents: Documents::default(),
                controllers,
            }),
        })
    }
}

fn virtual_resource(resource: VirtualResource) -> Resource {
    Resource {
        stored_api_version: api_version(&resource.group, &resource.version),
        hashed_api_version: String::new(),
        storage: format!("{}.{}", resource.plural, resource.group).into(),
        list_kind: format!("{}List", resource.kind),
        group: resource.group,
        plural: resource.plural,
        singular: resource.singular,
        kind: resource.kind,
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: resource.namespaced,
        name_rule: NameRule::Subdomain,
        verbs: &["create"],
        versions: vec![Version {
            name: resource.version,
            schema: None,
            open_api: None,
            subresources: Vec::new(),
            columns: Vec::new(),
            deprecation: None,
            selectable: Vec::new(),
        }],
        behaviour: Behaviour::Virtual(resource.handler),
    }
}

/// What the handles of a server share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    documents: Documents,
    controllers: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.controllers.abort();
    }
}

/// A Kubernetes API server. Clones are handles of the same server.
#[derive(Debug, Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

impl ApiServer {
    pub fn builder() -> Builder {
        Builder {
            settings: Settings {
                version: "v1.34.4".to_owned(),
                service_network: (Ipv4Addr::new(10, 96, 0, 0), 16),
                controllers: true,
                advertised: None,
                mounts_tokens: false,
                idle: Vec::new(),
                called: String::new(),
            },
            crds: Vec::new(),
            pods: Arc::new(NoPods),
            virtuals: Vec::new(),
            admissions: Vec::new(),
            aggregated: Vec::new(),
        }
    }

    /// Sets who reaches into pods.
    pub fn connect_pods(&self, pods: Arc<dyn PodConnector>) {
        self.inner.core.connect_pods(pods);
    }

    /// A client of this server, without a socket, as a member of `system:masters`. Its user agent is the user's name,
    /// so that is also its field manager when it names none.
    pub fn client(&self, user: &str) -> kube::Client {
        self.client_as(User::master(user))
    }

    /// A client of this server, without a socket.
    pub fn client_as(&self, user: User) -> kube::Client {
        kube::Client::new(self.service_as(user), "default")
    }

    /// Answers requests. Whoever accepts connections authenticates them and puts the [`User`] in the request's
    /// extensions; a request without one is anonymous.
    pub fn service(&self) -> ApiService {
        ApiService {
            inner: self.inner.clone(),
            identity: Identity::Request,
        }
    }

    /// Answers requests of one user, upgrades included, without a socket.
    pub fn service_as(&self, user: User) -> ApiService {
        ApiService {
            inner: self.inner.clone(),
            identity: Identity::Fixed(user),
        }
    }

    /// Serves HTTPS (HTTP/1.1 and HTTP/2) until `shutdown` completes; then open connections are cut.
    pub async fn serve(
        &self,
        listener: std::net::TcpListener,
        pki: &Pki,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        self.publish_root_ca(pki);
        serve::serve(self.service(), listener, pki, shutdown).await
    }

    /// Puts the authority's certificate in every namespace, as `kube-root-ca.crt`.
    fn publish_root_ca(&self, pki: &Pki) {
        let core = &self.inner.core;
        if !core.settings.controllers {
            return;
        }
        core.set_root_ca(pki.ca_pem());
        crate::admission::namespace::refresh_root_ca(core);
    }
}
