//! Why a step cannot go on.

use crate::{
    error::{Error, api_message, is_refusal},
    events::{Failure, FailureKind},
};

/// Failed and broken are never mixed up: one speaks about the scenario, the other about where it runs.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Vec<Failure>),
    Broken(Box<Failure>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        if failure.kind == FailureKind::Environment {
            Self::Broken(Box::new(failure))
        } else {
            Self::Failed(vec![failure])
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Failure::new(FailureKind::Environment, error.to_string())
            .expected("an environment that works")
            .got(error.to_string());
        match &error {
            Error::Agent(_) => failure.look_at("the pod's log and events: kubectl describe pod"),
            Error::Journal(_) => {
                failure.look_at("the free space and the rights of trunkline's state directory")
            }
            Error::Site(_) => failure.look_at("trunkline doctor"),
            Error::Api { .. } | Error::Watch { .. } => {
                failure.look_at("whether the API is up: kubectl get --raw /readyz")
            }
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

/// An API call that went wrong: a refusal is the scenario's business, everything else the environment's.
pub(crate) fn api_failure(what: &str, error: kube::Error) -> Failure {
    if !is_refusal(&error) {
        return Error::api(what, error).into();
    }
    let message = api_message(&error);
    Failure::new(FailureKind::Refused, format!("the API refuses {what}"))
        .expected("the API accepts it")
        .got(message)
}
