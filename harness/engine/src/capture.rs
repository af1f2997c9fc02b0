//! Reading values from objects into the scope, waiting for them where they are not there yet.

use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use trunkline_scenario::model::{Capture, Let, NotYet};

use crate::{
    context::At,
    convert,
    events::{EventKind, Failure, FailureKind},
    objects::{
        delete::kind_of,
        names::describe_command,
        watch::{Selection, Watch, WatchLost},
    },
    stop::api_failure,
    text::seconds,
};

/// Captures one value.
pub(crate) async fn capture(at: At<'_, '_>, spec: &Let, deadline: Instant) -> Result<(), Failure> {
    let place = convert::location(spec.capture.at());
    let capture = spec
        .capture
        .resolve(&at.case.scope())
        .map_err(|error| convert::diagnostic(&error))?;
    let value = read(at, &capture, deadline, spec)
        .await
        .map_err(|failure| failure.at(Some(place)))?;
    let name = spec.name.value.clone();
    at.case.capture(&name, value.clone());
    at.events.send(EventKind::Captured { name, value });
    Ok(())
}

async fn read(
    at: At<'_, '_>,
    capture: &Capture,
    deadline: Instant,
    spec: &Let,
) -> Result<Value, Failure> {
    let started = Instant::now();
    let reference = capture.object();
    let object = convert::object(reference);
    let resource = kind_of(at, &reference.kind).await?;
    let api = resource.objects(&at.case.client, reference.namespace.as_deref());
    let scope = at.case.scope();
    let used = at.case.scenario.fields_used(&spec.name.value);
    let extract = |found: &kube::api::DynamicObject| {
        let value =
            serde_json::to_value(found).map_err(|error| NotYet::Never(error.to_string()))?;
        capture.extract_with(&value, &scope, &used)
    };
    let failed = |kind: FailureKind, summary: String, got: String| {
        let manifest = at.case.ledger(|ledger| ledger.manifest(&object));
        Failure::new(kind, summary)
            .expected(format!(
                "a value for `{}`: {}",
                spec.name,
                spec.capture.at().text()
            ))
            .got(got)
            .manifest(manifest)
            .about(object.clone())
            .look_at(describe_command(&object))
    };
    let never = |words: String| {
        failed(
            FailureKind::Capture,
            format!("nothing to capture from {object}"),
            words,
        )
    };

    // Mostly the value is there: one question answers that, and a watch is only started where it is not.
    let found = api
        .get_opt(&reference.name)
        .await
        .map_err(|error| api_failure(&format!("to read {object}"), error))?;
    match found.as_ref().map(&extract) {
        Some(Ok(value)) => return Ok(value),
        Some(Err(NotYet::Never(words))) => return Err(never(words)),
        Some(Err(NotYet::Missing(_))) | None => {}
    }
    let mut missing = format!("{object} does not exist");
    let mut watch = Watch::start(&resource, api, &Selection::name(&reference.name));
    let wait = async {
        let mut objects = watch.synced().await;
        loop {
            let found = objects
                .map_err(|lost: WatchLost| Failure::from(lost.about(&object.to_string())))?
                .values()
                .next();
            match found.map(&extract) {
                Some(Ok(value)) => return Ok(value),
                Some(Err(NotYet::Never(words))) => return Err(never(words)),
                Some(Err(NotYet::Missing(words))) => missing = words,
                None => missing = format!("{object} does not exist"),
            }
            at.events.progress(missing.clone());
            objects = watch.changed().await;
        }
    };
    if let Ok(result) = timeout_at(deadline, wait).await {
        return result;
    }
    let after = seconds(started.elapsed());
    Err(failed(
        FailureKind::Timeout,
        format!("nothing to capture from {object} after {after}"),
        missing,
    ))
}
