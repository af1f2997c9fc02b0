//! Puts the same load on any API server and prints what it took: a name and seconds per line.
//!
//! `cargo run --release -p kubeapi --example load -- KUBECONFIG`; everything happens in a namespace of its own, which
//! is deleted at the end.

use std::error::Error;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;

/// Of ConfigMaps, and of updates that a watch sees.
const MANY: usize = 1000;
/// Of Deployments by server-side apply.
const APPLIED: usize = 500;
const LISTS: usize = 10;
/// Requests under way at a time, as a controller or kubectl has them.
const AT_ONCE: usize = 16;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: load KUBECONFIG")?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?;
    let client = Client::try_from(config)?;

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({
        "metadata": {"generateName": "load-"}
    }))?;
    let namespace = namespaces
        .create(&PostParams::default(), &namespace)
        .await?
        .name_any();
    let done = load(&client, &namespace).await;
    namespaces
        .delete(&namespace, &DeleteParams::default())
        .await?;
    done
}

async fn load(client: &Client, namespace: &str) -> Result<(), Box<dyn Error>> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);

    let started = Instant::now();
    all(MANY, |number| {
        let map = serde_json::from_value(config_map(number, "first"));
        let maps = &maps;
        async move { Ok(maps.create(&PostParams::default(), &map?).await.map(drop)?) }
    })
    .await?;
    tell(&format!("create {MANY} ConfigMaps"), started);

    let started = Instant::now();
    for _ in 0..LISTS {
        let listed = maps.list(&ListParams::default()).await?;
        // A cluster adds one of its own to every namespace.
        if listed.items.len() < MANY {
            return Err(format!("{} of {MANY} were listed", listed.items.len()).into());
        }
    }
    tell(&format!("list them {LISTS} times"), started);

    let version = maps
        .list(&ListParams::default().limit(1))
        .await?
        .metadata
        .resource_version
        .unwrap_or_default();
    let started = Instant::now();
    let seen = async {
        let updates = maps.watch(&WatchParams::default(), &version).await?;
        let modified = updates
            .try_filter(|event| std::future::ready(matches!(event, WatchEvent::Modified(_))))
            .take(MANY);
        modified.try_for_each(|_| std::future::ready(Ok(()))).await
    };
    let updated = all(MANY, |number| {
        let maps = &maps;
        async move {
            let patch = Patch::Merge(json!({"data": {"text": "second"}}));
            let name = name(number);
            let patched = maps.patch(&name, &PatchParams::default(), &patch).await;
            Ok(patched.map(drop)?)
        }
    });
    tokio::try_join!(async { Ok(seen.await?) }, updated)?;
    tell(&format!("watch {MANY} updates"), started);

    let started = Instant::now();
    all(APPLIED, |number| {
        let deployments = &deployments;
        async move {
            let patch = Patch::Apply(deployment(number));
            let applied = deployments
                .patch(&name(number), &PatchParams::apply("load"), &patch)
                .await;
            Ok(applied.map(drop)?)
        }
    })
    .await?;
    tell(&format!("apply {APPLIED} Deployments"), started);
    Ok(())
}

async fn all<F>(count: usize, each: impl FnMut(usize) -> F) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = Result<(), Box<dyn Error>>>,
{
    stream::iter(0..count)
        .map(each)
        .buffer_unordered(AT_ONCE)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await
}

fn tell(what: &str, started: Instant) {
    println!("{:.3}\t{what}", started.elapsed().as_secs_f64());
}

fn name(number: usize) -> String {
    format!("object-{number}")
}

fn config_map(number: usize, text: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name(number), "labels": {"app": "load"}},
        "data": {"text": text, "more": "x".repeat(200)}
    })
}

fn deployment(number: usize) -> serde_json::Value {
    let name = name(number);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main",
                    "image": "registry.k8s.io/pause:3.10",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "A", "value": "b"}]
                }]}
            }
        }
    })
}
