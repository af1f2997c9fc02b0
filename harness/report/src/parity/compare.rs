//! Holding what came of the same cases on several sites against each other.

use std::collections::BTreeSet;

use trunkline_engine::events::{CaseId, CaseOutcome, Change, Failure, StepId, StepOutcome};

use super::{
    CaseParity, CaseState, Difference, Observed, ObservedCase, ObservedProbe, ObservedStep, Parity,
    StepParity, alike::Roles, answer,
};

/// Compares the first site with each of the others.
pub fn compare(sites: &[Observed]) -> Parity {
    let mut ids: Vec<&CaseId> = Vec::new();
    for (id, _) in sites.iter().flat_map(|site| &site.cases) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Parity {
        sites: sites.iter().map(|site| site.site.clone()).collect(),
        cases: ids.into_iter().map(|id| one(id, sites)).collect(),
    }
}

fn one(id: &CaseId, sites: &[Observed]) -> CaseParity {
    let cases: Vec<(&str, Option<&ObservedCase>)> = sites
        .iter()
        .map(|site| (site.site.as_str(), site.case(id)))
        .collect();
    let reasons = |pick: fn(&CaseOutcome) -> Option<String>| -> Vec<(String, String)> {
        let told = cases.iter().filter_map(|(site, case)| {
            let outcome = case.and_then(|case| case.outcome.as_ref());
            let reason = match outcome {
                Some(outcome) => pick(outcome)?,
                None => pick(&CaseOutcome::Cancelled)?,
            };
            Some(((*site).to_owned(), reason))
        });
        told.collect()
    };
    let broken = reasons(|outcome| match outcome {
        CaseOutcome::Broken { reason } => Some(reason.clone()),
        CaseOutcome::Cancelled => Some("the run was interrupted".into()),
        _ => None,
    });
    let skipped = reasons(|outcome| match outcome {
        CaseOutcome::Skipped { reason } => Some(reason.clone()),
        _ => None,
    });
    let unjudged = |state| CaseParity {
        case: id.to_string(),
        state,
        steps: Vec::new(),
    };
    if !broken.is_empty() {
        return unjudged(CaseState::Broken { reasons: broken });
    }
    if !skipped.is_empty() {
        return unjudged(CaseState::Skipped { reasons: skipped });
    }
    let cases: Vec<_> = cases
        .into_iter()
        .filter_map(|(site, case)| Some((site, case?)))
        .collect();
    let steps = steps(&cases);
    let same = steps.iter().all(StepParity::is_same);
    CaseParity {
        case: id.to_string(),
        state: if same {
            CaseState::Same
        } else {
            CaseState::Different
        },
        steps,
    }
}

fn steps(cases: &[(&str, &ObservedCase)]) -> Vec<StepParity> {
    let Some(((ours, first), others)) = cases.split_first() else {
        return Vec::new();
    };
    let ids: BTreeSet<StepId> = cases
        .iter()
        .flat_map(|(_, case)| case.steps.iter())
        // Those of `catch` and `finally` that were not run anywhere have nothing to compare.
        .filter(|(_, step)| step.outcome.is_some())
        .map(|(id, _)| *id)
        .collect();
    let mut steps: Vec<StepParity> = ids
        .iter()
        .map(|id| StepParity {
            step: id.to_string(),
            title: cases
                .iter()
                .find_map(|(_, case)| Some(case.steps.get(id)?.title.clone()))
                .unwrap_or_default(),
            results: cases
                .iter()
                .map(|(_, case)| result(case.steps.get(id)).to_owned())
                .collect(),
            differences: Vec::new(),
        })
        .collect();
    let nothing = ObservedStep::default();
    for (site, case) in others {
        let mut roles = roles((ours, first), (site, case));
        for (id, parity) in ids.iter().zip(&mut steps) {
            let (ours, theirs) = (first.steps.get(id), case.steps.get(id));
            let mut held = Held {
                site,
                roles: &mut roles,
                found: &mut parity.differences,
            };
            held.steps(ours.unwrap_or(&nothing), theirs.unwrap_or(&nothing));
        }
        let whole = (whole(first.outcome.as_ref()), whole(case.outcome.as_ref()));
        if let (Some(last), true) = (steps.last_mut(), whole.0 != whole.1) {
            last.differences.push(Difference {
                what: "the outcome of the case as a whole".into(),
                site: (*site).to_owned(),
                expected: whole.0,
                got: whole.1,
            });
        }
    }
    steps
}

/// What two captures of one name hold plays one role.
fn roles(ours: (&str, &ObservedCase), theirs: (&str, &ObservedCase)) -> Roles {
    let mut roles = Roles::new(ours.0, theirs.0);
    for (name, value) in &ours.1.captures {
        if let Some(other) = theirs.1.captures.get(name) {
            roles.seed(value, other);
        }
    }
    roles
}

/// A step held against the same one of another site.
struct Held<'h> {
    site: &'h str,
    roles: &'h mut Roles,
    found: &'h mut Vec<Difference>,
}

