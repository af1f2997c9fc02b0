//! What a run will do, worked out before it does anything: order of objects, deadlines, number of attempts.
//!
//! Pure; [`Plan`] displays as text, which is what `--plan` shows and the golden tests hold.

use std::{fmt, time::Duration};

use camino::Utf8Path;
use serde_json::Value;
use trunkline_scenario::{
    ManifestObject, duration,
    model::{
        Action, Call, Outcome, Probe, Scenario, Step, TimeoutKind, Timeouts, UntilSpec, Way,
        canonical_kind,
    },
};

use crate::{
    convert,
    events::{Location, Phase, StepId},
    objects::order,
};

/// Everything a case does, in order.
#[derive(Clone, Debug)]
pub struct Plan<'s> {
    pub scenario: &'s Scenario,
    /// For everything but `finally`.
    pub deadline: Duration,
    /// For `finally` and removing what was created.
    pub cleanup: Duration,
    pub steps: Vec<PlannedStep<'s>>,
    pub catch: Vec<PlannedStep<'s>>,
    pub finally: Vec<PlannedStep<'s>>,
}

#[derive(Clone, Debug)]
pub struct PlannedStep<'s> {
    pub id: StepId,
    pub step: &'s Step,
    /// For applying or deleting.
    pub action_timeout: Duration,
    /// For each `until` that does not say otherwise.
    pub until_timeout: Duration,
    /// The same for one about virtual machines.
    pub machine_timeout: Duration,
    pub capture_timeout: Duration,
    /// Attempts, the first included.
    pub attempts: u32,
    /// What `apply` or `delete` names, in the order in which it is sent.
    pub objects: Vec<PlannedObject<'s>>,
    pub probes: Vec<PlannedProbe<'s>>,
}

#[derive(Clone, Debug)]
pub struct PlannedObject<'s> {
    pub api_version: &'s str,
    pub kind: &'s str,
    /// As the manifest has it; whether the kind has one is only known by the API.
    pub namespace: Option<&'s str>,
    pub name: Option<&'s str>,
    pub manifest: &'s ManifestObject,
}

#[derive(Clone, Debug)]
pub struct PlannedProbe<'s> {
    pub probe: &'s Probe,
    pub timeout: Duration,
    pub attempts: u32,
}

impl<'s> Plan<'s> {
    pub fn new(scenario: &'s Scenario) -> Self {
        let timeouts = &scenario.spec.timeouts;
        let phase = |phase: Phase, steps: &'s [Step]| {
            let planned = steps
                .iter()
                .enumerate()
                .map(|(index, step)| planned(scenario, StepId { phase, index }, step));
            planned.collect()
        };
        Self {
            scenario,
            deadline: timeouts.get(TimeoutKind::Scenario),
            cleanup: timeouts.get(TimeoutKind::Cleanup),
            steps: phase(Phase::Steps, &scenario.spec.steps),
            catch: phase(Phase::Catch, &scenario.spec.catch),
            finally: phase(Phase::Finally, &scenario.spec.finally),
        }
    }
}

impl PlannedStep<'_> {
    pub fn location(&self) -> Location {
        convert::location(&self.step.at)
    }

    /// How long this `until` may take to become true.
    pub fn until(&self, until: &UntilSpec) -> Duration {
        until.timeout().unwrap_or(if about_machines(until) {
            self.machine_timeout
        } else {
            self.until_timeout
        })
    }
}

/// Whether a condition is about virtual machines, which take their time.
fn about_machines(until: &UntilSpec) -> bool {
    let subject = match until {
        UntilSpec::Sentence(sentence) => sentence.to_string(),
        UntilSpec::Fields { object, .. } => object.to_string(),
    };
    let kind = subject.split(['/', ' ']).next().unwrap_or_default();
    matches!(canonical_kind(&kind.to_ascii_lowercase()), "vm" | "vmi")
}

/// How long machines may take: their own entry, or the one for everything that is waited for.
pub(crate) fn machine_timeout(timeouts: &Timeouts) -> Duration {
    let own = [TimeoutKind::Machine, TimeoutKind::Until]
        .into_iter()
        .find_map(|kind| timeouts.own(kind));
    own.map_or_else(|| TimeoutKind::Machine.default_duration(), |own| own.value)
}

impl PlannedObject<'_> {
    pub fn location(&self) -> Location {
        convert::line(self.manifest.at())
    }
}

