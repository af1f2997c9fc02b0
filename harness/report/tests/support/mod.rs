//! A stream made by hand, with a clock that stands still, for the snapshots of every report.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use trunkline_engine::events::{
    CaseId, CaseOutcome, Change, Convergence, Event, EventKind, Evidence, EvidenceSource, Failure,
    FailureKind, Location, Mismatch, ObjectRef, Phase, RunId, StepId, StepInfo, StepOutcome,
    VERSION, Verdict,
};

/// Makes events one second apart.
pub struct Stream {
    events: Vec<Event>,
    case: Option<CaseId>,
    step: Option<StepId>,
}

pub fn at(line: usize) -> Location {
    Location {
        file: "scenarios/overlay/ipam-pods.yaml".into(),
        line,
        column: Some(5),
    }
}

pub fn step(index: usize, title: &str, verb: &str) -> StepInfo {
    let id = StepId {
        phase: Phase::Steps,
        index,
    };
    StepInfo {
        id,
        title: title.into(),
        verb: verb.into(),
        at_line: at(20 + 5 * index),
    }
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Stream {
    pub fn new(cases: usize) -> Self {
        let mut stream = Self {
            events: Vec::new(),
            case: None,
            step: None,
        };
        stream.push(EventKind::RunStarted {
            version: "0.1.0".into(),
            site: "lab".into(),
            cases,
        });
        stream
    }

    pub fn push(&mut self, kind: EventKind) {
        let at: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = at + Duration::from_secs(self.events.len() as u64);
        let run = RunId::new("r7kq2vxw9c").unwrap();
        self.events.push(Event {
            v: VERSION,
            at,
            run,
            case: self.case.clone(),
            step: self.step,
            kind,
        });
    }

    pub fn case(
        &mut self,
        name: &str,
        title: &str,
        parameters: &[(&str, &str)],
        steps: Vec<StepInfo>,
    ) {
        let values: Vec<_> = parameters.iter().map(|(_, value)| *value).collect();
        let values = if values.is_empty() {
            String::new()
        } else {
            format!("[{}]", values.join(","))
        };
        self.case = Some(CaseId(format!("{name}{values}")));
        let parameters: BTreeMap<_, _> = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.push(EventKind::CaseStarted {
            scenario: name.into(),
            title: title.into(),
            at_line: at(4),
            parameters,
            steps,
        });
    }

    /// A step with what happens in it.
    pub fn step(
        &mut self,
        info: &StepInfo,
        took: u64,
        outcome: StepOutcome,
        inside: Vec<EventKind>,
    ) {
        self.step = Some(info.id);
        if !matches!(outcome, StepOutcome::Skipped { .. }) {
            let StepInfo {
                title,
                verb,
                at_line,
                ..
            } = info.clone();
            self.push(EventKind::StepStarted {
                title,
                verb,
                at_line,
            });
        }
        for kind in inside {
            self.push(kind);
        }
        self.push(EventKind::StepFinished {
            outcome,
            took: millis(took),
        });
        self.step = None;
    }

    pub fn end_case(&mut self, outcome: CaseOutcome, took: u64) {
        self.push(EventKind::CaseFinished {
            outcome,
            took: millis(took),
        });
        self.case = None;
    }

    pub fn end(mut self, took: u64) -> Vec<Event> {
        self.push(EventKind::RunFinished { took: millis(took) });
        self.events
    }
}

pub fn probe(
    number: u64,
    url: &str,
    expected: &str,
    got: &str,
    mismatches: Vec<Mismatch>,
) -> Vec<EventKind> {
    let (from, description) = ("pod/tenantblue/podclient".to_owned(), format!("curl {url}"));
    let verdict = Verdict {
        passed: mismatches.is_empty(),
        expected: expected.into(),
        got: got.into(),
        mismatches,
    };
    vec![
        EventKind::ProbeSent {
            probe: number,
            from: from.clone(),
            description: description.clone(),
        },
        EventKind::ProbeFinished {
            probe: number,
            from,
            description,
            verdict,
            took: millis(3),
        },
    ]
}

fn pod(name: &str) -> ObjectRef {
    ObjectRef {
        kind: "pod".into(),
        namespace: Some("tenantblue".into()),
        name: name.into(),
    }
}

/// One case: everything passes.
pub fn passing() -> Vec<Event> {
    let steps = vec![
        step(0, "Attach both tenants to one network", "apply"),
        step(1, "The blue server answers across tenants", "curl"),
    ];
    let mut stream = Stream::new(1);
    stream.case(
        "overlay-ipam",
        "Two tenants share one overlay",
        &[],
        steps.clone(),
    );
    let manifest = Some(Location {
        file: "manifests/overlay/02-workloads.yaml".into(),
        line: 12,
        column: None,
    });
    stream.step(
        &steps[0],
        1234,
        StepOutcome::Passed,
        vec![
            EventKind::ObjectApplied {
                object: pod("blue-server"),
                change: Change::Created,
                manifest,
            },
            EventKind::ObjectWaiting {
                object: pod("blue-server"),
                condition: "pods in tenantblue are Ready".into(),
                state: "Pending, container http-server waits: ContainerCreating".into(),
            },
            EventKind::Converged(Convergence {
                took: millis(12),
                zones: BTreeMap::new(),
            }),
        ],
    );
    let answered = probe(
        1,
        "http://192.168.200.4:9000/hostname",
        "body \"blue-server\"",
        "status 200, body \"blue-server\"",
        vec![],
    );
    stream.step(&steps[1], 9, StepOutcome::Passed, answered);
    stream.end_case(CaseOutcome::Passed, 1300);
    stream.end(1310)
}

/// Two cases: one fails with everything a failure can say, is retried, warns and skips; one breaks; one is skipped;
/// one is known to fail.
#[allow(clippy::too_many_lines, reason = "one story, told in order")]
pub fn failing() -> Vec<Event> {
    let mut stream = Stream::new(4);
    let steps = vec![
        step(0, "The policy closes the server", "curl"),
        step(1, "Never reached", "curl"),
        StepInfo {
            id: StepId {
                phase: Phase::Finally,
                index: 0,
            },
            ..step(2, "Take the policy away", "delete")
        },
    ];
    stream.case(
        "policies",
        "Policies close everything but the adapter",
        &[("topology", "layer2")],
        steps.clone(),
    );
    let mismatch = Mismatch {
        part: "outcome".into(),
        expected: "blocked by networkpolicy/a/b".into(),
        got: "status 200".into(),
    };
    let mut inside = probe(
        1,
        "http://10.244.1.5:9000/",
        "blocked by networkpolicy/a/b",
        "status 200, body \"hi\\u{1b}[31m\"",
        vec![mismatch],
    );
    inside.push(EventKind::Evidence(Evidence {
        probe: Some(1),
        source: EvidenceSource::Trace,
        summary: "the trace ends at port a_b: delivered".into(),
        object: Some(ObjectRef {
            kind: "networkpolicy".into(),
            namespace: Some("a".into()),
            name: "c".into(),
        }),
        detail: "ingress: …".into(),
    }));
    inside.push(EventKind::Warning {
        message: "counters are not available".into(),
        at_line: None,
    });
    let first = Failure::new(FailureKind::Timeout, "waited 2s for: pod/a/b is Ready");
    inside.insert(
        0,
        EventKind::StepRetried {
            attempt: 1,
            of: 2,
            reason: "DHCP needs a moment".into(),
            failures: vec![first],
        },
    );
    let failure = Failure::new(
        FailureKind::Expectation,
        "curl http://10.244.1.5:9000/ from pod/tenantblue/podclient",
    )
    .expected("blocked by networkpolicy/a/b")
    .got("status 200, body \"hi\"")
    .because("the trace ends at port a_b: delivered")
    .at(Some(at(31)))
    .manifest(Some(Location {
        file: "manifests/policy/03.yaml".into(),
        line: 7,
        column: None,
    }))
    .about(pod("podclient"))
    .look_at("policies on either side: kubectl get networkpolicies -A");
    stream.step(
        &steps[0],
        3050,
        StepOutcome::Failed {
            failures: vec![failure],
        },
        inside,
    );
    stream.step(
        &steps[1],
        0,
        StepOutcome::Skipped {
            reason: "step 1 failed".into(),
        },
        vec![],
    );
    stream.step(&steps[2], 40, StepOutcome::Passed, vec![]);
    stream.end_case(CaseOutcome::Failed { failure: None }, 3200);

    let steps = vec![step(0, "Start the client", "apply")];
    stream.case("broken", "A lab that does not start", &[], steps.clone());
    stream.step(
        &steps[0],
        0,
        StepOutcome::Skipped {
            reason: "namespace/a exists already".into(),
        },
        vec![],
    );
    stream.push(EventKind::Warning {
        message: "namespace/b could not be removed".into(),
        at_line: None,
    });
    stream.end_case(
        CaseOutcome::Broken {
            reason: "namespace/a exists already: it was created by the run x".into(),
        },
        20,
    );

    stream.case("machines", "Needs virtual machines", &[], steps.clone());
    let reason = "the site lab lacks virtual machines".to_owned();
    stream.step(
        &steps[0],
        0,
        StepOutcome::Skipped {
            reason: reason.clone(),
        },
        vec![],
    );
    stream.end_case(CaseOutcome::Skipped { reason }, 0);

    stream.case("dhcp", "Layer 3 has no DHCP", &[], steps.clone());
    let known = Failure::new(FailureKind::Timeout, "waited 2s for a lease")
        .expected("a lease")
        .got("none")
        .at(Some(at(9)));
    let reason = "OVN-Kubernetes gives no DHCP on layer 3".to_owned();
    stream.step(
        &steps[0],
        2000,
        StepOutcome::Known {
            reason,
            failures: vec![known],
        },
        vec![],
    );
    stream.end_case(CaseOutcome::Passed, 2010);
    stream.end(5300)
}
