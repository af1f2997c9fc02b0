//! States an object does not come back from: waiting any longer would only waste the time until the deadline.
//!
//! Everything here is a pure function of objects and returns the object's own words.

use kube::api::{DynamicObject, ResourceExt as _};
use serde_json::Value;

use super::machines;

/// Why this object will not become what is waited for; `None` while there is hope. A crash loop is believed after
/// that many restarts.
pub(crate) fn hopeless(object: &DynamicObject, crashes: i64) -> Option<String> {
    match object.types.as_ref().map(|types| types.kind.as_str()) {
        Some("Pod") => pod(object, crashes),
        Some("Job") => {
            condition(object, "Failed", "True").map(|words| format!("the job failed: {words}"))
        }
        Some("Deployment") => condition(object, "ReplicaFailure", "True")
            .or_else(|| {
                // The other reasons of a False `Progressing` are passing ones.
                condition(object, "Progressing", "False")
                    .filter(|words| words.starts_with("ProgressDeadlineExceeded"))
            })
            .map(|words| format!("the deployment is stuck: {words}")),
        Some("VirtualMachine") => machines::machine(object),
        Some("VirtualMachineInstance") => machines::instance(object),
        Some("ReplicaSet") => condition(object, "ReplicaFailure", "True")
            .map(|words| format!("the replica set cannot create its pods: {words}")),
        _ => None,
    }
}

fn pod(pod: &DynamicObject, crashes: i64) -> Option<String> {
    let status = pod.data.get("status")?;
    if let Some(phase @ ("Failed" | "Succeeded")) = text(status, "phase") {
        // A launcher that has ended is followed by another one; whether it is, its machine knows.
        let launcher = pod.labels().get("kubevirt.io").map(String::as_str) == Some("virt-launcher");
        return (!launcher).then(|| ended(status, phase));
    }
    if let Some(words) = unschedulable(status) {
        return Some(words);
    }
    containers(status).find_map(|found| container(found, crashes))
}

/// A pod that has run to its end will not become ready.
fn ended(status: &Value, phase: &str) -> String {
    let mut words = format!(
        "the pod has {}",
        if phase == "Failed" {
            "failed"
        } else {
            "already finished"
        }
    );
    for part in [text(status, "reason"), text(status, "message")]
        .into_iter()
        .flatten()
    {
        words.push_str(": ");
        words.push_str(part);
    }
    for container in containers(status) {
        if let Some(terminated) = container.pointer("/state/terminated") {
            words.push_str(": ");
            words.push_str(&termination(container, terminated));
        }
    }
    words
}

fn unschedulable(status: &Value) -> Option<String> {
    let scheduled = conditions(status).find(|condition| {
        text(condition, "type") == Some("PodScheduled")
            && text(condition, "status") == Some("False")
            && text(condition, "reason") == Some("Unschedulable")
    })?;
    let message = text(scheduled, "message").unwrap_or("the scheduler does not say why");
    (!is_passing(message)).then(|| format!("the pod cannot be scheduled: {message}"))
}

/// Reasons of the scheduler that go away by themselves: a claim is being bound, a node has just come up.
pub(super) fn is_passing(message: &str) -> bool {
    [
        "unbound immediate PersistentVolumeClaims",
        "node.kubernetes.io/not-ready",
        "no nodes available",
    ]
    .iter()
    .any(|text| message.contains(text))
}

fn container(container: &Value, crashes: i64) -> Option<String> {
    let waiting = container.pointer("/state/waiting")?;
    let name = text(container, "name").unwrap_or_default();
    let message = text(waiting, "message").unwrap_or_default();
    let reason = text(waiting, "reason")?;
    let said = |what: &str| {
        let words = format!("{what} of container {name}: {reason}");
        Some(if message.is_empty() {
            words
        } else {
            format!("{words}: {message}")
        })
    };
    // What cannot be had may also be the image of a volume; the message names the one that is meant then.
    let own = text(container, "image").unwrap_or_default();
    let image = if message.is_empty() || message.contains(own) {
        format!("the image {own}")
    } else {
        "an image".to_owned()
    };
    match reason {
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => said(&image),
        // Registries have bad moments; these words mean that the next attempt ends the same way.
        "ErrImagePull" if is_final(message) => said(&image),
        "CreateContainerConfigError" => said("the configuration"),
        "CreateContainerError" | "RunContainerError" if is_final(message) => said("the start"),
        "CrashLoopBackOff" if container["restartCount"].as_i64() >= Some(crashes) => {
            let last = container.pointer("/lastState/terminated");
            let last = last.map(|terminated| termination(container, terminated));
            Some(last.unwrap_or_else(|| format!("container {name} keeps crashing")))
        }
        _ => None,
    }
}

fn termination(container: &Value, terminated: &Value) -> String {
    let name = text(container, "name").unwrap_or_default();
    let restarts = container["restartCount"].as_i64().unwrap_or_default();
    let code = terminated["exitCode"].as_i64().unwrap_or_default();
    let mut words = format!("container {name} ended with exit code {code}");
    if restarts > 0 {
        words.extend([" after ", &restarts.to_string(), " restarts"]);
    }
    for part in [text(terminated, "reason"), text(terminated, "message")]
        .into_iter()
        .flatten()
    {
        words.push_str(": ");
        words.push_str(part.trim());
    }
    words
}

/// Whether words of a registry or a runtime mean that trying again is pointless.
fn is_final(message: &str) -> bool {
    const FINAL: &[&str] = &[
        "not found",
        "manifest unknown",
        "name unknown",
        "access denied",
        "unauthorized",
        "invalid reference",
        "catalogue",
        "no such file or directory",
        "permission denied",
        "not a directory",
        "has no command",
        "no command specified",
        "runAsNonRoot",
    ];
    FINAL.iter().any(|words| message.contains(words))
}

