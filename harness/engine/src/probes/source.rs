//! Where a probe starts: the scenario's words for it made into a container or a guest that runs.

use std::time::Duration;

use serde_json::Value;
use trunkline_scenario::model::{self, Condition, Source, Subject, Until};

use super::{Place, Start};
use crate::{
    console::Guest,
    context::At,
    events::{Failure, FailureKind, Location},
    objects::{
        delete::kind_of,
        names::{self, describe_command},
    },
    plan,
    stop::api_failure,
    until::{Waiter, hopeless::hopeless},
};

/// The container or guest that is meant, once it can be entered.
pub(crate) async fn start(
    at: At<'_, '_>,
    source: &Source,
    line: &Location,
    patience: Duration,
) -> Result<Start, Failure> {
    match source {
        Source::Pod {
            namespace,
            name,
            container,
        } => {
            let wanted = Place {
                namespace: namespace.clone(),
                pod: name.clone(),
                container: container.clone(),
            };
            place(at, wanted, line, patience)
                .await
                .map(Start::Container)
        }
        Source::Vm { namespace, name } => {
            let guest = Guest {
                namespace: namespace.clone(),
                name: name.clone(),
            };
            machine(at, &guest, line).await?;
            Ok(Start::Guest(guest))
        }
    }
}

/// Waits until the machine runs; its console can be opened then.
async fn machine(at: At<'_, '_>, guest: &Guest, line: &Location) -> Result<(), Failure> {
    if at.case.consoles.is_open(guest).await {
        return Ok(());
    }
    hope_for(at, guest, line).await?;
    let until = Until {
        subject: Subject::One(model::ObjectRef {
            kind: "vmi".into(),
            namespace: Some(guest.namespace.clone()),
            name: guest.name.clone(),
        }),
        condition: Condition::Is("Running".into()),
        hold: None,
    };
    let patience = plan::machine_timeout(&at.case.scenario.spec.timeouts);
    Waiter::prepare(at, until, line.clone(), patience)
        .await?
        .wait(at)
        .await
}

/// An instance that nobody is about to create is not waited for.
async fn hope_for(at: At<'_, '_>, guest: &Guest, line: &Location) -> Result<(), Failure> {
    let machines = kind_of(at, "vm").await?;
    let api = machines.objects(&at.case.client, Some(&guest.namespace));
    // An instance needs no machine, and who may not read machines waits for the instance.
    let Ok(Some(machine)) = api.get_opt(&guest.name).await else {
        return Ok(());
    };
    let Some(words) = hopeless(&machine, at.case.crashes) else {
        return Ok(());
    };
    let object = names::reference(&machine);
    Err(Failure::new(
        FailureKind::Hopeless,
        format!("{guest} does not run, and will not"),
    )
    .expected(format!("{guest} is Running"))
    .got(words)
    .manifest(at.case.ledger(|ledger| ledger.manifest(&object)))
    .look_at(describe_command(&object))
    .about(object)
    .at(Some(line.clone())))
}

/// The container that is meant, once it can be entered.
async fn place(
    at: At<'_, '_>,
    wanted: Place,
    line: &Location,
    patience: Duration,
) -> Result<Place, Failure> {
    let Place {
        namespace,
        pod: name,
        container,
    } = &wanted;
    if let Some(place) = at.case.agents.known(&wanted).await {
        return Ok(place);
    }
    let reference = model::ObjectRef {
        kind: "pod".into(),
        namespace: Some(namespace.clone()),
        name: name.clone(),
    };
    let pods = kind_of(at, "pod").await?;
    let api = pods.objects(&at.case.client, Some(namespace));
    let read = || async {
        let found = api.get_opt(name).await;
        found.map_err(|error| api_failure(&format!("to read {reference}"), error))
    };
    let mut pod = read().await?;
    let running = |pod: &kube::api::DynamicObject| {
        pod.data.pointer("/status/phase").and_then(Value::as_str) == Some("Running")
    };
    if !pod.as_ref().is_some_and(running) {
        let until = Until {
            subject: Subject::One(reference.clone()),
            condition: Condition::Is("Running".into()),
            hold: None,
        };
        Waiter::prepare(at, until, line.clone(), patience)
            .await?
            .wait(at)
            .await?;
        pod = read().await?;
    }
    let containers = pod
        .as_ref()
        .and_then(|pod| pod.data.pointer("/spec/containers"))
        .and_then(Value::as_array);
    let names: Vec<&str> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let chosen = match container {
        None => names.first().copied(),
        Some(container) => names.iter().copied().find(|name| name == container),
    };
    let object = crate::convert::object(&reference);
    let chosen = chosen.ok_or_else(|| {
        let container = container.as_deref().unwrap_or("any");
        Failure::new(
            FailureKind::Expectation,
            format!("{object} has no container {container}"),
        )
        .expected(format!("container {container}"))
        .got(format!("the containers {}", names.join(", ")))
        .look_at(describe_command(&object))
        .about(object.clone())
    })?;
    let place = Place {
        container: Some(chosen.to_owned()),
        ..wanted.clone()
    };
    at.case.agents.remember(wanted, place.clone()).await;
    Ok(place)
}
