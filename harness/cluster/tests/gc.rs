//! What dead runs leave is removed, and nothing else.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure of a test"
)]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use trunkline_cluster::{
    ClusterSite,
    gc::{self, Cleared, Fate, Mode},
    journal::{ClusterId, Journals},
};
use trunkline_engine::{
    Cleanup, Identity, Journal as _, RUN_LABEL, RunOptions, Site as _,
    events::{self, RunId},
};

use support::Cluster;

const ALL: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: x}
";

const STEPS: &str =
    "  namespaces: [x]\n  steps:\n  - title: All are created\n    apply: all.yaml\n";

struct Place {
    cluster: Cluster,
    site: ClusterSite,
    journals: Journals,
    configs: Api<ConfigMap>,
    namespaces: Api<Namespace>,
}

impl Place {
    async fn new() -> Self {
        let cluster = Cluster::new();
        let site = cluster.administrator().await;
        Self {
            site,
            journals: Journals::at(cluster.folder.path().join("journals")),
            configs: Api::namespaced(cluster.admin.clone(), "default"),
            namespaces: Api::all(cluster.admin.clone()),
            cluster,
        }
    }

    /// A run that creates everything and dies before it can clear up; its id.
    async fn dying_run(&self) -> RunId {
        let scenario = self.cluster.scenario(STEPS, ALL);
        let run = RunId::random();
        let (sender, _receiver) = events::channel(run.clone());
        let options = RunOptions {
            cleanup: Cleanup::Leave,
            journal: Some(self.site.journal(&self.journals, &run)),
            ..RunOptions::default()
        };
        let outcome =
            trunkline_engine::run(&scenario, Arc::new(self.site.clone()), options, &sender).await;
        assert_eq!(outcome, trunkline_engine::CaseOutcome::Passed);
        run
    }

    async fn gc(&self, mode: Mode) -> Vec<Cleared> {
        gc::gc(&self.site.client(), self.site.id(), &self.journals, mode)
            .await
            .unwrap()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.cluster.folder.path().join("journals")).map_or(0, Iterator::count)
    }

    async fn has(&self, name: &str) -> bool {
        self.configs.get_opt(name).await.unwrap().is_some()
    }
}