fn planned<'s>(scenario: &'s Scenario, id: StepId, step: &'s Step) -> PlannedStep<'s> {
    let timeouts = &scenario.spec.timeouts;
    let own = step.timeout.as_ref().map(|timeout| timeout.value);
    let layered = |kind: TimeoutKind| own.unwrap_or_else(|| timeouts.get(kind));
    let (objects, probes, action_timeout) = match &step.action {
        Action::Apply(apply) => {
            let namespace = apply
                .namespace
                .as_ref()
                .map(|namespace| namespace.value.as_str());
            let files = apply
                .files
                .iter()
                .flat_map(|file| objects_of(scenario, file, namespace));
            let mut objects: Vec<_> = files.collect();
            // Stable: what the order does not care about stays as it is in the files.
            objects.sort_by_key(|object| order::rank(object.api_version, object.kind));
            (objects, Vec::new(), layered(TimeoutKind::Apply))
        }
        Action::Delete(delete) => {
            let namespace = delete
                .namespace
                .as_ref()
                .map(|namespace| namespace.value.as_str());
            let files = delete.targets.iter().filter_map(|target| match target {
                trunkline_scenario::model::Target::File(file) => Some(file),
                trunkline_scenario::model::Target::Object(_) => None,
            });
            let objects = files
                .flat_map(|file| objects_of(scenario, file, namespace))
                .collect();
            (objects, Vec::new(), layered(TimeoutKind::Delete))
        }
        Action::Probe(probes) => {
            let probes = probes.iter().map(|probe| PlannedProbe {
                probe,
                timeout: probe_timeout(probe, own, timeouts),
                attempts: 1 + probe.retry.as_ref().map_or(0, |retry| retry.times),
            });
            (Vec::new(), probes.collect(), Duration::ZERO)
        }
        Action::Run(..) => {
            let time = own.unwrap_or_else(|| machine_timeout(timeouts));
            (Vec::new(), Vec::new(), time)
        }
        Action::Look => (Vec::new(), Vec::new(), Duration::ZERO),
    };
    // Beside probes the step's own time is that of each attempt.
    let waiting = |kind| match step.action {
        Action::Probe(_) => timeouts.get(kind),
        _ => layered(kind),
    };
    PlannedStep {
        id,
        step,
        action_timeout,
        until_timeout: waiting(TimeoutKind::Until),
        machine_timeout: match step.action {
            Action::Probe(_) => machine_timeout(timeouts),
            _ => own.unwrap_or_else(|| machine_timeout(timeouts)),
        },
        capture_timeout: waiting(TimeoutKind::Capture),
        attempts: 1 + step.retry.as_ref().map_or(0, |retry| retry.times),
        objects,
        probes,
    }
}

fn objects_of<'s>(
    scenario: &'s Scenario,
    file: &Utf8Path,
    namespace: Option<&'s str>,
) -> impl Iterator<Item = PlannedObject<'s>> + use<'s> {
    let objects = scenario
        .manifests
        .get(file)
        .map(|manifest| manifest.objects.as_slice())
        .unwrap_or_default();
    objects.iter().map(move |object| {
        let text = |path: &str| object.value.pointer(path).and_then(Value::as_str);
        PlannedObject {
            api_version: text("/apiVersion").unwrap_or_default(),
            kind: text("/kind").unwrap_or_default(),
            namespace: text("/metadata/namespace").or(namespace),
            name: text("/metadata/name"),
            manifest: object,
        }
    })
}

/// The probe's own, else the step's, else the scenario's or the default for its verb. Silence that is expected has a
/// shorter one of its own: it always lasts until the end.
fn probe_timeout(probe: &Probe, step: Option<Duration>, timeouts: &Timeouts) -> Duration {
    let kind = match (&probe.expect.outcome, &probe.call) {
        (Outcome::Unanswered(ways), _) if ways.iter().any(|way| way.way == Way::Blocked) => {
            TimeoutKind::Blocked
        }
        (_, Call::Curl(_)) => TimeoutKind::Curl,
        (_, Call::Ping(_)) => TimeoutKind::Ping,
        (_, Call::Tcp(_)) => TimeoutKind::Tcp,
        (_, Call::Udp(_)) => TimeoutKind::Udp,
        (_, Call::Dns(_)) => TimeoutKind::Dns,
        (_, Call::Exec(_)) => TimeoutKind::Exec,
    };
    probe
        .timeout
        .as_ref()
        .map(|timeout| timeout.value)
        .or(step)
        .unwrap_or_else(|| timeouts.get(kind))
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |time| duration::show(time);
        writeln!(
            f,
            "{} (within {}, cleanup {})",
            self.scenario.full_name(),
            show(self.deadline),
            show(self.cleanup)
        )?;
        for namespace in &self.scenario.spec.namespaces {
            writeln!(f, "  namespace {}", namespace.name)?;
        }
        for step in self.steps.iter().chain(&self.catch).chain(&self.finally) {
            write!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.step.action.verb();
        write!(f, "  {}. {} [{verb}]", self.id, self.step.title)?;
        if self.attempts > 1 {
            write!(f, ", {} attempts", self.attempts)?;
        }
        writeln!(f)?;
        for object in &self.objects {
            let namespace = object
                .namespace
                .map(|namespace| format!("{namespace}/"))
                .unwrap_or_default();
            let name = object.name.unwrap_or("(generated)");
            let within = duration::show(self.action_timeout);
            writeln!(
                f,
                "     {verb} {} {namespace}{name} within {within} ({})",
                object.kind,
                object.location()
            )?;
        }
        if let Action::Run(_, targets) = &self.step.action {
            let within = duration::show(self.action_timeout);
            for target in targets {
                writeln!(f, "     {verb} {target} within {within}")?;
            }
        }
        for planned in &self.probes {
            let within = duration::show(planned.timeout);
            writeln!(
                f,
                "     {} from {} within {within}",
                planned.probe.call.verb(),
                planned.probe.from
            )?;
        }
        for until in &self.step.until {
            let text = match until {
                UntilSpec::Sentence(sentence) => sentence.to_string(),
                UntilSpec::Fields {
                    object, condition, ..
                } => format!("{object} {condition}"),
            };
            writeln!(
                f,
                "     until {text} within {}",
                duration::show(self.until(until))
            )?;
        }
        for capture in &self.step.lets {
            writeln!(
                f,
                "     let {} within {}",
                capture.name,
                duration::show(self.capture_timeout)
            )?;
        }
        for statement in &self.step.statements {
            writeln!(f, "     expect {statement}")?;
        }
        Ok(())
    }
}
