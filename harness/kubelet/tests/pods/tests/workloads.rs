//! Controllers and the scheduler.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use trunkline_kubelet::controllers;

use super::context::{check, condition, container, equal, fail};
use super::{Context, Outcome};
use crate::cluster::IMAGE2;

fn template(app: &str, fields: Value) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container("c", fields)]},
    })
}

fn workload(app: &str, fields: Value) -> Value {
    json!({
        "metadata": {"name": app},
        "spec": {"selector": {"matchLabels": {"app": app}}, "template": template(app, fields)},
    })
}

async fn pods(c: &Context, app: &str) -> Result<Vec<Pod>, libtest_mimic::Failed> {
    let pods = c
        .api::<Pod>()
        .list(&ListParams::default().labels(&format!("app={app}")))
        .await?;
    Ok(pods.items)
}

/// What `kubectl rollout status` waits for.
fn rolled_out(d: &Deployment) -> bool {
    let wanted = d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    d.status.as_ref().is_some_and(|s| {
        s.observed_generation == d.metadata.generation
            && s.updated_replicas == Some(wanted)
            && s.replicas == Some(wanted)
            && s.available_replicas == Some(wanted)
    })
}

/// Nothing of the new before the end of the old, which takes its time here.
pub async fn deployments_recreate(c: Context) -> Outcome {
    let slow = json!({"command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]});
    let mut deployment = workload("anew", slow);
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    c.create::<Deployment>(deployment).await?;
    c.until("anew", "rolled out", rolled_out).await?;
    let old: Vec<_> = pods(&c, "anew")
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"again": "yes"}}}}});
    c.api::<Deployment>()
        .patch("anew", &PatchParams::default(), &Patch::Merge(restart))
        .await?;
    c.until("anew", "rolled out again", rolled_out).await?;
    let new: Vec<_> = pods(&c, "anew")
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    equal((old.len(), new.len()), (1, 1))?;
    check(old != new, format!("{new:?}"))
}

pub async fn deployments_roll(c: Context) -> Outcome {
    let mut deployment = workload("web", json!({}));
    deployment["spec"]["replicas"] = json!(3);
    c.create::<Deployment>(deployment).await?;
    c.until("web", "rolled out", rolled_out).await?;
    let nodes: BTreeSet<_> = pods(&c, "web")
        .await?
        .into_iter()
        .filter_map(|p| p.spec?.node_name)
        .collect();
    equal(nodes.len(), 2)?;

    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": IMAGE2}]}}}});
    c.api::<Deployment>()
        .patch("web", &PatchParams::default(), &Patch::Strategic(image))
        .await?;
    let done = c.until("web", "rolled out again", rolled_out).await?;
    let images: Vec<_> = pods(&c, "web")
        .await?
        .into_iter()
        .filter(|p| p.metadata.deletion_timestamp.is_none())
        .filter_map(|p| p.spec?.containers.into_iter().next()?.image)
        .collect();
    equal(images, vec![IMAGE2.to_owned(); 3])?;
    equal(
        done.annotations()
            .get("deployment.kubernetes.io/revision")
            .map(String::as_str),
        Some("2"),
    )?;
    let reasons: Vec<_> = done
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .map(|c| {
            (
                c.type_.as_str(),
                c.status.as_str(),
                c.reason.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    check(
        reasons.contains(&("Available", "True", "MinimumReplicasAvailable")),
        format!("{reasons:?}"),
    )?;
    check(
        reasons.contains(&("Progressing", "True", "NewReplicaSetAvailable")),
        format!("{reasons:?}"),
    )?;

    c.api::<Deployment>()
        .patch(
            "web",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 1}})),
        )
        .await?;
    c.until("web", "scaled down", rolled_out).await?;
    let sets = c.api::<ReplicaSet>().list(&ListParams::default()).await?;
    equal(sets.items.len(), 2)?;
    c.event("Normal web ScalingReplicaSet: Scaled up replica set web-")
        .await
}

pub async fn jobs_complete(c: Context) -> Outcome {
    let mut job =
        json!({"metadata": {"name": "sum"}, "spec": {"completions": 3, "parallelism": 2}});
    job["spec"]["template"] = template("sum", json!({"command": ["sh", "-c", "exit 0"]}));
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    c.create::<Job>(job).await?;
    let job = c
        .until("sum", "complete", |j: &Job| has_condition(j, "Complete"))
        .await?;
    let status = job.status.ok_or_else(|| fail("no status"))?;
    equal((status.succeeded, status.active), (Some(3), None))?;
    check(status.completion_time.is_some(), "no completion time")?;
    equal(pods(&c, "sum").await?.len(), 3)?;
    c.event("Normal sum Completed: Job completed").await
}

fn has_condition(job: &Job, kind: &str) -> bool {
    job.status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .any(|c| c.type_ == kind && c.status == "True")
}