impl Held<'_> {
    fn steps(&mut self, ours: &ObservedStep, theirs: &ObservedStep) {
        let (result_ours, result_theirs) = (result(Some(ours)), result(Some(theirs)));
        self.words("the result", result_ours, result_theirs);
        self.lists(
            "what was applied",
            &ours.changes,
            &theirs.changes,
            |(object, change)| {
                let change = match change {
                    Change::Created => "created",
                    Change::Configured => "configured",
                    Change::Unchanged => "unchanged",
                };
                format!("{object} {change}")
            },
        );
        self.lists(
            "what the API refused",
            &ours.refusals,
            &theirs.refusals,
            Clone::clone,
        );
        self.probes(ours, theirs);
        self.failures(ours, theirs);
    }

    fn probes(&mut self, ours: &ObservedStep, theirs: &ObservedStep) {
        self.words(
            "how many probes were sent",
            &ours.probes.len().to_string(),
            &theirs.probes.len().to_string(),
        );
        for (ours, theirs) in self.pairs(&ours.probes, &theirs.probes) {
            let what = format!("{} from {}", ours.description, ours.from);
            self.words(&format!("the source of {what}"), &ours.from, &theirs.from);
            self.words("a probe", &ours.description, &theirs.description);
            let verdict = |passed: bool| if passed { "passed" } else { "failed" };
            self.words(
                &format!("the verdict on {what}"),
                verdict(ours.passed),
                verdict(theirs.passed),
            );
            self.words(
                &format!("the expectation of {what}"),
                &ours.expected,
                &theirs.expected,
            );
            if !answer::same(self.roles, &ours.expected, &ours.got, &theirs.got) {
                self.differ(&format!("the answer to {what}"), &ours.got, &theirs.got);
            }
        }
    }

    /// Probes of one step run together and end in any order: each of ours with the one of theirs that asks the same.
    fn pairs<'p>(
        &self,
        ours: &'p [ObservedProbe],
        theirs: &'p [ObservedProbe],
    ) -> Vec<(&'p ObservedProbe, &'p ObservedProbe)> {
        let mut ours: Vec<_> = ours.iter().collect();
        ours.sort();
        let mut left: Vec<_> = theirs.iter().collect();
        left.sort();
        let mut roles = self.roles.clone();
        let question = |probe: &ObservedProbe| {
            format!("{}\n{}\n{}", probe.from, probe.description, probe.expected)
        };
        let mut pairs = Vec::new();
        let mut alone = Vec::new();
        for probe in ours {
            let same = left
                .iter()
                .position(|other| roles.alike(&question(probe), &question(other)));
            match same {
                Some(index) => pairs.push((probe, left.remove(index))),
                None => alone.push(probe),
            }
        }
        pairs.extend(alone.into_iter().zip(left));
        pairs
    }

    fn failures(&mut self, ours: &ObservedStep, theirs: &ObservedStep) {
        let (first, second) = (failures(ours), failures(theirs));
        self.words(
            "how many failures there are",
            &first.len().to_string(),
            &second.len().to_string(),
        );
        for (a, b) in first.into_iter().zip(second) {
            self.words("a failure", &a.summary, &b.summary);
            let what = &a.summary;
            self.words(
                &format!("what was expected: {what}"),
                &a.expected,
                &b.expected,
            );
            if !answer::same(self.roles, &a.expected, &a.got, &b.got) {
                self.differ(&format!("what came: {what}"), &a.got, &b.got);
            }
            self.words(
                &format!("the reasons: {what}"),
                &ours.reasons(a),
                &theirs.reasons(b),
            );
        }
    }

    fn lists<T>(&mut self, what: &str, ours: &[T], theirs: &[T], show: impl Fn(&T) -> String) {
        let list = |all: &[T]| all.iter().map(&show).collect::<Vec<_>>().join("\n");
        self.words(what, &list(ours), &list(theirs));
    }

    fn words(&mut self, what: &str, ours: &str, theirs: &str) {
        if !self.roles.alike(ours, theirs) {
            self.differ(what, ours, theirs);
        }
    }

    fn differ(&mut self, what: &str, ours: &str, theirs: &str) {
        let told = |text: &str| {
            if text.is_empty() {
                "nothing".to_owned()
            } else {
                text.to_owned()
            }
        };
        self.found.push(Difference {
            what: what.to_owned(),
            site: self.site.to_owned(),
            expected: told(ours),
            got: told(theirs),
        });
    }
}

fn failures(step: &ObservedStep) -> Vec<&Failure> {
    match &step.outcome {
        Some(StepOutcome::Failed { failures } | StepOutcome::Known { failures, .. }) => {
            failures.iter().collect()
        }
        Some(StepOutcome::Broken { failure }) => vec![failure],
        _ => Vec::new(),
    }
}

fn result(step: Option<&ObservedStep>) -> &'static str {
    match step.and_then(|step| step.outcome.as_ref()) {
        Some(StepOutcome::Passed) => "passed",
        Some(StepOutcome::Failed { .. }) => "failed",
        Some(StepOutcome::Known { .. }) => "known to fail",
        Some(StepOutcome::Broken { .. }) => "broken",
        Some(StepOutcome::Skipped { .. }) => "not run",
        Some(StepOutcome::Cancelled) => "interrupted",
        None => "-",
    }
}

fn whole(outcome: Option<&CaseOutcome>) -> String {
    match outcome {
        Some(CaseOutcome::Passed) => "passed".into(),
        Some(CaseOutcome::Failed { failure }) => match failure {
            Some(failure) => format!("failed: {}", failure.summary),
            None => "failed".into(),
        },
        Some(CaseOutcome::Known { .. }) => "known to fail".into(),
        Some(CaseOutcome::Broken { .. }) => "broken".into(),
        Some(CaseOutcome::Skipped { .. }) => "skipped".into(),
        Some(CaseOutcome::Cancelled) | None => "interrupted".into(),
    }
}
