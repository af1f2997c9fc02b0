use rstest::rstest;
use serde_json::json;

use super::*;

fn pod(restart: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "generation": 1},
        "spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]},
    }))
    .unwrap()
}

fn ended(code: i32) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: code,
        reason: Some("Error".to_owned()),
        ..ContainerStateTerminated::default()
    }
}

/// A container in a state named by one letter: `w`aiting, `b`acking off after a failure, `r`unning, `R`eady,
/// `0` ended well, `1` ended badly.
fn slot<'a>(
    spec: &'a Container,
    kind: Kind,
    state: char,
    ends: &'a [ContainerStateTerminated; 2],
) -> SlotView<'a> {
    let waiting = |reason| StateView::Waiting {
        reason,
        message: None,
    };
    let (state_view, last, ready) = match state {
        'b' => (waiting(Some("CrashLoopBackOff")), Some(&ends[1]), false),
        'r' => (StateView::Running(Timestamp::UNIX_EPOCH), None, false),
        'R' => (StateView::Running(Timestamp::UNIX_EPOCH), None, true),
        '0' => (StateView::Terminated(&ends[0]), None, kind == Kind::Init),
        '1' => (StateView::Terminated(&ends[1]), None, false),
        _ => (waiting(None), None, false),
    };
    SlotView {
        spec,
        kind,
        started: matches!(state, 'r' | 'R'),
        container_id: (state != 'w').then(|| "containerd://0".to_owned()),
        image: None,
        image_id: "",
        restarts: 0,
        state: state_view,
        last,
        ready,
    }
}

fn with_view<T>(
    restart: &str,
    init: &str,
    main: &str,
    stopped: bool,
    f: impl FnOnce(&View<'_>) -> T,
) -> T {
    let pod = pod(restart);
    let ends = [ended(0), ended(1)];
    let containers: Vec<Container> = (0..init.len() + main.len())
        .map(|i| Container {
            name: format!("c{i}"),
            image: Some("i".to_owned()),
            ..Container::default()
        })
        .collect();
    let kinds = init
        .chars()
        .map(|c| (Kind::Init, c))
        .chain(main.chars().map(|c| (Kind::Main, c)));
    let slots = containers
        .iter()
        .zip(kinds)
        .map(|(spec, (kind, state))| slot(spec, kind, state, &ends))
        .collect();
    f(&View {
        pod: &pod,
        host_ip: "172.18.0.3".parse().unwrap(),
        pod_ips: &["10.244.1.4".parse().unwrap()],
        sandbox_ready: true,
        slots,
        stopped,
        failure: None,
        start_time: Timestamp::UNIX_EPOCH,
        now: Timestamp::UNIX_EPOCH,
    })
}

#[rstest]
#[case("Always", "", "w", Phase::Pending)]
#[case("Always", "", "r", Phase::Running)]
#[case("Always", "", "rw", Phase::Pending)]
#[case("Always", "", "b", Phase::Running)]
#[case("Always", "", "0", Phase::Running)]
#[case("OnFailure", "", "0", Phase::Succeeded)]
#[case("OnFailure", "", "01", Phase::Running)]
#[case("Never", "", "01", Phase::Failed)]
#[case("Never", "", "00", Phase::Succeeded)]
#[case("Never", "", "1r", Phase::Running)]
#[case("Never", "1", "w", Phase::Failed)]
#[case("Always", "b", "w", Phase::Pending)]
#[case("Always", "0r", "w", Phase::Pending)]
#[case("Always", "00", "R", Phase::Running)]
fn phases(#[case] restart: &str, #[case] init: &str, #[case] main: &str, #[case] expected: Phase) {
    assert_eq!(with_view(restart, init, main, false, phase), expected);
}

#[rstest]
#[case("0", Phase::Succeeded)]
#[case("1", Phase::Failed)]
#[case("w", Phase::Failed)]
fn deleted_pods_end(#[case] main: &str, #[case] expected: Phase) {
    assert_eq!(with_view("Always", "", main, true, phase), expected);
}

#[rstest]
#[case(
    "",
    "R",
    "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled"
)]
#[case(
    "",
    "Rr",
    "PodReadyToStartContainers Initialized !Ready(ContainersNotReady: containers with unready status: [c1]) !ContainersReady(ContainersNotReady: containers with unready status: [c1]) PodScheduled"
)]
#[case(
    "r",
    "w",
    "PodReadyToStartContainers !Initialized(ContainersNotInitialized: containers with incomplete status: [c0]) !Ready(ContainersNotReady: containers with unready status: [c1]) !ContainersReady(ContainersNotReady: containers with unready status: [c1]) PodScheduled"
)]
fn condition_texts(#[case] init: &str, #[case] main: &str, #[case] expected: &str) {
    let status = with_view("Always", init, main, false, pod_status);
    let text: Vec<_> = status
        .conditions
        .unwrap()
        .into_iter()
        .map(|c| match (c.status.as_str(), c.reason, c.message) {
            ("True", _, _) => c.type_,
            (_, Some(reason), Some(message)) => format!("!{}({reason}: {message})", c.type_),
            (_, reason, _) => format!("!{}({})", c.type_, reason.unwrap_or_default()),
        })
        .collect();
    assert_eq!(text.join(" "), expected);
}

#[test]
fn a_running_pod_as_upstream_writes_it() {
    let status = with_view("Always", "0", "R", false, pod_status);
    insta::assert_json_snapshot!("running_pod", status);
}

#[test]
fn transition_times_stay() {
    let mut first = with_view("Always", "", "R", false, pod_status);
    for condition in first.conditions.iter_mut().flatten() {
        condition.last_transition_time = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    }
    let mut pod = pod("Always");
    pod.status = Some(first.clone());
    let again = with_view("Always", "", "R", false, |view| {
        pod_status(&View {
            pod: &pod,
            pod_ips: view.pod_ips,
            slots: view.slots.clone(),
            failure: None,
            ..*view
        })
    });
    assert_eq!(again.conditions, first.conditions);
}
