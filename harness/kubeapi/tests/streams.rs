//! Watches, controllers and connections into pods: over a socket and without one.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Served, pod, serve, toy_server};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Pod, Service};
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
                // As a kube-apiserver does: the last state that was selected, with the version of the change.
                assert_eq!(object.labels()["value"], "in");
                let now = api.get("a").await.unwrap();
                assert_eq!(object.resource_version(), now.resource_version());
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

/// A pod with an address, a service and its endpoints.
async fn with_service(way: Way) -> (Served, Client) {
    let (served, client) = reach(way).await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &from(pod("a")))
        .await
        .unwrap();
    let address = json!({"status": {"phase": "Running", "podIP": "10.244.0.9"}});
    pods.patch_status("a", &PatchParams::default(), &Patch::Merge(address))
        .await
        .unwrap();
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = |name: &str| {
        from(
            json!({"metadata": {"name": name}, "spec": {"ports": [{"name": "web", "port": 8000, "targetPort": 8080}]}}),
        )
    };
    let endpoints: Api<Endpoints> = Api::default_namespaced(client.clone());
    for (name, subsets) in [
        (
            "full",
            json!([{"addresses": [{"ip": "10.244.0.9", "targetRef": {"kind": "Pod", "name": "a"}}],
            "ports": [{"name": "web", "port": 8080}]}]),
        ),
        ("empty", json!([])),
    ] {
        services
            .create(&PostParams::default(), &service(name))
            .await
            .unwrap();
        let object = from(json!({"metadata": {"name": name}, "subsets": subsets}));
        endpoints
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }
    (served, client)
}

async fn proxied(client: &Client, path: &str) -> (u16, String) {
    use http_body_util::BodyExt;
    let path = format!("/api/v1/namespaces/default/{path}");
    let request = http::Request::post(path)
        .body(kube::client::Body::from(b"loud".to_vec()))
        .unwrap();
    let response = soon(client.send(request)).await.unwrap();
    let code = response.status().as_u16();
    let body = soon(response.into_body().collect()).await.unwrap();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    match serde_json::from_str::<Value>(&text) {
        Ok(status) => (code, status["message"].as_str().unwrap().to_owned()),
        Err(_) => (code, text),
    }
}

#[rstest]
#[tokio::test]
async fn requests_are_proxied(#[values(Way::Socket, Way::Service)] way: Way) {
    let (_served, client) = with_service(way).await;
    // The toy answers on port 8080 with what it was asked.
    let (code, text) = proxied(&client, "pods/a:8080/proxy/some/path?x=1").await;
    assert_eq!((code, text.as_str()), (200, "POST /some/path?x=1 loud"));
    let (code, text) = proxied(&client, "services/full:web/proxy/").await;
    assert_eq!((code, text.as_str()), (200, "POST / loud"));
    let (code, text) = proxied(&client, "services/full:8000/proxy/x").await;
    assert_eq!((code, text.as_str()), (200, "POST /x loud"));
}

/// Not over the socket: there the client tries 503 again and again.
#[rstest]
#[case(
    "pods/a:81/proxy/",
    503,
    "error trying to reach service: dial tcp 10.244.0.9:81: "
)]
#[case("pods/b:8080/proxy/", 404, "pods \"b\" not found")]
#[case(
    "services/empty:web/proxy/",
    503,
    "no endpoints available for service \"empty\""
)]
#[case(
    "services/full:other/proxy/",
    503,
    "no endpoints available for service \"full:other\""
)]
#[case(
    "services/full:9/proxy/",
    503,
    "no service port 9 found for service \"full\""
)]
#[case("services/a:b:c:d/proxy/", 400, "invalid service request \"a:b:c:d\"")]
#[case(
    "pods/https:a:443/proxy/",
    400,
    "this server proxies to plain http ports only"
)]
#[tokio::test]
async fn requests_that_cannot_be_proxied_say_why(
    #[case] path: &str,
    #[case] code: u16,
    #[case] why: &str,
) {
    let (_served, client) = with_service(Way::Service).await;
    let (answered, text) = proxied(&client, path).await;
    assert_eq!(answered, code, "{text}");
    assert!(text.starts_with(why), "{text}");
}