fn fates(cleared: &Cleared) -> Vec<String> {
    let all = cleared.objects.iter();
    all.map(|(object, fate)| format!("{object} {fate:?}"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_go_and_the_journal_with_them() {
    let place = Place::new().await;
    let run = place.dying_run().await;
    assert_eq!(place.files(), 1);

    let looked = place.gc(Mode::DryRun).await;
    assert_eq!(looked[0].header.run, run);
    assert!(
        looked[0]
            .objects
            .iter()
            .all(|(_, fate)| *fate == Fate::Removable),
        "{looked:?}"
    );
    assert!(
        place.has("one").await && place.files() == 1,
        "a dry run changes nothing"
    );

    let cleared = place.gc(Mode::Remove).await;
    assert_eq!(cleared.len(), 1);
    assert!(cleared[0].forgotten);
    assert_eq!(
        fates(&cleared[0]),
        [
            "configmap/default/one Removed",
            "configmap/default/two Removed",
            "configmap/x/inside Removed",
            "namespace/x Removed",
        ]
    );
    assert!(!place.has("one").await && !place.has("two").await);
    assert!(place.namespaces.get_opt("x").await.unwrap().is_none());
    assert!(
        place.has("kube-root-ca.crt").await,
        "what was there before stays"
    );
    assert_eq!(place.files(), 0);
    assert!(place.gc(Mode::Remove).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_that_is_not_the_dead_runs_own() {
    let place = Place::new().await;
    let run = place.dying_run().await;
    // Somebody adopted one of them, and replaced the other, label and all.
    let adopt = Patch::Merge(json!({"metadata": {"labels": {RUN_LABEL: null}}}));
    place
        .configs
        .patch("one", &PatchParams::default(), &adopt)
        .await
        .unwrap();
    let mut other = place.configs.get("two").await.unwrap();
    place
        .configs
        .delete("two", &DeleteParams::default())
        .await
        .unwrap();
    other.metadata.uid = None;
    other.metadata.resource_version = None;
    other.metadata.managed_fields = None;
    place
        .configs
        .create(&PostParams::default(), &other)
        .await
        .unwrap();
    // One that carries the label without being in the journal, and one of a run that lives.
    let marked = |name: &str, run: &RunId| -> ConfigMap {
        serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {RUN_LABEL: run.as_str()}}}),
        )
        .unwrap()
    };
    place
        .configs
        .create(&PostParams::default(), &marked("stray", &run))
        .await
        .unwrap();
    let living_run = RunId::random();
    let living = place.site.journal(&place.journals, &living_run);
    let object = Identity {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespace: Some("default".into()),
        name: "living".into(),
    };
    living.about_to_create(&object).await.unwrap();
    place
        .configs
        .create(&PostParams::default(), &marked("living", &living_run))
        .await
        .unwrap();

    let cleared = place.gc(Mode::Remove).await;
    assert_eq!(
        cleared.len(),
        1,
        "the run that lives is left alone: {cleared:?}"
    );
    assert_eq!(
        fates(&cleared[0])[..2],
        [
            format!("configmap/default/one Foreign(\"it has no label {RUN_LABEL}\")"),
            "configmap/default/two Foreign(\"it was created after the one of this run was gone\")"
                .to_owned(),
        ]
    );
    for name in ["one", "two", "stray", "living"] {
        assert!(place.has(name).await, "{name}");
    }
    assert_eq!(place.files(), 1, "only the journal of the run that lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_died_between_the_journal_and_the_api_is_found_too() {
    let place = Place::new().await;
    let run = RunId::random();
    let journal = place.site.journal(&place.journals, &run);
    let identity = |name: &str| Identity {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespace: Some("default".into()),
        name: name.into(),
    };
    journal.about_to_create(&identity("made")).await.unwrap();
    journal
        .about_to_create(&identity("never-made"))
        .await
        .unwrap();
    let made = json!({"metadata": {"name": "made", "labels": {RUN_LABEL: run.as_str()}}});
    place
        .configs
        .create(
            &PostParams::default(),
            &serde_json::from_value(made).unwrap(),
        )
        .await
        .unwrap();
    drop(journal);
    // The last line was not finished when the machine went down.
    let file = place
        .cluster
        .folder
        .path()
        .join(format!("journals/{run}.jsonl"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{{\"creating\":{{\"apiV")).unwrap();

    let cleared = place.gc(Mode::Remove).await;
    assert_eq!(
        fates(&cleared[0]),
        [
            "configmap/default/made Removed",
            "configmap/default/never-made Absent"
        ]
    );
    assert_eq!(place.files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_told_and_left() {
    let place = Place::new().await;
    place.dying_run().await;
    let other = ClusterId {
        uid: Some("another".into()),
        server: place.site.id().server.clone(),
        context: "other".into(),
    };
    let cleared = gc::gc(&place.site.client(), &other, &place.journals, Mode::Remove)
        .await
        .unwrap();
    assert!(
        cleared[0]
            .objects
            .iter()
            .all(|(_, fate)| *fate == Fate::Elsewhere)
    );
    assert!(place.has("one").await && place.files() == 1);
}

/// What the child does: a run that is killed. Only when the parent asks.
#[test]
fn a_run_that_is_killed() {
    let Some(folder) = std::env::var_os("TRUNKLINE_TEST_JOURNALS") else {
        return;
    };
    let cluster = ClusterId {
        uid: None,
        server: "https://nowhere".into(),
        context: "nowhere".into(),
    };
    let journal = Journals::at(Path::new(&folder)).open(&RunId::new("killed").unwrap(), cluster);
    let object = Identity {
        api_version: "v1".into(),
        kind: "Namespace".into(),
        plural: "namespaces".into(),
        namespace: None,
        name: "x".into(),
    };
    futures::executor::block_on(journal.about_to_create(&object)).unwrap();
    println!("\nwritten");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_journal_outlives_the_kill_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::at(folder.path());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_run_that_is_killed", "--nocapture"])
        .env("TRUNKLINE_TEST_JOURNALS", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let written = lines.map_while(Result::ok).any(|line| line == "written");
    assert!(written);
    assert!(journals.dead().unwrap().is_empty(), "it lives");
    child.kill().unwrap();
    child.wait().unwrap();
    let dead = journals.dead().unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].header.run.as_str(), "killed");
    assert_eq!(dead[0].left[0].object.to_string(), "namespace/x");
    assert_eq!(dead[0].left[0].uid, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_clears_up_leaves_no_journal() {
    let place = Place::new().await;
    let scenario = place.cluster.scenario(STEPS, ALL);
    let run = RunId::random();
    let (sender, _receiver) = events::channel(run.clone());
    let journal = place.site.journal(&place.journals, &run);
    let options = RunOptions {
        journal: Some(journal.clone()),
        ..RunOptions::default()
    };
    let site = Arc::new(place.site.clone());
    trunkline_engine::run(&scenario, site, options, &sender).await;
    assert_eq!(place.files(), 0);
    let configs = place
        .configs
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    let names: Vec<_> = configs.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["kube-root-ca.crt"]);
    drop(journal);
}
