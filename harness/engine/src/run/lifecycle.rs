//! `start`, `stop` and `restart`: of virtual machines through their subresources, of workloads as kubectl does it.

use futures::future::try_join_all;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use trunkline_scenario::model::{Late, Lifecycle, ObjectRef as Reference, canonical_kind};

use crate::{
    context::At,
    convert,
    events::{Failure, FailureKind, ObjectRef},
    objects::{
        FIELD_MANAGER,
        delete::kind_of,
        names::describe_command,
        watch::{Selection, Watch, WatchLost},
    },
    plan::PlannedStep,
    stop::{Stop, api_failure},
    until::state,
};

pub(super) async fn all(
    at: At<'_, '_>,
    planned: &PlannedStep<'_>,
    what: Lifecycle,
    targets: &[Late<Reference>],
) -> Result<(), Stop> {
    let deadline = Instant::now() + planned.action_timeout;
    let each = targets.iter().map(|target| async move {
        let place = convert::location(target.at());
        let reference = target
            .resolve(&at.case.scope())
            .map_err(|error| convert::diagnostic(&error))?;
        let object = convert::object(&reference);
        let done = if canonical_kind(&reference.kind) == "vm" {
            machine(at, what, &object, deadline).await
        } else {
            workload(at, &object, deadline).await
        };
        done.map_err(|failure| failure.at(Some(place)))
    });
    try_join_all(each).await?;
    Ok(())
}

async fn machine(
    at: At<'_, '_>,
    what: Lifecycle,
    object: &ObjectRef,
    deadline: Instant,
) -> Result<(), Failure> {
    let verb = what.verb();
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let instances = kind_of(at, "vmi").await?;
    let api = instances.objects(&at.case.client, Some(namespace));
    // The watch stands before anything is done, so that the old instance is known.
    let mut watch = Watch::start(&instances, api, &Selection::name(&object.name));
    let lost = |lost: WatchLost| Failure::from(lost.about(&object.to_string()));
    let before = timeout_at(deadline, watch.synced())
        .await
        .map_err(|_| late(object, verb, "its watch did not start"))?
        .map_err(lost)?;
    let old = before
        .values()
        .next()
        .and_then(|vmi| vmi.metadata.uid.clone());
    let machines = kind_of(at, "vm").await?;
    let api = machines.objects(&at.case.client, Some(namespace));
    let mut machine = Watch::start(&machines, api, &Selection::name(&object.name));
    timeout_at(deadline, machine.synced())
        .await
        .map_err(|_| late(object, verb, "its watch did not start"))?
        .map_err(lost)?;

    let path = format!(
        "/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{}/{verb}",
        object.name
    );
    let request = http::Request::put(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(b"{}".to_vec())
        .map_err(|error| {
            let error = kube::Error::HttpError(error);
            api_failure(&format!("to {verb} {object}"), error)
        })?;
    at.case
        .client
        .request_text(request)
        .await
        .map_err(|error| {
            api_failure(&format!("to {verb} {object}"), error).about(object.clone())
        })?;
    if what == Lifecycle::Start {
        return Ok(());
    }
    let gone = async {
        let mut seen = watch.catch_up();
        loop {
            match seen?.values().next() {
                Some(vmi) if vmi.metadata.uid == old => {}
                None if what == Lifecycle::Restart => {}
                _ => break,
            }
            seen = watch.changed().await;
        }
        // Until its controller has looked again, the machine itself still speaks of the instance that is gone.
        while what == Lifecycle::Restart
            && machine.catch_up()?.values().any(is_ready)
            && !watch.catch_up()?.values().any(is_ready)
        {
            tokio::select! {
                changed = machine.changed() => changed?,
                changed = watch.changed() => changed?,
            };
        }
        Ok(())
    };
    let Ok(result) = timeout_at(deadline, gone).await else {
        let state = watch.objects().values().next().map(state::describe);
        return Err(late(object, verb, state.as_deref().unwrap_or("unknown")));
    };
    result.map_err(lost)?;
    // What other watches still show of the machine and its old instance does not count from now on.
    for seen in machine.objects().values().chain(watch.objects().values()) {
        at.case.ledger(|ledger| ledger.renewed(seen));
    }
    Ok(())
}

/// As `kubectl rollout restart` and `kubectl rollout status` do it.
async fn workload(at: At<'_, '_>, object: &ObjectRef, deadline: Instant) -> Result<(), Failure> {
    let kind = kind_of(at, &object.kind).await?;
    let api = kind.objects(&at.case.client, object.namespace.as_deref());
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": now,
    }}}}});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    let patched = api
        .patch(&object.name, &params, &Patch::Merge(&patch))
        .await
        .map_err(|error| {
            api_failure(&format!("to restart {object}"), error).about(object.clone())
        })?;
    let generation = patched.metadata.generation;
    let mut watch = Watch::start(&kind, api, &Selection::name(&object.name));
    let lost = |lost: WatchLost| Failure::from(lost.about(&object.to_string()));
    let replaced = async {
        let mut seen = watch.synced().await;
        while !seen?.values().any(|found| rolled_out(found, generation)) {
            seen = watch.changed().await;
        }
        Ok(())
    };
    let Ok(result) = timeout_at(deadline, replaced).await else {
        let state = watch.objects().values().next().map(state::describe);
        let state = state.as_deref().unwrap_or("unknown");
        return Err(late(object, "restart", state));
    };
    result.map_err(lost)
}

fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data.pointer("/status/conditions");
    let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Whether all of a workload's pods are of its latest template, and none of an older one is left.
fn rolled_out(workload: &DynamicObject, generation: Option<i64>) -> bool {
    let status = |field: &str| {
        let value = workload.data.pointer(&format!("/status/{field}"));
        value.and_then(Value::as_i64)
    };
    if status("observedGeneration") < generation {
        return false;
    }
    if let Some(wanted) = status("desiredNumberScheduled") {
        return status("updatedNumberScheduled") == Some(wanted)
            && status("numberAvailable").unwrap_or_default() == wanted;
    }
    let wanted = workload.data.pointer("/spec/replicas");
    let wanted = wanted.and_then(Value::as_i64).unwrap_or(1);
    status("updatedReplicas").unwrap_or_default() == wanted
        && status("replicas").unwrap_or_default() == wanted
}

fn late(object: &ObjectRef, verb: &str, state: &str) -> Failure {
    let (summary, expected) = match verb {
        "stop" => ("does not stop", "is stopped"),
        _ => ("is not replaced", "is replaced"),
    };
    Failure::new(
        FailureKind::Timeout,
        format!("what ran of {object} {summary} in time"),
    )
    .expected(format!("what ran of {object} {expected}"))
    .got(state)
    .about(object.clone())
    .look_at(describe_command(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}), true)]
    #[case(json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}), false)]
    #[case(json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}), false)]
    #[case(json!({"observedGeneration": 2, "replicas": 1}), false)]
    #[case(json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}), true)]
    #[case(json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}), false)]
    fn a_workload_is_replaced_when_nothing_old_is_left(#[case] status: Value, #[case] done: bool) {
        let object = serde_json::from_value(
            json!({"metadata": {"name": "x", "generation": 2}, "spec": {"replicas": 1}, "status": status}),
        );
        assert_eq!(rolled_out(&object.unwrap(), Some(2)), done);
    }
}
