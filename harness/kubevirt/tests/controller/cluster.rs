//! An API server with KubeVirt's kinds and admission, the controllers, and stand-ins for the rest.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use kubeapi::ApiServer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use trunkline_kubevirt::admission::Late;
use trunkline_kubevirt::controller::{self, ControllerConfig, Running};
use trunkline_kubevirt::types::{VirtualMachine, VirtualMachineInstance};

use crate::flat::{self, Fields};
use crate::record::{self, Sequences};
use crate::site::{self, Behaviour, Behaviours, NODE};

/// Multus's kind, as far as anybody asks for it here.
fn network_attachments() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
        "spec": {
            "group": "k8s.cni.cncf.io", "scope": "Namespaced",
            "names": {
                "plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition",
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// Nothing here takes longer, however loaded the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub client: Client,
    /// As virt-handler, which alone may write the status of machines.
    pub handler: Client,
    /// As virt-controller.
    pub controller: Client,
    pub behaviour: Behaviours,
    log: Log,
    _running: Running,
    _tasks: JoinSet<()>,
    _server: ApiServer,
}

/// Everything that was seen, in order.
#[derive(Clone)]
struct Log {
    entries: Arc<Mutex<Vec<Entry>>>,
    length: Arc<watch::Sender<usize>>,
}

enum Entry {
    Field(String, String, Option<Value>),
    Event(String, String),
}

impl Log {
    fn push(&self, new: impl IntoIterator<Item = Entry>) {
        let mut entries = self.entries.lock().unwrap();
        entries.extend(new);
        self.length.send_replace(entries.len());
    }
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(Behaviour::default()).await
    }

    pub async fn with(behaviour: Behaviour) -> Self {
        let late = Late::default();
        let mut builder = ApiServer::builder().admission(late.admission());
        for definition in trunkline_kubevirt::crds() {
            builder = builder.crd(definition);
        }
        let server = builder.crd(network_attachments()).build().unwrap();
        late.connect(server.client("system:serviceaccount:kubevirt:kubevirt-apiserver"));
        let client = server.client("system:test");
        let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}})).unwrap();
        let nodes: Api<Node> = Api::all(client.clone());
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let config = ControllerConfig {
            launcher_image: "kvlab/virt-launcher:v1.8.4".to_owned(),
            ..ControllerConfig::default()
        };
        let controller = server.client("system:serviceaccount:kubevirt:kubevirt-controller");
        let behaviour = Arc::new(Mutex::new(behaviour));
        let log = Log {
            entries: Arc::default(),
            length: Arc::new(watch::Sender::new(0)),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(follow::<VirtualMachine>(client.clone(), "vm", log.clone()));
        tasks.spawn(follow::<VirtualMachineInstance>(
            client.clone(),
            "vmi",
            log.clone(),
        ));
        tasks.spawn(follow_events(client.clone(), log.clone()));
        let handler = server.client("system:serviceaccount:kubevirt:kubevirt-handler");
        tasks.spawn(site::run(handler.clone(), Arc::clone(&behaviour)));
        Self {
            _running: controller::start(controller.clone(), config),
            controller,
            client,
            handler,
            behaviour,
            log,
            _tasks: tasks,
            _server: server,
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// A network that machines can be attached to.
    pub async fn network(&self, namespace: &str, name: &str) {
        let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
        let kind = ApiResource::from_gvk_with_plural(&kind, "network-attachment-definitions");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let object = DynamicObject::new(name, &kind);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let params = PatchParams::default();
        self.api::<K>()
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .unwrap()
    }

    pub async fn patch_status<K>(&self, name: &str, status: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let params = PatchParams::default();
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>()
            .patch_status(name, &params, &patch)
            .await
            .unwrap()
    }

    /// Waits until an object, or its absence, is as wanted.
    pub async fn until<K>(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize
            + Send
            + 'static,
    {
        let condition = |object: Option<&K>| holds(&json!(object));
        let wait = await_condition(self.api::<K>(), name, condition);
        if let Ok(found) = tokio::time::timeout(PATIENCE, wait).await {
            return json!(found.unwrap());
        }
        let found = json!(self.api::<K>().get_opt(name).await.unwrap());
        panic!(
            "{name} never was {what}: {found:#}\n{}",
            self.events().await
        );
    }

    pub async fn printable(&self, name: &str, word: &str) -> Value {
        self.until::<VirtualMachine>(name, word, |vm| vm["status"]["printableStatus"] == word)
            .await
    }

    pub async fn phase(&self, name: &str, phase: &str) -> Value {
        self.until::<VirtualMachineInstance>(name, phase, |vmi| vmi["status"]["phase"] == phase)
            .await
    }

    pub async fn events(&self) -> String {
        let api: Api<Event> = Api::all(self.client.clone());
        let events = api.list(&ListParams::default()).await.unwrap();
        let lines = events.iter().map(|e| {
            let (reason, message) = (e.reason.as_deref(), e.message.as_deref());
            format!(
                "{} {}: {}\n",
                e.involved_object.name.as_deref().unwrap_or_default(),
                reason.unwrap_or_default(),
                message.unwrap_or_default()
            )
        });
        lines.collect()
    }

    /// Waits for an event that contains `text`.
    pub async fn event(&self, text: &str) {
        let mut length = self.log.length.subscribe();
        let found = async {
            while !self.events().await.contains(text) {
                length.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        assert!(
            found.is_ok(),
            "no event {text:?} in\n{}",
            self.events().await
        );
    }

    /// The place in the log where what comes now will be.
    pub fn mark(&self) -> usize {
        self.log.entries.lock().unwrap().len()
    }

    fn since(&self, mark: usize) -> Sequences {
        let mut sequences = Sequences::new();
        for entry in &self.log.entries.lock().unwrap()[mark..] {
            match entry {
                Entry::Field(object, path, value) => {
                    record::note(&mut sequences, object, path, value.clone());
                }
                Entry::Event(about, event) => record::note_event(&mut sequences, about, event),
            }
        }
        sequences
    }

    /// Waits until what has been seen since the mark is as wanted, or for the last word on what it is.
    pub async fn seen(&self, mark: usize, enough: impl Fn(&Sequences) -> bool) -> Sequences {
        let mut length = self.log.length.subscribe();
        let wait = async {
            while !enough(&self.since(mark)) {
                length.changed().await.unwrap();
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), wait).await;
        self.since(mark)
    }
}

async fn follow<K>(client: Client, short: &'static str, log: Log)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let mut known = std::collections::HashMap::<String, Fields>::new();
    let mut stream = watcher(Api::<K>::all(client), watcher::Config::default()).boxed();
    while let Some(event) = stream.next().await {
        let Ok(event) = event else { continue };
        let (watcher::Event::Apply(object)
        | watcher::Event::InitApply(object)
        | watcher::Event::Delete(object)) = &event
        else {
            continue;
        };
        let name = format!("{short}/{}", object.name_any());
        if matches!(event, watcher::Event::Delete(_)) {
            known.remove(&name);
            log.push([Entry::Field(name, "object".to_owned(), None)]);
            continue;
        }
        let fields = flat::fields(&json!(object));
        let before = known
            .insert(name.clone(), fields.clone())
            .unwrap_or_default();
        let changes = flat::changes(&before, &fields);
        log.push(
            changes
                .into_iter()
                .map(|(path, value)| Entry::Field(name.clone(), path, value)),
        );
    }
}

async fn follow_events(client: Client, log: Log) {
    let mut stream = watcher(Api::<Event>::all(client), watcher::Config::default()).boxed();
    while let Some(event) = stream.next().await {
        let Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = event else {
            continue;
        };
        let about = &event.involved_object;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        if !text(&about.kind).starts_with("VirtualMachine") {
            continue;
        }
        let source = event.source.unwrap_or_default();
        let line = format!(
            "{} {} count={} from={}/{}: {}",
            text(&event.type_),
            text(&event.reason),
            event.count.unwrap_or(1),
            text(&source.component),
            text(&source.host),
            text(&event.message),
        );
        log.push([Entry::Event(
            format!("{}/{}", text(&about.kind), text(&about.name)),
            line,
        )]);
    }
}
