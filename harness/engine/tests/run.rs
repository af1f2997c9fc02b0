//! Scenarios that are really run, against a real API in this process and with the real agent.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure of a test"
)]

mod support;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::{Api, ResourceExt as _};
use trunkline_engine::{
    AgentDelivery, CaseOutcome, RUN_LABEL, RunOptions, Upload,
    events::{
        Change, EventKind, Evidence, EvidenceSource, FailureKind, ObjectRef, StepOutcome, Verdict,
    },
};

use support::{World, closed_port, http, silent_port};

fn pod(name: &str, becomes: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: blue\n  annotations: {{test/becomes: {becomes}}}\nspec:\n  nodeName: test\n  containers: [{{name: main, image: x}}]\n"
    )
}

const NETWORK: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: net, namespace: blue}
spec:
  config: '{"cniVersion": "0.3.1", "name": "net", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "blue/net"}'
"#;

const CLIENT: &str = "  namespaces: [blue]
  steps:
  - title: A client starts
    apply: client.yaml
    until: pod/blue/client is Ready
";

#[tokio::test(flavor = "multi_thread")]
async fn apply_until_capture_and_probe() {
    let world = World::new().await;
    let port = http("blue-server").await;
    world.manifest(
        "pods.yaml",
        &format!(
            "{}---\n{}---\n{NETWORK}",
            pod("client", "ready"),
            pod("server", "ready, k8s.v1.cni.cncf.io/networks: net")
        ),
    );
    let ran = world
        .run(&format!(
            "  namespaces: [blue]
  steps:
  - title: Both start
    apply: pods.yaml
    until: [pods in blue are Ready, pod/blue/server is Ready for 100ms]
    let:
      server: pod/blue/server network net
      node_name: {{object: pod/blue/server, value: object.metadata.name}}
    expect:
    - ${{server.ip}} is in 127.0.0.0/8
    - ${{server.mac}} is derived from ${{server.ip}}
    - ${{node_name}} is server
  - title: The client reads the name of the server
    from: pod/blue/client
    curl: http://${{server.ip}}:{port}/hostname
    expect: {{status: 200, body: blue-server, bytes: 11}}
"
        ))
        .await;
    ran.passed();
    assert_eq!(
        *world.barriers.lock().unwrap(),
        1,
        "one barrier after the change"
    );
    let created = ran.of(|kind| match kind {
        EventKind::ObjectApplied {
            object,
            change: Change::Created,
            manifest,
        } => Some((object.to_string(), manifest.clone().unwrap().line)),
        _ => None,
    });
    assert_eq!(
        created[1..],
        [
            ("nad/blue/net".to_owned(), 21),
            ("pod/blue/client".to_owned(), 1),
            ("pod/blue/server".to_owned(), 11)
        ],
        "networks come before the pods that need them"
    );
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(
        namespaces.get_opt("blue").await.unwrap().is_none(),
        "what was created is gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_four_ways_and_what_is_between_them() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "ready"));
    let (open, closed, silent) = (
        http("hello").await,
        closed_port().await,
        silent_port().await,
    );
    let started = Instant::now();
    let ran = world
        .run(&format!(
            "{CLIENT}  - title: All at once
    from: pod/blue/client
    together:
    - {{curl: 'http://127.0.0.1:{open}/', expect: {{body: hello}}}}
    - {{curl: 'http://127.0.0.1:{closed}/', expect: refused}}
    - {{tcp: '127.0.0.1:{open}'}}
    - {{tcp: '127.0.0.1:{closed}', expect: refused}}
    - {{curl: 'http://127.0.0.1:{silent}/', expect: blocked, timeout: 700ms}}
    - {{curl: 'http://127.0.0.1:{silent}/again', expect: blocked, timeout: 700ms}}
    - {{curl: 'http://no-such-name.invalid:{open}/', expect: unresolved or blocked, timeout: 700ms}}
    - {{exec: 'sh -c \"echo out; echo err >&2; exit 3\"', expect: {{exit: 3, stdout: {{contains: out}}, stderr: {{contains: err}}}}}}
"
        ))
        .await;
    ran.passed();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "probes of a step run together: {:?}",
        started.elapsed()
    );
    let evidence = ran.of(|kind| match kind {
        EventKind::Evidence(evidence) => Some(evidence.source),
        _ => None,
    });
    assert!(
        evidence.len() >= 2
            && evidence
                .iter()
                .all(|source| *source == EvidenceSource::Deadline)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_fails_says_what_came_and_where_to_look() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "ready"));
    let (open, closed) = (http("yellow-server").await, closed_port().await);
    let ran = world
        .run(&format!("{CLIENT}  - title: The wrong server\n    from: pod/blue/client\n    curl: http://127.0.0.1:{open}/\n    expect: {{body: blue-server}}\n  - title: Never\n    expect: ['a is a']\n"))
        .await;
    let failure = ran.failure();
    assert_eq!(failure.kind, FailureKind::Expectation);
    assert_eq!(
        (failure.expected.as_str(), failure.got.as_str()),
        ("body \"blue-server\"", "body \"yellow-server\"")
    );
    assert_eq!(failure.scenario.unwrap().line, 14);
    assert_eq!(
        *ran.outcomes().last().unwrap(),
        StepOutcome::Skipped {
            reason: "step 2 failed".into()
        }
    );

    let ran = world
        .run(&format!("{CLIENT}  - title: Nobody there\n    from: pod/blue/client\n    curl: http://127.0.0.1:{closed}/\n    expect: blocked\n"))
        .await;
    let failure = ran.failure();
    assert_eq!(
        (failure.expected.as_str(), failure.got.as_str()),
        ("blocked", "refused: connection refused by 127.0.0.1")
    );
    assert!(failure.next[0].contains("listens"), "{:?}", failure.next);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_blocks_is_proved_where_the_site_can() {
    let mut world = World::new().await;
    world.manifest("client.yaml", &pod("client", "ready"));
    let silent = silent_port().await;
    let policy = |name: &str| ObjectRef {
        kind: "networkpolicy".into(),
        namespace: Some("blue".into()),
        name: name.into(),
    };
    world.evidence = Some(Evidence {
        probe: None,
        source: EvidenceSource::Acl,
        summary: "dropped by the ACL of networkpolicy/blue/closed".into(),
        object: Some(policy("closed")),
        detail: String::new(),
    });
    let body = |by: &str| {
        format!(
            "{CLIENT}  - title: Closed\n    from: pod/blue/client\n    curl: http://127.0.0.1:{silent}/\n    expect: {{blocked: {{by: networkpolicy/blue/{by}}}}}\n    timeout: 500ms\n"
        )
    };
    world.run(&body("closed")).await.passed();
    {
        let asked = world.asked.lock().unwrap();
        assert_eq!(
            (
                asked[0].host.as_str(),
                asked[0].port,
                asked[0].from.name.as_str()
            ),
            ("127.0.0.1", Some(silent), "client")
        );
    }
    let failure = world.run(&body("other")).await.failure();
    assert_eq!(failure.expected, "by networkpolicy/blue/other");
    assert_eq!(failure.got, "by networkpolicy/blue/closed");
    assert_eq!(
        failure.why,
        ["dropped by the ACL of networkpolicy/blue/closed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_words_of_the_api_and_the_line_of_the_manifest() {
    let world = World::new().await;
    let bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine, namespace: blue}\n---\n# a comment\napiVersion: v1\nkind: Pod\nmetadata: {name: bad, namespace: blue}\nspec: {containers: []}\n";
    world.manifest("bad.yaml", bad);
    let ran = world
        .run("  namespaces: [blue]\n  steps:\n  - title: Refused\n    apply: bad.yaml\n")
        .await;
    let failure = ran.failure();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert_eq!(failure.manifest.as_ref().unwrap().line, 6, "{failure:#?}");
    assert!(failure.got.contains("spec.containers"), "{}", failure.got);
    assert_eq!(failure.scenario.unwrap().line, 8);

    let expected = |reason: &str| {
        format!(
            "  namespaces: [blue]\n  steps:\n  - title: Refused\n    apply: bad.yaml\n    expect: {{rejected: {{reason: {reason}, message: {{contains: spec.containers}}}}}}\n"
        )
    };
    world.run(&expected("Invalid")).await.passed();
    assert!(
        world
            .run(&expected("Forbidden"))
            .await
            .failure()
            .got
            .starts_with("refused with Invalid: ")
    );
    world.manifest(
        "bad.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine, namespace: blue}\n",
    );
    assert_eq!(
        world.run(&expected("Invalid")).await.failure().got,
        "every object is accepted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_named() {
    let world = World::new().await;
    world.manifest(
        "odd.yaml",
        "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: a, namespace: blue}\n",
    );
    let failure = world
        .run("  namespaces: [blue]\n  steps:\n  - title: Odd\n    apply: odd.yaml\n")
        .await
        .failure();
    assert_eq!(
        failure.summary,
        "the API serves no kind Widget in version example.org/v1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_does_not_exist_fails_at_once() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "no-image"));
    let started = Instant::now();
    let failure = world.run(CLIENT).await.failure();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(failure.kind, FailureKind::Hopeless);
    assert_eq!(
        failure.got,
        "the image nope:1 of container main: ErrImagePull: nope:1: not found"
    );
    assert_eq!(failure.manifest.unwrap().line, 1);
    assert_eq!(failure.next, ["kubectl -n blue describe pod client"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_cannot_be_made_fails_at_once_with_the_words_of_the_event() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "unattached"));
    let started = Instant::now();
    let failure = world.run(CLIENT).await.failure();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(failure.kind, FailureKind::Hopeless);
    assert!(
        failure
            .got
            .contains("cannot find a network-attachment-definition (nosuch)"),
        "{}",
        failure.got
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_tells_the_last_state() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "creating"));
    let failure = world
        .run(&format!("{CLIENT}    timeout: 1s\n"))
        .await
        .failure();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.summary, "waited 1s for: pod/blue/client is Ready");
    assert_eq!(
        failure.got,
        "pod/blue/client: Pending, container main waits: ContainerCreating"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_members_is_not_there_yet() {
    let world = World::new().await;
    let body = "  namespaces: [blue]\n  steps:\n  - title: Nobody\n    until: pods in blue are Ready\n    timeout: 300ms\n";
    let failure = world.run(body).await.failure();
    assert_eq!(failure.got, "there are none yet");
    assert_eq!(failure.next, ["kubectl -n blue get pods"]);
    let gone = body.replace("are Ready", "are gone");
    world.run(&gone).await.passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_does_not_fit_its_schema_is_refused_not_broken() {
    let world = World::new().await;
    world.manifest(
        "typo.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: typo, namespace: blue}\ndat: {a: b}\n",
    );
    let body = "  namespaces: [blue]\n  steps:\n  - title: A typo\n    apply: typo.yaml\n";
    let failure = world.run(body).await.failure();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.got.contains(".dat"), "{}", failure.got);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_from_a_pod_that_never_runs_says_so() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "no-image"));
    let body = "  namespaces: [blue]\n  steps:\n  - title: It starts, or not\n    apply: client.yaml\n  - title: From nowhere\n    from: pod/blue/client\n    exec: 'true'\n";
    let failure = world.run(body).await.failure();
    assert_eq!(failure.kind, FailureKind::Hopeless);
    assert!(failure.got.contains("nope:1: not found"), "{}", failure.got);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_waits_until_it_is_gone() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "ready"));
    let ran = world
        .run(&format!("{CLIENT}    let: {{name: {{object: pod/blue/client, value: object.metadata.name}}}}\n  - title: It goes\n    delete: pod/blue/${{name}}\n    until: pod/blue/${{name}} is gone\n  - title: Twice\n    delete: pod/blue/${{name}}\n"))
        .await;
    assert_eq!(
        ran.of(|kind| {
            matches!(kind, EventKind::ObjectDeleted { object, .. } if object.name == "client")
                .then_some(())
        })
        .len(),
        1
    );
    assert_eq!(
        ran.failure().summary,
        "pod/blue/client cannot be deleted because it does not exist"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn catch_and_finally_run_in_their_order_and_change_nothing() {
    let world = World::new().await;
    let body = |statement: &str| {
        format!(
            "  steps:\n  - title: first\n    expect: ['{statement}']\n  - title: second\n    expect: ['a is a']\n  catch:\n  - title: caught\n    expect: ['a is a']\n  finally:\n  - title: at last\n    expect: ['a is a']\n"
        )
    };
    let titles = |ran: &support::Ran| {
        ran.of(|kind| match kind {
            EventKind::StepStarted { title, .. } => Some(title.clone()),
            _ => None,
        })
    };
    let ran = world.run(&body("a is b")).await;
    assert_eq!(ran.outcome, CaseOutcome::Failed { failure: None });
    assert_eq!(titles(&ran), ["first", "caught", "at last"]);
    let ran = world.run(&body("a is a")).await;
    assert_eq!(titles(ran.passed()), ["first", "second", "at last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_fail_turns_red_when_it_passes() {
    let world = World::new().await;
    let step = |statement: &str| {
        format!(
            "  steps:\n  - title: Known\n    expect: ['{statement}']\n    known: there is no DHCP\n"
        )
    };
    let ran = world.run(&step("a is b")).await;
    ran.passed();
    assert!(
        matches!(&ran.outcomes()[0], StepOutcome::Known { reason, failures } if reason == "there is no DHCP" && failures.len() == 1)
    );
    let failure = world.run(&step("a is a")).await.failure();
    assert_eq!(failure.kind, FailureKind::KnownPassed);

    let whole = |statement: &str| {
        format!("  known: all of it\n  steps:\n  - title: Known\n    expect: ['{statement}']\n")
    };
    assert_eq!(
        world.run(&whole("a is b")).await.outcome,
        CaseOutcome::Known {
            reason: "all of it".into()
        }
    );
    let outcome = world.run(&whole("a is a")).await.outcome;
    assert!(
        matches!(outcome, CaseOutcome::Failed { failure: Some(failure) } if failure.kind == FailureKind::KnownPassed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_told_and_bounded() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "ready"));
    let flag = tempfile::tempdir().unwrap();
    let flag = flag.path().join("flag");
    // Fails the first time and passes from then on.
    let script = format!(
        "sh -c \"test -e {0} || {{ touch {0}; exit 1; }}\"",
        flag.display()
    );
    let ran = world
        .run(&format!("{CLIENT}  - title: Twice\n    from: pod/blue/client\n    exec: '{script}'\n    retry: {{times: 2, because: it is slow}}\n"))
        .await;
    let retried = ran.passed().of(|kind| match kind {
        EventKind::StepRetried {
            attempt,
            of,
            reason,
            ..
        } => Some((*attempt, *of, reason.clone())),
        _ => None,
    });
    assert_eq!(retried, [(1, 3, "it is slow".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupting_still_clears_up() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "creating"));
    let options = RunOptions::default();
    let cancel = options.cancel.clone();
    let watching = world.client.clone();
    let interrupt = tokio::spawn(async move {
        let pods: Api<Pod> = Api::namespaced(watching, "blue");
        let there =
            kube::runtime::wait::await_condition(pods, "client", |pod: Option<&Pod>| pod.is_some());
        there.await.unwrap();
        cancel.cancel();
    });
    let started = Instant::now();
    let ran = world
        .run_with(
            &format!("{CLIENT}  finally:\n  - title: at last\n    expect: ['a is a']\n"),
            options,
        )
        .await;
    interrupt.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(ran.outcome, CaseOutcome::Cancelled);
    assert_eq!(
        ran.outcomes(),
        [StepOutcome::Cancelled, StepOutcome::Passed]
    );
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(namespaces.get_opt("blue").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_neither_claimed_nor_removed() {
    let world = World::new().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let before = serde_json::from_value(
        serde_json::json!({"metadata": {"name": "shared"}, "data": {"a": "b"}}),
    )
    .unwrap();
    maps.create(&kube::api::PostParams::default(), &before)
        .await
        .unwrap();
    world.manifest(
        "maps.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared, namespace: default}\ndata: {c: d}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: own, namespace: default}\n",
    );
    let body = "  steps:\n  - title: Both\n    apply: maps.yaml\n";
    let scenario = world.run_with(body, World::leave()).await;
    scenario.passed();
    let own = maps.get("own").await.unwrap();
    assert_eq!(own.labels()[RUN_LABEL], scenario.events[0].run.to_string());
    assert!(
        !maps
            .get("shared")
            .await
            .unwrap()
            .labels()
            .contains_key(RUN_LABEL)
    );
    assert_eq!(maps.get("shared").await.unwrap().data.unwrap()["c"], "d");
    maps.delete("own", &kube::api::DeleteParams::default())
        .await
        .unwrap();

    world.run(body).await.passed();
    assert!(
        maps.get_opt("own").await.unwrap().is_none()
            && maps.get_opt("shared").await.unwrap().is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_somebody_else_breaks_the_case_and_stays() {
    let world = World::new().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let taken = serde_json::from_value(serde_json::json!({"metadata": {"name": "blue"}})).unwrap();
    namespaces
        .create(&kube::api::PostParams::default(), &taken)
        .await
        .unwrap();
    let ran = world
        .run("  namespaces: [blue]\n  steps:\n  - title: Never\n    expect: ['a is a']\n")
        .await;
    assert!(
        matches!(&ran.outcome, CaseOutcome::Broken { reason } if reason.starts_with("namespace/blue exists already"))
    );
    assert!(namespaces.get_opt("blue").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_what_is_required_is_skipped_with_the_reason() {
    let world = World::new().await;
    let ran = world.run("  requires: {sdn: kube-ovn, workers: 3, vms: true}\n  steps:\n  - title: Never\n    expect: ['a is a']\n").await;
    let reason = "the site test lacks kube-ovn (it has ovn-kubernetes), 3 nodes for ordinary pods (it has 2), virtual machines";
    assert_eq!(
        ran.outcome,
        CaseOutcome::Skipped {
            reason: reason.into()
        }
    );
    assert_eq!(
        ran.outcomes(),
        [StepOutcome::Skipped {
            reason: reason.into()
        }]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_uploaded_where_the_site_has_none_and_restarted_when_it_dies() {
    let mut world = World::new().await;
    world.delivery = AgentDelivery::Upload(Upload {
        program: std::fs::read(support::agent::path()).unwrap().into(),
        helper: None,
    });
    world.manifest("client.yaml", &pod("client", "ready"));
    // The parent of what the agent runs is the agent.
    let kill = "sh -c \"kill -9 $PPID\"";
    let ran = world
        .run(&format!("{CLIENT}  - title: It works\n    from: pod/blue/client\n    exec: echo hello\n    expect: {{stdout: {{contains: hello}}}}\n  - title: It dies, twice\n    from: pod/blue/client\n    exec: '{kill}'\n"))
        .await;
    let failure = ran.failure();
    assert_eq!(failure.kind, FailureKind::Environment);
    assert!(
        failure
            .got
            .starts_with("the agent in pod/blue/client container main died twice"),
        "{}",
        failure.got
    );
    assert!(matches!(ran.outcome, CaseOutcome::Broken { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_secret_holds_is_in_no_event() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "ready"));
    world.manifest("secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: blue}\nstringData: {password: cowabunga}\n");
    let ran = world
        .run(&format!("{CLIENT}  - title: A secret\n    apply: secret.yaml\n  - title: Told\n    from: pod/blue/client\n    exec: echo cowabunga\n    expect: {{stdout: {{contains: cowa}}}}\n"))
        .await;
    let text = serde_json::to_string(&ran.passed().events).unwrap();
    assert!(!text.contains("cowabunga") && text.contains("***"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_io_costs_next_to_nothing() {
    const STEPS: u32 = 100;
    let world = World::new().await;
    let steps = "  - title: A step\n    expect: ['a is a']\n".repeat(STEPS as usize);
    let ran = world.run(&format!("  steps:\n{steps}")).await;
    let took = ran.passed().of(|kind| match kind {
        EventKind::CaseFinished { took, .. } => Some(*took),
        _ => None,
    });
    // Told, not judged: a loaded machine must not turn a test red.
    println!("engine overhead: {:?} per step", took[0] / STEPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_of_all_steps_share_one_agent() {
    let world = World::new().await;
    world.manifest("client.yaml", &pod("client", "ready"));
    let parent = "sh -c \"echo $PPID\"";
    let probe = format!(
        "    from: pod/blue/client\n    together: [{{exec: '{parent}'}}, {{exec: '{parent}'}}]\n"
    );
    let ran = world
        .run(&format!(
            "{CLIENT}  - title: Once\n{probe}  - title: Again\n{probe}"
        ))
        .await;
    let said = ran.passed().of(|kind| match kind {
        EventKind::ProbeFinished {
            verdict: Verdict { got, .. },
            ..
        } => Some(got.clone()),
        _ => None,
    });
    assert_eq!(said.len(), 4);
    assert!(said.iter().all(|got| *got == said[0]), "{said:?}");
}
