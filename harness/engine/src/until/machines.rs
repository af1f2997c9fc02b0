//! Virtual machines that will not get there any more. Pure functions of objects, in the objects' own words.

use kube::api::DynamicObject;
use serde_json::Value;

use super::hopeless::{conditions, is_passing, text};

/// What KubeVirt calls a machine that waits for something that does not come by itself.
const STUCK: &[(&str, &str)] = &[
    (
        "ErrorUnschedulable",
        "the virtual machine cannot be scheduled",
    ),
    (
        "ErrImagePull",
        "an image of the virtual machine cannot be had",
    ),
    (
        "ImagePullBackOff",
        "an image of the virtual machine cannot be had",
    ),
    (
        "ErrorPvcNotFound",
        "a claim of the virtual machine does not exist",
    ),
    (
        "DataVolumeError",
        "a data volume of the virtual machine has failed",
    ),
    (
        "CrashLoopBackOff",
        "the virtual machine crashes again and again",
    ),
];

/// What virt-controller says of a network whose NetworkAttachmentDefinition does not exist.
const NO_DEFINITION: &str = "failed to locate network attachment definition";

/// Conditions that hold the reason, the most telling first, and the status in which they do.
const REASONS: &[(&str, &str)] = &[
    ("Failure", "True"),
    ("PodScheduled", "False"),
    ("Synchronized", "False"),
    ("DataVolumesReady", "False"),
    ("Ready", "False"),
];

pub(super) fn machine(machine: &DynamicObject) -> Option<String> {
    let status = machine.data.get("status")?;
    let word = text(status, "printableStatus")?;
    if word == "Stopped"
        && let Some(why) = off(machine)
    {
        return Some(format!("the virtual machine is switched off: {why}"));
    }
    let why = reason(status);
    if let Some(why) = why.as_ref().filter(|why| why.contains(NO_DEFINITION)) {
        return Some(format!("the virtual machine cannot start: {why}"));
    }
    let (_, what) = STUCK.iter().find(|(stuck, _)| *stuck == word)?;
    if word == "ErrorUnschedulable" && why.as_deref().is_some_and(is_passing) {
        return None;
    }
    let mut words = format!("{what}: {word}");
    let failures = status.pointer("/startFailure/consecutiveFailCount");
    if let Some(times @ 2..) = failures.and_then(Value::as_i64) {
        words.extend([", ", &times.to_string(), " times"]);
    }
    if let Some(why) = why {
        words.extend([": ", &why]);
    }
    Some(words)
}

/// Why nobody is about to start this machine. Starting it changes what is looked at here.
fn off(machine: &DynamicObject) -> Option<&'static str> {
    let spec = &machine.data["spec"];
    match text(spec, "runStrategy") {
        Some("Halted") => Some("it is to be Halted"),
        // Every machine is called stopped until its controller has looked at it.
        Some("Once") if machine.data["status"]["created"] == true => Some("it has run Once"),
        _ => (spec["running"] == false).then_some("it is not to be running"),
    }
}

pub(super) fn instance(instance: &DynamicObject) -> Option<String> {
    let status = instance.data.get("status")?;
    let because = |what: &str| match reason(status) {
        Some(why) => format!("{what}: {why}"),
        None => what.to_owned(),
    };
    match text(status, "phase") {
        Some("Failed") => return Some(because("the virtual machine instance has failed")),
        Some("Succeeded") => {
            return Some("the virtual machine instance has ended: its guest was shut down".into());
        }
        _ => {}
    }
    let condition = |kind: &str| {
        conditions(status).find(|condition| {
            text(condition, "type") == Some(kind) && text(condition, "status") == Some("False")
        })
    };
    if let Some(scheduled) = condition("PodScheduled")
        && text(scheduled, "reason") == Some("Unschedulable")
    {
        let message = text(scheduled, "message").unwrap_or("the scheduler does not say why");
        return (!is_passing(message))
            .then(|| format!("the virtual machine instance cannot be scheduled: {message}"));
    }
    let stuck = condition("Synchronized")?;
    let message = text(stuck, "message").unwrap_or_default();
    text(stuck, "reason")
        .filter(|reason| FINAL.contains(reason) || message.contains(NO_DEFINITION))
        .map(|_| because("the virtual machine instance cannot start"))
}

/// Reasons of a condition `Synchronized` that do not go away.
const FINAL: &[&str] = &["FailedPvcNotFound", "ErrImagePull", "ImagePullBackOff"];