pub async fn jobs_give_up(c: Context) -> Outcome {
    let mut job = json!({"metadata": {"name": "vain"}, "spec": {"backoffLimit": 0}});
    job["spec"]["template"] = template("vain", json!({"command": ["false"]}));
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    c.create::<Job>(job).await?;
    let job = c
        .until("vain", "failed", |j: &Job| has_condition(j, "Failed"))
        .await?;
    equal(job.status.and_then(|s| s.failed), Some(1))?;
    c.event("Warning vain BackoffLimitExceeded: Job has reached the specified backoff limit")
        .await
}

pub async fn stateful_sets_count(c: Context) -> Outcome {
    let mut set = workload(
        "db",
        json!({
            "command": ["sh", "-c", "hostname > /data/name; sleep infinity"],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }),
    );
    set["spec"]["replicas"] = json!(2);
    // the claims take the place of the template's volume of the same name
    set["spec"]["template"]["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    set["spec"]["serviceName"] = json!("db");
    set["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }]);
    c.create::<StatefulSet>(set).await?;
    c.until("db", "ready", |s: &StatefulSet| {
        s.status
            .as_ref()
            .is_some_and(|s| s.ready_replicas == Some(2))
    })
    .await?;
    let (first, second) = (c.ready("db-0").await?, c.ready("db-1").await?);
    check(
        first.metadata.creation_timestamp <= second.metadata.creation_timestamp,
        "made in the wrong order",
    )?;
    let uid = first.metadata.uid.clone();
    c.delete("db-0").await?;
    c.until("db-0", "replaced", |p: &Pod| {
        p.metadata.uid != uid && super::context::is_ready(p)
    })
    .await?;
    let (_, out, _) = c.exec("db-0", &["cat", "/data/name"], None).await?;
    equal(out.as_str(), "db-0\n")
}

pub async fn daemon_sets_cover_the_workers(c: Context) -> Outcome {
    c.create::<DaemonSet>(workload("agent", json!({}))).await?;
    c.until("agent", "everywhere", |d: &DaemonSet| {
        d.status
            .as_ref()
            .is_some_and(|s| s.desired_number_scheduled == 2 && s.number_ready == 2)
    })
    .await?;
    let nodes: BTreeSet<_> = pods(&c, "agent")
        .await?
        .into_iter()
        .filter_map(|p| p.spec?.node_name)
        .collect();
    equal(nodes, ["worker", "worker2"].map(str::to_owned).into())
}

pub async fn services_have_endpoints(c: Context) -> Outcome {
    c.create::<Service>(json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }))
    .await?;
    c.create::<Pod>(json!({
        "metadata": {"name": "p", "labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container("c", json!({}))]},
    }))
    .await?;
    let pod = c.ready("p").await?;
    let ip = pod.status.and_then(|s| s.pod_ip).unwrap_or_default();
    let slices = c
        .api::<EndpointSlice>()
        .list(&ListParams::default())
        .await?;
    let name = slices
        .items
        .first()
        .ok_or_else(|| fail("no slice"))?
        .name_any();
    // from then on there is nothing left to wait for
    controllers::endpoints_settled(&c.cluster.client).await;
    let slice = c.api::<EndpointSlice>().get(&name).await?;
    let ready = |e: &Endpoint| e.conditions.as_ref().and_then(|c| c.ready);
    equal(
        slice.endpoints.iter().map(ready).collect::<Vec<_>>(),
        vec![Some(true)],
    )?;
    let addresses: Vec<_> = slice
        .endpoints
        .into_iter()
        .flat_map(|e| e.addresses)
        .collect();
    equal(addresses, vec![ip])?;
    equal(slice.ports.and_then(|p| p.first()?.port), Some(8080))?;

    // a pod that is not meant any more leaves, and the service keeps its slice
    let labels = json!({"metadata": {"labels": {"app": "other"}}});
    c.api::<Pod>()
        .patch("p", &PatchParams::default(), &Patch::Merge(labels))
        .await?;
    controllers::endpoints_settled(&c.cluster.client).await;
    let slice = c.api::<EndpointSlice>().get(&name).await?;
    equal(slice.endpoints, Vec::new())?;
    c.until("web", "empty", |e: &Endpoints| e.subsets.is_none())
        .await?;
    c.api::<Service>()
        .delete("web", &DeleteParams::default())
        .await?;
    c.until_gone::<Endpoints>("web").await?;
    c.until_gone::<EndpointSlice>(&name).await
}

pub async fn what_fits_nowhere_says_why(c: Context) -> Outcome {
    c.pod("p", json!({}), json!({"nodeSelector": {"disk": "tape"}}))
        .await?;
    let text = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";
    c.event(&format!("Warning p FailedScheduling: {text}"))
        .await?;
    let pod = c
        .until("p", "unschedulable", |p| {
            condition(p, "PodScheduled") == Some("False")
        })
        .await?;
    let message = pod.status.and_then(|s| {
        s.conditions?
            .into_iter()
            .find(|c| c.type_ == "PodScheduled")?
            .message
    });
    equal(message.as_deref(), Some(text))?;
    c.delete("p").await?;
    c.gone("p").await
}
