//! What is compared of a run, gathered from its events.

use std::collections::BTreeMap;

use trunkline_engine::events::{
    CaseId, CaseOutcome, Change, Event, EventKind, Failure, StepId, StepInfo, StepOutcome,
};

/// What came of the cases on one site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub site: String,
    /// In the order in which they ended up in the events.
    pub cases: Vec<(CaseId, ObservedCase)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedCase {
    pub outcome: Option<CaseOutcome>,
    pub steps: BTreeMap<StepId, ObservedStep>,
    /// Captured texts and numbers by name and field: `server.ip`.
    pub captures: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedStep {
    pub title: String,
    pub outcome: Option<StepOutcome>,
    /// What applying each object did to it.
    pub changes: Vec<(String, Change)>,
    /// What the API said where it had to refuse.
    pub refusals: Vec<String>,
    pub probes: Vec<ObservedProbe>,
    /// What the network said. Sites differ in what they can know, so this is not compared.
    evidence: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservedProbe {
    pub from: String,
    pub description: String,
    pub passed: bool,
    pub expected: String,
    pub got: String,
}

impl ObservedProbe {
    fn asks_as(&self, other: &Self) -> bool {
        (&self.from, &self.description, &self.expected)
            == (&other.from, &other.description, &other.expected)
    }
}

/// How the engine begins to tell of a refusal that was expected.
const REFUSED: &str = "refused, as expected: ";

impl Observed {
    pub fn new(site: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            cases: Vec::new(),
        }
    }

    /// Takes an event in.
    pub fn event(&mut self, event: &Event) {
        let Some(id) = &event.case else { return };
        let index = self.cases.iter().position(|(known, _)| known == id);
        let index = index.unwrap_or_else(|| {
            self.cases.push((id.clone(), ObservedCase::default()));
            self.cases.len() - 1
        });
        self.cases[index].1.event(event);
    }

    pub fn case(&self, id: &CaseId) -> Option<&ObservedCase> {
        self.cases
            .iter()
            .find_map(|(known, case)| (known == id).then_some(case))
    }
}

impl ObservedCase {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::CaseStarted { steps, .. } => {
                self.steps = steps
                    .iter()
                    .map(|StepInfo { id, title, .. }| {
                        let title = title.clone();
                        (
                            *id,
                            ObservedStep {
                                title,
                                ..ObservedStep::default()
                            },
                        )
                    })
                    .collect();
            }
            EventKind::CaseFinished { outcome, .. } => self.outcome = Some(outcome.clone()),
            EventKind::Captured { name, value } => flatten(name, value, &mut self.captures),
            _ => {}
        }
        if let Some(step) = event.step.and_then(|id| self.steps.get_mut(&id)) {
            step.event(&event.kind);
        }
    }
}

impl ObservedStep {
    fn event(&mut self, kind: &EventKind) {
        match kind {
            // How many attempts it took is a matter of time: of an object the first change counts, of a probe the last
            // answer.
            EventKind::ObjectApplied { object, change, .. } => {
                let object = object.to_string();
                if !self.changes.iter().any(|(known, _)| *known == object) {
                    self.changes.push((object, *change));
                }
            }
            EventKind::StepProgress { message } => {
                let refusal = message.strip_prefix(REFUSED).map(str::to_owned);
                let new = refusal.filter(|refusal| !self.refusals.contains(refusal));
                self.refusals.extend(new);
            }
            EventKind::ProbeFinished {
                from,
                description,
                verdict,
                ..
            } => {
                let probe = ObservedProbe {
                    from: from.clone(),
                    description: description.clone(),
                    passed: verdict.passed,
                    expected: verdict.expected.clone(),
                    got: verdict.got.clone(),
                };
                self.probes.retain(|earlier| !earlier.asks_as(&probe));
                self.probes.push(probe);
            }
            EventKind::Evidence(evidence) => self.evidence.push(evidence.summary.clone()),
            EventKind::StepFinished { outcome, .. } => self.outcome = Some(outcome.clone()),
            _ => {}
        }
    }

    /// The reasons of a failure that are not the evidence of a probe.
    pub(super) fn reasons(&self, failure: &Failure) -> String {
        let own = failure
            .why
            .iter()
            .filter(|why| !self.evidence.contains(why));
        own.map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

fn flatten(path: &str, value: &serde_json::Value, into: &mut BTreeMap<String, String>) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, into);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                flatten(&format!("{path}.{index}"), value, into);
            }
        }
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        Value::Number(number) => {
            into.insert(path.to_owned(), number.to_string());
        }
        Value::Null | Value::Bool(_) => {}
    }
}
