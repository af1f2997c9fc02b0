//! The status the kubelet reports, as a pure function of what it knows.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::net::IpAddr;

use super::policy::Restart;
use super::qos::qos_class;
use crate::refs::Kind;

/// One container as the status shows it.
#[derive(Debug, Clone)]
pub(crate) struct SlotView<'a> {
    pub spec: &'a Container,
    pub kind: Kind,
    pub state: StateView<'a>,
    pub last: Option<&'a ContainerStateTerminated>,
    pub restarts: i32,
    pub started: bool,
    pub ready: bool,
    pub container_id: Option<String>,
    pub image: Option<&'a str>,
    pub image_id: &'a str,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StateView<'a> {
    /// Without a reason while nothing has been tried yet.
    Waiting {
        reason: Option<&'a str>,
        message: Option<&'a str>,
    },
    Running(Timestamp),
    Terminated(&'a ContainerStateTerminated),
}

/// Everything a status is made of.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub pod: &'a Pod,
    pub host_ip: IpAddr,
    pub pod_ips: &'a [IpAddr],
    pub sandbox_ready: bool,
    pub slots: Vec<SlotView<'a>>,
    /// The pod is being deleted and nothing of it runs any more.
    pub stopped: bool,
    /// Why the pod failed as a whole, such as `DeadlineExceeded`.
    pub failure: Option<(&'static str, String)>,
    pub start_time: Timestamp,
    pub now: Timestamp,
}

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The phase, by the kubelet's rules.
pub(crate) fn phase(view: &View<'_>) -> Phase {
    if view.failure.is_some() {
        return Phase::Failed;
    }
    let restart = Restart::of(view.pod);
    for slot in view.slots.iter().filter(|s| s.kind != Kind::Main) {
        let failed = match &slot.state {
            StateView::Terminated(end) => end.exit_code != 0,
            StateView::Waiting { .. } => slot.last.is_some_and(|l| l.exit_code != 0),
            StateView::Running(_) => false,
        };
        match slot.kind {
            Kind::Init if failed && restart == Restart::Never => return Phase::Failed,
            Kind::Init if !slot.ready && !view.stopped => return Phase::Pending,
            Kind::Sidecar if !slot.started && !mains_begun(view) && !view.stopped => {
                return Phase::Pending;
            }
            _ => {}
        }
    }
    let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for slot in view.slots.iter().filter(|s| s.kind == Kind::Main) {
        match &slot.state {
            StateView::Running(_) => running += 1,
            StateView::Terminated(end) => {
                stopped += 1;
                succeeded += i32::from(end.exit_code == 0);
            }
            StateView::Waiting { .. } if slot.last.is_some() => stopped += 1,
            StateView::Waiting { .. } => waiting += 1,
        }
    }
    if view.stopped {
        return if stopped > 0 && stopped == succeeded {
            Phase::Succeeded
        } else {
            Phase::Failed
        };
    }
    match (running, waiting, stopped) {
        (_, 1.., _) => Phase::Pending,
        (1.., _, _) => Phase::Running,
        (0, _, 1..) => match restart {
            Restart::Always => Phase::Running,
            _ if stopped == succeeded => Phase::Succeeded,
            Restart::Never => Phase::Failed,
            Restart::OnFailure => Phase::Running,
        },
        _ => Phase::Pending,
    }
}

fn mains_begun(view: &View<'_>) -> bool {
    view.slots
        .iter()
        .any(|s| s.kind == Kind::Main && (s.container_id.is_some() || s.last.is_some()))
}

/// The whole status.
pub(crate) fn pod_status(view: &View<'_>) -> PodStatus {
    let phase = phase(view);
    let has_init = view.slots.iter().any(|s| s.kind != Kind::Main);
    let initialized = init_done(view);
    let statuses = |main: bool| -> Vec<ContainerStatus> {
        view.slots
            .iter()
            .filter(|s| (s.kind == Kind::Main) == main)
            .map(|s| container_status(s, has_init && !initialized))
            .collect()
    };
    let previous = view.pod.status.clone().unwrap_or_default();
    let init = statuses(false);
    PodStatus {
        phase: Some(phase.as_str().to_owned()),
        conditions: Some(conditions(
            view,
            phase,
            previous.conditions.as_deref().unwrap_or_default(),
        )),
        container_statuses: Some(statuses(true)),
        init_container_statuses: (!init.is_empty()).then_some(init),
        host_ip: Some(view.host_ip.to_string()),
        host_ips: Some(vec![HostIP {
            ip: view.host_ip.to_string(),
        }]),
        pod_ip: view.pod_ips.first().map(ToString::to_string),
        pod_ips: (!view.pod_ips.is_empty()).then(|| {
            view.pod_ips
                .iter()
                .map(|ip| PodIP { ip: ip.to_string() })
                .collect()
        }),
        qos_class: previous
            .qos_class
            .or_else(|| Some(qos_class(view.pod).to_owned())),
        start_time: Some(Time(view.start_time)),
        observed_generation: view.pod.metadata.generation,
        reason: view
            .failure
            .as_ref()
            .map(|(reason, _)| (*reason).to_owned()),
        message: view.failure.as_ref().map(|(_, message)| message.clone()),
        ..PodStatus::default()
    }
}

fn container_status(slot: &SlotView<'_>, initializing: bool) -> ContainerStatus {
    let state = match &slot.state {
        StateView::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(
                    reason
                        .unwrap_or(if initializing {
                            "PodInitializing"
                        } else {
                            "ContainerCreating"
                        })
                        .to_owned(),
                ),
                message: message.map(str::to_owned),
            }),
            ..ContainerState::default()
        },
        StateView::Running(since) => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(*since)),
            }),
            ..ContainerState::default()
        },
        StateView::Terminated(end) => ContainerState {
            terminated: Some((*end).clone()),
            ..ContainerState::default()
        },
    };
    let resources = slot.spec.resources.clone().unwrap_or_default();
    ContainerStatus {
        name: slot.spec.name.clone(),
        image: slot
            .image
            .map(str::to_owned)
            .or_else(|| slot.spec.image.clone())
            .unwrap_or_default(),
        image_id: slot.image_id.to_owned(),
        container_id: slot.container_id.clone(),
        state: Some(state),
        last_state: Some(ContainerState {
            terminated: slot.last.cloned(),
            ..ContainerState::default()
        }),
        ready: slot.ready,
        started: Some(slot.started),
        restart_count: slot.restarts,
        allocated_resources: resources
            .requests
            .clone()
            .filter(|_| slot.container_id.is_some()),
        resources: slot.container_id.is_some().then_some(resources),
        volume_mounts: slot.spec.volume_mounts.as_ref().map(|mounts| {
            mounts
                .iter()
                .map(|m| VolumeMountStatus {
                    name: m.name.clone(),
                    mount_path: m.mount_path.clone(),
                    read_only: m.read_only.filter(|r| *r),
                    recursive_read_only: m.read_only.filter(|r| *r).map(|_| {
                        m.recursive_read_only
                            .clone()
                            .unwrap_or_else(|| "Disabled".to_owned())
                    }),
                })
                .collect()
        }),
        ..ContainerStatus::default()
    }
}

