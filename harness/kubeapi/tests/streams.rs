//! Watches, controllers and connections into pods: over a socket and without one.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Served, pod, serve, toy_server};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{
    Api, AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Client, ResourceExt};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How the client reaches the server.
#[derive(Debug, Clone, Copy)]
enum Way {
    Socket,
    Service,
}

async fn reach(way: Way) -> (Served, Client) {
    let served = serve(toy_server());
    let client = match way {
        Way::Socket => served.admin().await,
        Way::Service => served.server.client("test"),
    };
    (served, client)
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name, "labels": {"value": value}}, "data": {"key": value}}))
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("it took too long")
}

#[rstest]
#[tokio::test]
async fn watchers_see_everything(
    #[values(Way::Socket, Way::Service)] way: Way,
    #[values(false, true)] streaming: bool,
) {
    let (_served, client) = reach(way).await;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-public");
    api.create(&PostParams::default(), &config_map("before", "1"))
        .await
        .unwrap();
    let config = if streaming {
        watcher::Config::default().streaming_lists()
    } else {
        watcher::Config::default()
    };
    let mut events = Box::pin(watcher(api.clone(), config).default_backoff());
    let mut initial = Vec::new();
    loop {
        match soon(events.try_next()).await.unwrap().unwrap() {
            watcher::Event::InitApply(object) => initial.push(object.name_any()),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(initial, ["before", "kube-root-ca.crt"]);
    api.create(&PostParams::default(), &config_map("after", "1"))
        .await
        .unwrap();
    api.delete("before", &DeleteParams::default())
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        match soon(events.try_next()).await.unwrap().unwrap() {
            watcher::Event::Apply(object) => seen.push(format!("+{}", object.name_any())),
            watcher::Event::Delete(object) => seen.push(format!("-{}", object.name_any())),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["+after", "-before"]);
}

#[tokio::test]
async fn a_selector_turns_changes_into_comings_and_goings() {
    let (_served, client) = reach(Way::Service).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let start = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let params = WatchParams::default().labels("value=in");
    let mut events = Box::pin(api.watch(&params, &start).await.unwrap());
    api.create(&PostParams::default(), &config_map("a", "out"))
        .await
        .unwrap();
    for value in ["in", "out"] {
        let patch = json!({"metadata": {"labels": {"value": value}}});
        api.patch("a", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
    let mut kinds = Vec::new();
    for _ in 0..2 {
        kinds.push(match soon(events.try_next()).await.unwrap().unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Deleted(object) => {
                // The client sees the state that is no longer selected.
                assert_eq!(object.labels()["value"], "out");
                "deleted"
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(kinds, ["added", "deleted"]);
}

#[tokio::test]
async fn a_watch_from_forgotten_times_must_start_over() {
    let (_served, client) = reach(Way::Service).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config_map("a", "0"))
        .await
        .unwrap();
    let start = api.get("a").await.unwrap().resource_version().unwrap();
    for value in 1..=4100 {
        let patch = json!({"data": {"key": value.to_string()}});
        api.patch("a", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
    let mut events = Box::pin(api.watch(&WatchParams::default(), &start).await.unwrap());
    match soon(events.try_next()).await.unwrap().unwrap() {
        WatchEvent::Error(status) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
            assert!(status.message.starts_with("too old resource version: "));
        }
        other => panic!("{other:?}"),
    }
    assert!(soon(events.try_next()).await.unwrap().is_none());
}

#[rstest]
#[tokio::test]
async fn a_controller_reconciles(#[values(Way::Socket, Way::Service)] way: Way) {
    let (_served, client) = reach(way).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let reconcile = |object: Arc<ConfigMap>, client: Arc<Client>| async move {
        let api: Api<ConfigMap> = Api::default_namespaced(client.as_ref().clone());
        let name = object.name_any();
        if name.starts_with("wish") {
            let granted = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("granted-{name}"), "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
                    "name": name, "uid": object.uid(), "controller": true}]}});
            api.patch(
                &format!("granted-{name}"),
                &PatchParams::apply("genie").force(),
                &Patch::Apply(granted),
            )
            .await?;
        }
        Ok::<_, kube::Error>(Action::await_change())
    };
    let controller = Controller::new(api.clone(), watcher::Config::default())
        .owns(api.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(50)),
            Arc::new(client.clone()),
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);
    api.create(&PostParams::default(), &config_map("wish", "1"))
        .await
        .unwrap();
    let granted = |object: Option<&ConfigMap>| object.is_some();
    soon(await_condition(api.clone(), "granted-wish", granted))
        .await
        .unwrap();
    // What is taken away comes back.
    let uid = api.get("granted-wish").await.unwrap().uid().unwrap();
    api.delete("granted-wish", &DeleteParams::default())
        .await
        .unwrap();
    let again = |object: Option<&ConfigMap>| {
        object.is_some_and(|object| object.uid().as_deref() != Some(uid.as_str()))
    };
    soon(await_condition(api.clone(), "granted-wish", again))
        .await
        .unwrap();
    controller.abort();
}

#[tokio::test]
async fn reflectors_keep_metadata() {
    let (_served, client) = reach(Way::Socket).await;
    let api: Api<PartialObjectMeta<ConfigMap>> = Api::default_namespaced(client);
    let (reader, writer) = reflector::store();
    let events = reflector(writer, watcher(api, watcher::Config::default())).applied_objects();
    let events = tokio::spawn(async move {
        futures::pin_mut!(events);
        while events.try_next().await.unwrap().is_some() {}
    });
    soon(reader.wait_until_ready()).await.unwrap();
    assert!(
        reader
            .state()
            .iter()
            .any(|object| object.name_any() == "kube-root-ca.crt")
    );
    events.abort();
}

#[tokio::test]
async fn waiting_for_a_pod_to_run() {
    let (_served, client) = reach(Way::Service).await;
    let api: Api<Pod> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &from(pod("a")))
        .await
        .unwrap();
    let waiting = tokio::spawn(await_condition(
        api.clone(),
        "a",
        conditions::is_pod_running(),
    ));
    let running = json!({"status": {"phase": "Running"}});
    api.patch_status("a", &PatchParams::default(), &Patch::Merge(running))
        .await
        .unwrap();
    soon(waiting).await.unwrap().unwrap();
}

