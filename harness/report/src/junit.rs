//! JUnit XML: a suite for each case, a test case for each step.
//!
//! `failure` says that the scenario does not hold, `error` that the environment broke, `skipped` has its reason. A
//! failure that is known is `skipped` with the type `known`: it is no news, and it is no success either.

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
};

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use trunkline_engine::events::{CaseOutcome, Event, Failure, FailureKind, StepOutcome};

use crate::{
    Consumer, ReportError,
    record::{CaseRecord, RunRecord, StepRecord},
    terminal::render,
    write_all,
};

/// Collects the run and writes the file at its end.
pub struct Junit<W> {
    path: PathBuf,
    writer: W,
    record: RunRecord,
}

impl<W> fmt::Debug for Junit<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Junit")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Junit<W> {
    /// `path` names the report in errors.
    pub fn new(path: impl AsRef<Path>, writer: W) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            writer,
            record: RunRecord::default(),
        }
    }
}

impl<W: Write + Send> Consumer for Junit<W> {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.event(event);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        let xml = report(&self.record)
            .to_string()
            .map_err(|error| ReportError::Format {
                path: self.path.clone(),
                message: error.to_string(),
            })?;
        write_all(&self.path, &mut self.writer, xml.as_bytes())
    }
}

fn report(record: &RunRecord) -> Report {
    let mut report = Report::new("trunkline");
    if let Some(first) = record.cases.first() {
        report.timestamp = first.started.to_string().parse().ok();
    }
    report.time = record
        .took
        .or_else(|| Some(record.cases.iter().map(|case| case.took).sum()));
    report.add_test_suites(
        record
            .cases
            .iter()
            .map(|case| suite(case, record.site.as_deref())),
    );
    report
}

fn suite(case: &CaseRecord, on: Option<&str>) -> TestSuite {
    let mut suite = TestSuite::new(case.id.as_str());
    suite.timestamp = case.started.to_string().parse().ok();
    suite.set_time(case.took);
    suite.add_property(Property::new("title", &case.title));
    suite.add_property(Property::new("scenario", case.at_line.to_string()));
    suite.add_properties(on.map(|name| Property::new("site", name)));
    suite.add_properties(
        case.parameters
            .iter()
            .map(|(name, value)| Property::new(format!("parameter.{name}"), value)),
    );
    suite.add_properties(
        case.warnings
            .iter()
            .map(|warning| Property::new("warning", warning)),
    );
    suite.add_test_cases(case.steps.values().filter_map(|step| test_case(case, step)));
    suite.add_test_cases(whole(case));
    suite
}

/// Steps of `catch` and `finally` that were not run have no outcome and no test case.
fn test_case(case: &CaseRecord, step: &StepRecord) -> Option<TestCase> {
    let outcome = step.outcome.as_ref()?;
    let mut test = TestCase::new(
        format!("{}. {}", step.info.id, step.info.title),
        status(outcome),
    );
    test.set_classname(case.id.as_str());
    test.set_time(step.took);
    test.timestamp = step
        .started
        .and_then(|started| started.to_string().parse().ok());
    test.add_property(Property::new("verb", &step.info.verb));
    test.add_property(Property::new("scenario", step.info.at_line.to_string()));
    if !step.attempts.is_empty() {
        test.add_property(Property::new(
            "attempts",
            (step.attempts.len() + 1).to_string(),
        ));
    }
    if let Some(convergence) = &step.convergence {
        test.add_property(Property::new(
            "convergence",
            format!("{:.3}s", convergence.took.as_secs_f64()),
        ));
    }
    for evidence in step
        .probes
        .iter()
        .flat_map(|probe| &probe.evidence)
        .chain(&step.evidence)
    {
        test.add_property(Property::new("evidence", &evidence.summary));
        if let Some(object) = &evidence.object {
            test.add_property(Property::new("evidence.object", object.to_string()));
        }
    }
    test.add_properties(
        step.warnings
            .iter()
            .map(|warning| Property::new("warning", warning)),
    );
    let probes: Vec<_> = step.probes.iter().map(render::probe_line).collect();
    if !probes.is_empty() {
        test.set_system_out(probes.join("\n"));
    }
    Some(test)
}

fn status(outcome: &StepOutcome) -> TestCaseStatus {
    match outcome {
        StepOutcome::Passed => TestCaseStatus::success(),
        StepOutcome::Failed { failures } => non_success(NonSuccessKind::Failure, failures),
        StepOutcome::Broken { failure } => {
            non_success(NonSuccessKind::Error, std::slice::from_ref(failure))
        }
        StepOutcome::Known { reason, failures } => {
            let mut status = TestCaseStatus::skipped();
            status
                .set_type("known")
                .set_message(reason)
                .set_description(texts(failures));
            status
        }
        StepOutcome::Skipped { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason);
            status
        }
        StepOutcome::Cancelled => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status
                .set_type("cancelled")
                .set_message("the run was interrupted during this step");
            status
        }
    }
}

fn non_success(kind: NonSuccessKind, failures: &[Failure]) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    if let Some(first) = failures.first() {
        status
            .set_type(type_name(first.kind))
            .set_message(&first.summary);
    }
    status.set_description(texts(failures));
    status
}

fn texts(failures: &[Failure]) -> String {
    failures
        .iter()
        .map(render::failure_text)
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// What no step has told: the case broke before its first step, or failed as a whole.
fn whole(case: &CaseRecord) -> Option<TestCase> {
    let told = |wanted: fn(&StepOutcome) -> bool| {
        case.steps
            .values()
            .filter_map(|step| step.outcome.as_ref())
            .any(wanted)
    };
    let status = match case.outcome.as_ref() {
        Some(CaseOutcome::Failed {
            failure: Some(failure),
        }) => non_success(NonSuccessKind::Failure, std::slice::from_ref(failure)),
        Some(CaseOutcome::Broken { reason })
            if !told(|outcome| matches!(outcome, StepOutcome::Broken { .. })) =>
        {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("environment").set_message(reason);
            status
        }
        // The stream ends before the case does: whoever wrote it was killed.
        None => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status
                .set_type("cancelled")
                .set_message("the run ended before this case did");
            status
        }
        _ => return None,
    };
    let mut test = TestCase::new("the scenario as a whole", status);
    test.set_classname(case.id.as_str());
    Some(test)
}

fn type_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Expectation => "expectation",
        FailureKind::Refused => "refused",
        FailureKind::Timeout => "timeout",
        FailureKind::Hopeless => "hopeless",
        FailureKind::Unstable => "unstable",
        FailureKind::KnownPassed => "known-passed",
        FailureKind::Capture => "capture",
        FailureKind::Environment => "environment",
    }
}