/// The reason and message of the most telling condition.
fn reason(status: &Value) -> Option<String> {
    REASONS.iter().find_map(|(kind, wanted)| {
        let found = conditions(status).find(|condition| {
            text(condition, "type") == Some(kind)
                && text(condition, "status") == Some(wanted)
                && text(condition, "message").is_some()
        })?;
        let words = [text(found, "reason"), text(found, "message")];
        Some(words.into_iter().flatten().collect::<Vec<_>>().join(": "))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(
        clippy::needless_pass_by_value,
        reason = "statuses are written at the call"
    )]
    fn object(status: Value) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": "vm"}, "status": status})).unwrap()
    }

    fn unschedulable(message: &str) -> Value {
        json!({"printableStatus": "ErrorUnschedulable", "phase": "Scheduling", "conditions": [
            {"type": "Ready", "status": "False", "reason": "GuestNotRunning", "message": "Guest VM is not reported as running"},
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]})
    }

    #[test]
    fn a_machine_that_does_not_fit_is_given_up_with_the_words_of_the_scheduler() {
        let status = unschedulable("0/3 nodes are available: 3 Insufficient memory.");
        assert_eq!(
            machine(&object(status.clone())).unwrap(),
            "the virtual machine cannot be scheduled: ErrorUnschedulable: Unschedulable: 0/3 nodes are available: 3 Insufficient memory."
        );
        assert_eq!(
            instance(&object(status)).unwrap(),
            "the virtual machine instance cannot be scheduled: 0/3 nodes are available: 3 Insufficient memory."
        );
        let passing = unschedulable("pod has unbound immediate PersistentVolumeClaims");
        assert_eq!(machine(&object(passing.clone())), None);
        assert_eq!(instance(&object(passing)), None);
    }

    #[test]
    fn every_word_for_being_stuck_is_known_and_no_other_one() {
        for (word, _) in STUCK {
            assert!(
                machine(&object(json!({"printableStatus": word}))).is_some(),
                "{word}"
            );
        }
        for word in [
            "Stopped",
            "Provisioning",
            "Starting",
            "Running",
            "Paused",
            "Stopping",
            "Migrating",
            "WaitingForVolumeBinding",
            "Unknown",
        ] {
            assert_eq!(
                machine(&object(json!({"printableStatus": word}))),
                None,
                "{word}"
            );
        }
        assert_eq!(
            machine(&object(json!({"printableStatus": "CrashLoopBackOff", "startFailure": {"consecutiveFailCount": 3}}))).unwrap(),
            "the virtual machine crashes again and again: CrashLoopBackOff, 3 times"
        );
    }

    #[test]
    fn a_machine_that_is_switched_off_does_not_come_up_by_itself() {
        let with = |spec: Value, word: &str| {
            let mut machine = object(json!({"printableStatus": word, "created": true}));
            machine.data["spec"] = spec;
            super::machine(&machine)
        };
        for spec in [
            json!({"runStrategy": "Halted"}),
            json!({"runStrategy": "Once"}),
            json!({"running": false}),
        ] {
            assert!(with(spec.clone(), "Stopped").is_some());
            assert_eq!(with(spec, "Stopping"), None);
        }
        for spec in [
            json!({"runStrategy": "Always"}),
            json!({"runStrategy": "Manual"}),
        ] {
            assert_eq!(with(spec, "Stopped"), None);
        }
        let mut new = object(json!({"printableStatus": "Stopped"}));
        new.data["spec"] = json!({"runStrategy": "Once"});
        assert_eq!(machine(&new), None);
    }

    #[test]
    fn a_machine_waits_in_vain_for_a_network_that_does_not_exist() {
        let message = "failed to render launch manifest: failed to locate network attachment definition n/net";
        let status = json!({"printableStatus": "Starting", "phase": "Pending", "conditions": [
            {"type": "Synchronized", "status": "False", "reason": "FailedCreate", "message": message}]});
        assert_eq!(
            machine(&object(status.clone())).unwrap(),
            format!("the virtual machine cannot start: FailedCreate: {message}")
        );
        assert!(instance(&object(status)).unwrap().ends_with(message));
    }

    #[test]
    fn an_instance_that_has_ended_does_not_come_back() {
        let failed = json!({"phase": "Failed", "conditions": [
            {"type": "Ready", "status": "False", "reason": "PodTerminating", "message": "virt-launcher pod is terminating"}]});
        assert_eq!(
            instance(&object(failed)).unwrap(),
            "the virtual machine instance has failed: PodTerminating: virt-launcher pod is terminating"
        );
        assert!(instance(&object(json!({"phase": "Succeeded"}))).is_some());
        assert_eq!(instance(&object(json!({"phase": "Running"}))), None);
        let image = json!({"phase": "Scheduling", "conditions": [
            {"type": "Synchronized", "status": "False", "reason": "ErrImagePull", "message": "nope:1: not found"}]});
        assert_eq!(
            instance(&object(image)).unwrap(),
            "the virtual machine instance cannot start: ErrImagePull: nope:1: not found"
        );
    }
}
