//! A probe from inside a virtual machine: who logs in, what is told meanwhile, and what a failure says.

use trunkline_guest::protocol::{Probe, Response};
use trunkline_scenario::{
    duration,
    model::{Login, TimeoutKind},
};

use crate::{
    console::{Access, ConsoleError, Guest, Trouble},
    context::At,
    events::{EventKind, Failure, FailureKind, ObjectRef},
};

pub(super) async fn ask(at: At<'_, '_>, guest: &Guest, probe: &Probe) -> Result<Response, Failure> {
    let spec = &at.case.scenario.spec;
    let login = spec.login(&guest.namespace, &guest.name);
    keep_secret(at, &login);
    let access = Access {
        login,
        patience: spec.timeouts.get(TimeoutKind::Login),
    };
    let notice = |message: String| {
        at.events.send(EventKind::Warning {
            message,
            at_line: None,
        });
    };
    let asked = at.case.consoles.ask(guest, &access, probe, &notice).await;
    asked.map_err(|error| failure(at, &access, error))
}

/// Passwords that everybody knows from a demo, or that are the user's name, stand in every second line of a report.
fn keep_secret(at: At<'_, '_>, login: &Login) {
    const KNOWN: &[&str] = &[Login::DEFAULT_PASSWORD, "password", "gocubsgo"];
    if login.password != login.user && !KNOWN.contains(&login.password.as_str()) {
        at.events.redactor().add(login.password.clone());
    }
}

fn failure(at: At<'_, '_>, access: &Access, error: ConsoleError) -> Failure {
    let ConsoleError {
        guest,
        trouble,
        last_lines,
    } = error;
    let object = ObjectRef {
        kind: "vm".into(),
        namespace: Some(guest.namespace.clone()),
        name: guest.name.clone(),
    };
    let console = format!("virtctl console -n {} {}", guest.namespace, guest.name);
    let kind = match &trouble {
        Trouble::Refused { .. } => FailureKind::Refused,
        Trouble::TooLate { .. } => FailureKind::Timeout,
        Trouble::Lost { .. } => FailureKind::Environment,
        Trouble::Over { .. } => FailureKind::Hopeless,
        Trouble::Login { .. }
        | Trouble::Expired { .. }
        | Trouble::Lacks { .. }
        | Trouble::Senseless(_) => FailureKind::Expectation,
    };
    let next = match &trouble {
        Trouble::Login { .. } => {
            "the user and password that cloud-init sets in the manifest, and `login: {user: …, password: …}` of the scenario".into()
        }
        Trouble::TooLate { .. } => format!("whether the guest boots: {console}; if all is well, raise `timeouts: {{login: …}}`"),
        Trouble::Lost { .. } => format!("who else uses this console: only one client has it at a time ({console})"),
        _ => console,
    };
    let user = &access.login.user;
    let within = duration::show(access.patience);
    let failure = Failure::new(kind, format!("{guest} cannot be asked"))
        .expected(format!(
            "a console on which user `{user}` can log in within {within}"
        ))
        .got(trouble.to_string())
        .manifest(at.case.ledger(|ledger| ledger.manifest(&object)))
        .about(object)
        .look_at(next);
    match shown(&last_lines) {
        Some(text) => failure.because(text),
        None => failure.because("the console has shown nothing"),
    }
}

/// The last lines of a console as one reason.
fn shown(lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| format!("the console showed last:\n{}", lines.join("\n")))
}