fn init_done(view: &View<'_>) -> bool {
    view.slots.iter().all(|s| match s.kind {
        Kind::Init => s.ready,
        Kind::Sidecar => s.started || mains_begun(view),
        Kind::Main => true,
    })
}

struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes(kind: &'static str) -> Self {
        Self {
            kind,
            holds: true,
            reason: None,
            message: None,
        }
    }

    fn no(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self {
            kind,
            holds: false,
            reason: Some(reason),
            message,
        }
    }
}

fn conditions(view: &View<'_>, phase: Phase, before: &[PodCondition]) -> Vec<PodCondition> {
    let sandbox = Verdict {
        kind: "PodReadyToStartContainers",
        holds: view.sandbox_ready,
        reason: None,
        message: None,
    };
    [
        sandbox,
        initialized(view, phase),
        ready(view, phase, before),
        containers_ready("ContainersReady", view, phase),
        Verdict::yes("PodScheduled"),
    ]
    .into_iter()
    .map(|verdict| {
        let status = if verdict.holds { "True" } else { "False" };
        let old = before.iter().find(|c| c.type_ == verdict.kind);
        let since = old
            .filter(|c| c.status == status)
            .and_then(|c| c.last_transition_time.clone());
        PodCondition {
            type_: verdict.kind.to_owned(),
            status: status.to_owned(),
            last_probe_time: None,
            last_transition_time: Some(since.unwrap_or(Time(view.now))),
            reason: verdict.reason.map(str::to_owned),
            message: verdict.message,
            observed_generation: view.pod.metadata.generation,
        }
    })
    .collect()
}

fn initialized(view: &View<'_>, phase: Phase) -> Verdict {
    if init_done(view) {
        return match phase {
            Phase::Succeeded => Verdict {
                reason: Some("PodCompleted"),
                ..Verdict::yes("Initialized")
            },
            _ => Verdict::yes("Initialized"),
        };
    }
    let names: Vec<_> = view
        .slots
        .iter()
        .filter(|s| match s.kind {
            Kind::Init => !s.ready,
            Kind::Sidecar => !s.started,
            Kind::Main => false,
        })
        .map(|s| s.spec.name.as_str())
        .collect();
    Verdict::no(
        "Initialized",
        "ContainersNotInitialized",
        Some(format!(
            "containers with incomplete status: [{}]",
            names.join(" ")
        )),
    )
}

fn containers_ready(kind: &'static str, view: &View<'_>, phase: Phase) -> Verdict {
    match phase {
        Phase::Succeeded => return Verdict::no(kind, "PodCompleted", None),
        Phase::Failed => return Verdict::no(kind, "PodFailed", None),
        Phase::Pending | Phase::Running => {}
    }
    let unready: Vec<_> = view
        .slots
        .iter()
        .filter(|s| s.kind != Kind::Init && !s.ready)
        .map(|s| s.spec.name.as_str())
        .collect();
    if unready.is_empty() {
        Verdict::yes(kind)
    } else {
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        Verdict::no(kind, "ContainersNotReady", Some(message))
    }
}

fn ready(view: &View<'_>, phase: Phase, before: &[PodCondition]) -> Verdict {
    let containers = containers_ready("Ready", view, phase);
    if !containers.holds {
        return containers;
    }
    let gates = view
        .pod
        .spec
        .iter()
        .flat_map(|s| s.readiness_gates.iter().flatten());
    let mut closed = Vec::new();
    for gate in gates {
        let name = &gate.condition_type;
        match before.iter().find(|c| c.type_ == *name) {
            None => closed.push(format!(
                "corresponding condition of pod readiness gate {name:?} does not exist."
            )),
            Some(c) if c.status != "True" => closed.push(format!(
                "the status of pod readiness gate {name:?} is not \"True\", but {}",
                c.status
            )),
            Some(_) => {}
        }
    }
    if closed.is_empty() {
        Verdict::yes("Ready")
    } else {
        Verdict::no("Ready", "ReadinessGatesNotReady", Some(closed.join(", ")))
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