#[tokio::test]
async fn a_proxy_without_a_path_leads_to_its_root() {
    let (_served, client) = with_service(Way::Service).await;
    let request = http::Request::get("/api/v1/namespaces/default/pods/a:8080/proxy")
        .body(kube::client::Body::empty())
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 301);
    assert_eq!(
        response.headers()["location"],
        "/api/v1/namespaces/default/pods/a:8080/proxy/"
    );
}

#[tokio::test]
async fn sessions_without_an_upgrade_are_refused() {
    let (_served, api) = with_pod(Way::Socket).await;
    let client = api.into_client();
    for path in [
        "exec?command=x&stdout=true",
        "attach?stdout=true",
        "portforward",
    ] {
        let (code, text) = proxied(&client, &format!("pods/a/{path}")).await;
        assert_eq!(
            (code, text.as_str()),
            (400, "Upgrade request required"),
            "{path}"
        );
    }
}

const EXEC: &str = "a/exec?command=cat&stdin=true&container=main";

/// Upgrades that cannot be, in the words of whoever refuses them in a real cluster.
#[rstest]
#[case(
    EXEC,
    "SPDY/3.1",
    "",
    400,
    "unable to upgrade: X-Stream-Protocol-Version is required\n"
)]
#[case(
    EXEC,
    "SPDY/3.1",
    "v9.channel.k8s.io",
    403,
    "unable to upgrade: unable to negotiate protocol: client supports [v9.channel.k8s.io], server accepts [v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]\n"
)]
#[case(
    "a/portforward",
    "SPDY/3.1",
    "v4.channel.k8s.io",
    403,
    "unable to upgrade: unable to negotiate protocol: client supports [v4.channel.k8s.io], server accepts [portforward.k8s.io]\n"
)]
#[case(
    EXEC,
    "h2c",
    "",
    400,
    "unable to upgrade: missing upgrade headers in request: Upgrade is \"h2c\", not \"SPDY/3.1\"\n"
)]
#[case(
    EXEC,
    "websocket",
    "v9.channel.k8s.io",
    403,
    "requested protocol(s) are not supported: [v9.channel.k8s.io]; supports [v5.channel.k8s.io v4.channel.k8s.io channel.k8s.io ]\n"
)]
#[case(
    "a/portforward",
    "websocket",
    "v4.channel.k8s.io",
    400,
    "query parameter \"port\" is required"
)]
#[case(
    "late/exec?command=x&stdout=true",
    "SPDY/3.1",
    "v4.channel.k8s.io",
    400,
    "pod late does not have a host assigned"
)]
#[case(
    "a/exec?stdout=true",
    "SPDY/3.1",
    "v4.channel.k8s.io",
    400,
    "you must specify at least 1 command for the container"
)]
#[tokio::test]
async fn upgrades_that_cannot_be(
    #[case] path: &str,
    #[case] upgrade: &str,
    #[case] protocol: &str,
    #[case] code: u16,
    #[case] why: &str,
) {
    use http_body_util::BodyExt;
    let (_served, api) = with_pod(Way::Service).await;
    let mut late = pod("late");
    late["spec"].as_object_mut().unwrap().remove("nodeName");
    api.create(&PostParams::default(), &from(late))
        .await
        .unwrap();
    let name = if upgrade == "websocket" {
        "sec-websocket-protocol"
    } else {
        "x-stream-protocol-version"
    };
    let mut request = http::Request::get(format!("/api/v1/namespaces/default/pods/{path}"))
        .header("connection", "Upgrade")
        .header("upgrade", upgrade);
    if !protocol.is_empty() {
        request = request.header(name, protocol);
    }
    let request = request.body(kube::client::Body::empty()).unwrap();
    let response = soon(api.into_client().send(request)).await.unwrap();
    let answered = response.status();
    let body = soon(response.into_body().collect()).await.unwrap();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let said = match serde_json::from_str::<Value>(&text) {
        Ok(status) => status["message"].as_str().unwrap().to_owned(),
        Err(_) => text,
    };
    assert_eq!((answered.as_u16(), said.as_str()), (code, why));
}
