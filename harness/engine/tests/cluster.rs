//! What only matters on a cluster that stays: bringing the agent, remembering what was created, being turned away.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure of a test"
)]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use trunkline_engine::{
    AgentDelivery, CaseOutcome, HelperImage, Identity, Journal, JournalError, RUN_LABEL,
    RunOptions, SCENARIO_LABEL, Upload,
    events::EventKind,
    rights::{self, Need, Right, Verb},
};

use support::{AGENT, World, http, pods::BARE};

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: blue}}\nspec:\n  nodeName: test\n  containers: [{{name: main, image: x}}]\n"
    )
}

fn bare(world: &World) -> String {
    world.manifest("client.yaml", &pod(BARE));
    format!(
        "  namespaces: [blue]\n  steps:\n  - title: A pod without a shell\n    apply: client.yaml\n    until: pod/blue/{BARE} is Ready\n"
    )
}

fn helped_by(image: &str) -> AgentDelivery {
    AgentDelivery::Upload(Upload {
        program: std::fs::read(support::agent::path()).unwrap().into(),
        helper: Some(HelperImage {
            reference: image.into(),
            agent: Some(AGENT.into()),
        }),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_shell_is_probed_from_beside() {
    let mut world = World::new().await;
    world.delivery = helped_by("agent");
    let port = http("hello").await;
    let body = format!(
        "{}  - title: Its network and its programs\n    from: pod/blue/{BARE}\n    together:\n    - {{curl: 'http://127.0.0.1:{port}/', expect: {{body: hello}}}}\n    - {{exec: [echo, hello], expect: {{stdout: {{contains: hello}}}}}}\n    - {{exec: ['false'], expect: {{exit: 1}}}}\n",
        bare(&world)
    );
    let ran = world.run_with(&body, World::leave()).await;
    ran.passed();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "blue");
    let spec = pods.get(BARE).await.unwrap().spec.unwrap();
    let beside = spec.ephemeral_containers.unwrap();
    assert_eq!(beside.len(), 1, "one for all probes");
    assert_eq!(beside[0].target_container_name.as_deref(), Some("main"));
    assert_eq!(beside[0].image.as_deref(), Some("agent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_gets_in_nowhere_says_all_that_was_tried() {
    let mut world = World::new().await;
    world.delivery = helped_by("nope");
    let body = format!(
        "{}  - title: Nothing\n    from: pod/blue/{BARE}\n    exec: echo hello\n",
        bare(&world)
    );
    let failure = world.run(&body).await.failure();
    assert_eq!(
        failure.got,
        format!(
            "the agent in pod/blue/{BARE} container main cannot be started: the agent cannot be written into the container, which needs `sh`, `head` and `chmod`: Internal error occurred: exec: \"sh\": executable file not found in $PATH; an ephemeral container of nope beside it: ErrImagePull: nope: not found"
        )
    );
}

/// Remembers what it is told, and whether the object was there by then.
#[derive(Debug)]
struct Witness {
    namespaces: Api<Namespace>,
    told: Mutex<Vec<String>>,
    full: bool,
}

impl Witness {
    fn new(world: &World) -> Arc<Self> {
        Arc::new(Self {
            namespaces: Api::all(world.client.clone()),
            told: Mutex::default(),
            full: false,
        })
    }

    fn options(self: &Arc<Self>) -> RunOptions {
        RunOptions {
            journal: Some(Arc::<Self>::clone(self)),
            ..RunOptions::default()
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl Journal for Witness {
    async fn about_to_create(&self, object: &Identity) -> Result<(), JournalError> {
        if self.full {
            let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(JournalError::new("the journal cannot be written", error));
        }
        if object.kind == "Namespace" {
            let before = self.namespaces.get_opt(&object.name).await.unwrap();
            assert!(before.is_none(), "told before it exists");
        }
        self.told.lock().unwrap().push(format!("will {object}"));
        Ok(())
    }

    async fn created(&self, object: &Identity, uid: &str) -> Result<(), JournalError> {
        assert!(!uid.is_empty());
        self.told.lock().unwrap().push(format!("did {object}"));
        Ok(())
    }

    async fn gone(&self, object: &Identity) -> Result<(), JournalError> {
        self.told.lock().unwrap().push(format!("gone {object}"));
        Ok(())
    }
}

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, namespace: default}\ndata: {a: b}\n";

const CREATES: &str = "  namespaces: [blue]\n  steps:\n  - title: One outside of the namespace\n    apply: config.yaml\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_created_is_known_before_and_labelled() {
    let world = World::new().await;
    world.manifest("config.yaml", CONFIG);
    let witness = Witness::new(&world);
    world.run_with(CREATES, witness.options()).await.passed();
    let mut told = witness.told();
    // What is removed is removed together.
    told[4..].sort();
    assert_eq!(
        told,
        [
            "will namespace/blue",
            "did namespace/blue",
            "will configmap/default/mine",
            "did configmap/default/mine",
            "gone configmap/default/mine",
            "gone namespace/blue",
        ]
    );

    let ran = world.run_with(CREATES, World::leave()).await;
    let run = ran.passed().events[0].run.to_string();
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = namespaces.get("blue").await.unwrap();
    assert_eq!(namespace.labels()[RUN_LABEL], run);
    assert_eq!(namespace.labels()[SCENARIO_LABEL], "test");
    let configs: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    assert_eq!(configs.get("mine").await.unwrap().labels()[RUN_LABEL], run);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_that_cannot_be_written_down() {
    let world = World::new().await;
    world.manifest("config.yaml", CONFIG);
    let full = Arc::new(Witness {
        full: true,
        ..Arc::into_inner(Witness::new(&world)).unwrap()
    });
    let ran = world.run_with(CREATES, full.options()).await;
    let CaseOutcome::Broken { reason } = &ran.outcome else {
        panic!("{:?}", ran.outcome)
    };
    assert!(reason.contains("the journal cannot be written"), "{reason}");
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(namespaces.get_opt("blue").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_the_place_of_ours_is_not_removed() {
    let world = World::new().await;
    world.manifest("config.yaml", CONFIG);
    let configs: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let meddler = configs.clone();
    // While the last step waits, somebody replaces what the run created.
    let body = format!(
        "{CREATES}  - title: Somebody comes by\n    until: configmap/default/sign exists\n"
    );
    let meddling = tokio::spawn(async move {
        let mine = kube::runtime::wait::await_condition(
            meddler.clone(),
            "mine",
            |found: Option<&ConfigMap>| found.is_some(),
        );
        let mut theirs = mine.await.unwrap().unwrap();
        meddler
            .delete("mine", &DeleteParams::default())
            .await
            .unwrap();
        theirs.metadata.resource_version = None;
        theirs.metadata.uid = None;
        theirs.metadata.managed_fields = None;
        meddler
            .create(&PostParams::default(), &theirs)
            .await
            .unwrap();
        theirs.metadata.name = Some("sign".into());
        theirs.metadata.labels = None;
        meddler
            .create(&PostParams::default(), &theirs)
            .await
            .unwrap();
    });
    let ran = world.run(&body).await;
    meddling.await.unwrap();
    ran.passed();
    assert!(
        configs.get_opt("mine").await.unwrap().is_some(),
        "another one of that name stays, even with our label"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_turns_a_scenario_away_is_left_untouched() {
    let mut world = World::new().await;
    world.closed = Some("you may not create pods".into());
    world.manifest("config.yaml", CONFIG);
    let configs: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let theirs: ConfigMap =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "mine"}})).unwrap();
    configs
        .create(&PostParams::default(), &theirs)
        .await
        .unwrap();
    let body =
        format!("{CREATES}  finally:\n  - title: Tidy\n    delete: configmap/default/mine\n");
    let ran = world.run(&body).await;
    assert_eq!(
        ran.outcome,
        CaseOutcome::Broken {
            reason: "nothing was created on test: you may not create pods".into()
        }
    );
    assert!(
        configs.get_opt("mine").await.unwrap().is_some(),
        "`finally` is not run either"
    );
    let touched = ran.of(|kind| match kind {
        EventKind::NamespaceCreated { namespace } => Some(namespace.clone()),
        EventKind::ObjectDeleted { object, .. } => Some(object.to_string()),
        _ => None,
    });
    assert!(touched.is_empty(), "{touched:?}");
}

const RIGHTS: &str = "  namespaces: [blue]
  steps:
  - title: Everything starts
    apply: all.yaml
    until: deployment/blue/web is Available
    let: {ip: {object: service/blue/web, value: object.spec.clusterIP}}
  - title: It answers
    from: pod/blue/client
    curl: http://${ip}/
  - title: One goes
    delete: widget/blue/w
";

const ALL: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: blue}
spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shared, namespace: default}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: blue}
spec: {selector: {a: b}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: blue}
spec: {containers: [{name: c, image: x}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
---
apiVersion: example.org/v1
kind: Widget
metadata: {name: w, namespace: blue}
";

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_a_scenario_needs_are_known_exactly() {
    let world = World::new().await;
    world.manifest("all.yaml", ALL);
    let scenario = world.scenario(RIGHTS);
    let needed = rights::needed(&scenario, &world.client, &[Verb::Get])
        .await
        .unwrap();
    let of = |need: Need| {
        let rights = needed.iter().filter(move |(_, is)| *is == need);
        rights::sentences(rights.map(|(right, _)| right))
    };
    assert_eq!(
        of(Need::Must),
        [
            "get, list, watch, create, patch, delete namespaces",
            "get, list, watch, create, patch, delete customresourcedefinitions.apiextensions.k8s.io",
            "get, list, watch, create, patch pods in namespace blue",
            "get pods/exec in namespace blue",
            "list, watch serviceaccounts in namespace blue",
            "get, list, watch, create, patch services in namespace blue",
            "get, list, watch, create, patch deployments.apps in namespace blue",
            "get, list, watch, create, patch, delete widgets.example.org in namespace blue",
            "get, list, watch, create, patch, delete configmaps in namespace default",
        ]
    );
    assert_eq!(
        of(Need::Helps),
        [
            "list, watch events in namespace blue",
            "patch pods/ephemeralcontainers in namespace blue",
        ]
    );
    let create = Right {
        namespace: Some("blue".into()),
        group: "apps".into(),
        resource: "deployments".into(),
        subresource: None,
        verb: Verb::Create,
        name: None,
    };
    assert!(needed.contains(&(create.clone(), Need::Must)));
    assert_eq!(
        create.to_string(),
        "create deployments.apps in namespace blue"
    );
}