/// A warning about an object that will repeat itself for ever. `reason` and `message` are the event's.
pub(crate) fn hopeless_warning(reason: &str, message: &str) -> bool {
    const SANDBOX: &[&str] = &[
        // Multus (reference: observed/ovn-kubernetes/13-errors-pods).
        "cannot find a network-attachment-definition",
        "is inconsistent with config",
        "IPAM key is not supported",
        "invalid CIDR address",
        "failed to parse",
        "parsePodNetworkAnnotation",
        "failed to find bridge mapping",
    ];
    const VOLUMES: &[&str] = &["not found", "references non-existent"];
    match reason {
        "FailedCreatePodSandBox" => SANDBOX.iter().any(|words| message.contains(words)),
        "FailedMount" => VOLUMES.iter().any(|words| message.contains(words)),
        _ => false,
    }
}

fn condition(object: &DynamicObject, kind: &str, wanted: &str) -> Option<String> {
    let status = object.data.get("status")?;
    let found = conditions(status).find(|condition| {
        text(condition, "type") == Some(kind) && text(condition, "status") == Some(wanted)
    })?;
    let words = [text(found, "reason"), text(found, "message")];
    Some(words.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

pub(super) fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

pub(super) fn containers(status: &Value) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|field| status.get(field).and_then(Value::as_array))
        .flatten()
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value
        .get(field)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hopeless(object: &DynamicObject) -> Option<String> {
        super::hopeless(object, 3)
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "statuses are written at the call"
    )]
    fn object(kind: &str, status: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": "n"}, "status": status
        }))
        .unwrap()
    }

    fn waiting(reason: &str, message: &str, restarts: i64) -> Option<String> {
        hopeless(&object(
            "Pod",
            json!({"phase": "Pending", "containerStatuses": [{
                "name": "c", "image": "nope:1", "restartCount": restarts,
                "state": {"waiting": {"reason": reason, "message": message}},
                "lastState": {"terminated": {"exitCode": 7, "reason": "Error"}},
            }]}),
        ))
    }

    #[test]
    fn an_image_that_does_not_exist_is_given_up_at_once() {
        let words = waiting("ErrImagePull", "nope:1: not found", 0).unwrap();
        assert_eq!(
            words,
            "the image nope:1 of container c: ErrImagePull: nope:1: not found"
        );
        assert!(waiting("ImagePullBackOff", "Back-off pulling image", 0).is_some());
    }

    #[test]
    fn passing_trouble_is_waited_for() {
        assert_eq!(waiting("ErrImagePull", "connection reset by peer", 0), None);
        assert_eq!(waiting("ContainerCreating", "", 0), None);
        assert_eq!(waiting("CrashLoopBackOff", "back-off 10s", 1), None);
    }

    #[test]
    fn a_crash_loop_is_believed_after_a_few_restarts_and_tells_the_exit_code() {
        let words = waiting("CrashLoopBackOff", "back-off 40s", 3).unwrap();
        assert_eq!(
            words,
            "container c ended with exit code 7 after 3 restarts: Error"
        );
    }

    #[test]
    fn a_missing_configuration_names_it() {
        let words = waiting("CreateContainerConfigError", "configmap \"x\" not found", 0).unwrap();
        assert!(words.ends_with("configmap \"x\" not found"), "{words}");
    }

    #[test]
    fn a_pod_that_fits_nowhere_says_why() {
        let scheduled = |message: &str| {
            hopeless(&object(
                "Pod",
                json!({"phase": "Pending", "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}),
            ))
        };
        let words = scheduled(
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
        )
        .unwrap();
        assert!(
            words.starts_with("the pod cannot be scheduled: 0/3 nodes"),
            "{words}"
        );
        assert_eq!(
            scheduled("pod has unbound immediate PersistentVolumeClaims"),
            None
        );
    }

    #[test]
    fn failed_jobs_and_stuck_deployments_are_given_up() {
        let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
            "message": "Job has reached the specified backoff limit"}]});
        assert!(
            hopeless(&object("Job", failed))
                .unwrap()
                .contains("BackoffLimitExceeded: Job has reached")
        );
        let progressing = |reason: &str| json!({"conditions": [{"type": "Progressing", "status": "False", "reason": reason, "message": "m"}]});
        assert!(
            hopeless(&object(
                "Deployment",
                progressing("ProgressDeadlineExceeded")
            ))
            .is_some()
        );
        assert_eq!(hopeless(&object("Deployment", progressing("Other"))), None);
    }

    #[test]
    fn a_finished_pod_never_becomes_ready() {
        let status = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
        assert_eq!(
            hopeless(&object("Pod", status)).unwrap(),
            "the pod has failed: Evicted: low on memory"
        );
        assert!(hopeless(&object("Pod", json!({"phase": "Running"}))).is_none());
    }

    #[test]
    fn warnings_that_repeat_for_ever_are_known() {
        let multus = "failed to setup network: Multus: cannot find a network-attachment-definition (nosuch) in namespace (err)";
        assert!(hopeless_warning("FailedCreatePodSandBox", multus));
        assert!(!hopeless_warning(
            "FailedCreatePodSandBox",
            "timed out waiting for annotations"
        ));
        assert!(hopeless_warning("FailedMount", "configmap \"x\" not found"));
        assert!(!hopeless_warning("Unhealthy", "not found"));
    }
}
