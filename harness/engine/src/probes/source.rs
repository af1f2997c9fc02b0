//! Where a probe starts: the scenario's words for it made into a container that runs.

use std::time::Duration;

use serde_json::Value;
use trunkline_scenario::model::{self, Condition, Source, Subject, Until};

use super::Place;
use crate::{
    context::At,
    events::{Failure, FailureKind, Location},
    objects::{delete::kind_of, names::describe_command},
    stop::api_failure,
    until::Waiter,
};

/// The container that is meant, once it can be entered.
pub(crate) async fn place(
    at: At<'_, '_>,
    source: &Source,
    line: &Location,
    patience: Duration,
) -> Result<Place, Failure> {
    let Source::Pod {
        namespace,
        name,
        container,
    } = source;
    let wanted = Place {
        namespace: namespace.clone(),
        pod: name.clone(),
        container: container.clone(),
    };
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