async fn with_pod(way: Way) -> (Served, Api<Pod>) {
    let (served, client) = reach(way).await;
    let api: Api<Pod> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &from(pod("a")))
        .await
        .unwrap();
    (served, api)
}

#[rstest]
#[tokio::test]
async fn exec_moves_bytes_both_ways(#[values(Way::Socket, Way::Service)] way: Way) {
    let (_served, api) = with_pod(way).await;
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut session = soon(api.exec("a", ["cat"], &params)).await.unwrap();
    let mut input = session.stdin().unwrap();
    let mut output = session.stdout().unwrap();
    let status = session.take_status().unwrap();
    input.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 5];
    soon(output.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"hello");
    // The end of the input ends the command.
    input.shutdown().await.unwrap();
    drop(input);
    let status = soon(status).await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"));
}

#[rstest]
#[tokio::test]
async fn exec_tells_the_exit_code(#[values(Way::Socket, Way::Service)] way: Way) {
    let (_served, api) = with_pod(way).await;
    let mut session = soon(api.exec("a", ["exit", "3"], &AttachParams::default()))
        .await
        .unwrap();
    let status = session.take_status().unwrap();
    let mut stderr = String::new();
    soon(session.stderr().unwrap().read_to_string(&mut stderr))
        .await
        .unwrap();
    assert_eq!(stderr, "a/main fails\n");
    let status = soon(status).await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let causes = status.details.unwrap().causes.unwrap();
    assert_eq!(causes[0].reason.as_deref(), Some("ExitCode"));
    assert_eq!(causes[0].message.as_deref(), Some("3"));
}

#[tokio::test]
async fn exec_moves_much() {
    let (_served, api) = with_pod(Way::Socket).await;
    let params = AttachParams::default().stderr(false);
    let mut session = soon(api.exec("a", ["flood", "3000000"], &params))
        .await
        .unwrap();
    let mut output = Vec::new();
    soon(session.stdout().unwrap().read_to_end(&mut output))
        .await
        .unwrap();
    assert_eq!(output.len(), 3_000_000);
}

#[tokio::test]
async fn terminals_have_sizes() {
    let (_served, api) = with_pod(Way::Socket).await;
    let params = AttachParams::interactive_tty().stdin(false);
    let mut session = soon(api.exec("a", ["size"], &params)).await.unwrap();
    let mut sizes = session.terminal_size().unwrap();
    futures::SinkExt::send(
        &mut sizes,
        kube::api::TerminalSize {
            width: 100,
            height: 30,
        },
    )
    .await
    .unwrap();
    let mut output = String::new();
    soon(session.stdout().unwrap().read_to_string(&mut output))
        .await
        .unwrap();
    assert_eq!(output, "100x30");
}

#[tokio::test]
async fn refused_sessions_say_why() {
    let (_served, api) = with_pod(Way::Socket).await;
    let params = AttachParams::default().container("other");
    let error = api.exec("a", ["cat"], &params).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("container other is not valid for pod a"),
        "{error}"
    );
    let error = api
        .exec("b", ["cat"], &AttachParams::default())
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("pods \"b\" not found"),
        "{error}"
    );
}

#[rstest]
#[tokio::test]
async fn logs_stream(#[values(Way::Socket, Way::Service)] way: Way) {
    let (_served, api) = with_pod(way).await;
    let params = LogParams {
        tail_lines: Some(2),
        ..LogParams::default()
    };
    let log = soon(api.logs("a", &params)).await.unwrap();
    assert_eq!(log, "default/a/main line 0\ndefault/a/main line 1\n");
    let follow = LogParams {
        follow: true,
        ..params
    };
    let lines = soon(api.log_stream("a", &follow)).await.unwrap().lines();
    let lines: Vec<String> = soon(lines.take(2).try_collect()).await.unwrap();
    assert_eq!(lines.len(), 2);
}

#[rstest]
#[tokio::test]
async fn ports_are_forwarded(#[values(Way::Socket, Way::Service)] way: Way) {
    let (_served, api) = with_pod(way).await;
    let mut forwarder = soon(api.portforward("a", &[80, 81])).await.unwrap();
    let mut stream = forwarder.take_stream(80).unwrap();
    let refused = forwarder.take_error(81).unwrap();
    stream.write_all(b"loud").await.unwrap();
    let mut buffer = [0; 4];
    soon(stream.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"LOUD");
    let error = soon(refused).await.unwrap();
    assert!(error.contains("connection refused"), "{error}");
}
