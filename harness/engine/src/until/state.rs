//! One line about the state an object is in, for people who wait for it and for the text of a timeout.

use kube::api::DynamicObject;
use serde_json::Value;

use super::hopeless::{conditions, containers, text};

/// What an object looks like right now: its phase, what its containers wait for, its unmet conditions.
pub(crate) fn describe(object: &DynamicObject) -> String {
    let Some(status) = object.data.get("status") else {
        return if object.metadata.deletion_timestamp.is_some() {
            "being deleted"
        } else {
            "no status yet"
        }
        .to_owned();
    };
    let mut parts = Vec::new();
    if object.metadata.deletion_timestamp.is_some() {
        parts.push("being deleted".to_owned());
    }
    parts.extend(
        text(status, "phase")
            .or_else(|| text(status, "printableStatus"))
            .map(str::to_owned),
    );
    parts.extend(containers(status).filter_map(container));
    parts.extend(replicas(status));
    parts.extend(unmet(status));
    if parts.is_empty() {
        "its status says nothing".to_owned()
    } else {
        parts.join(", ")
    }
}

fn container(container: &Value) -> Option<String> {
    let name = text(container, "name")?;
    let state = container.get("state")?;
    if let Some(waiting) = state.get("waiting") {
        let reason = text(waiting, "reason").unwrap_or("no reason given");
        let message = text(waiting, "message")
            .map(|message| format!(" ({message})"))
            .unwrap_or_default();
        return Some(format!("container {name} waits: {reason}{message}"));
    }
    if let Some(terminated) = state.get("terminated") {
        return Some(format!(
            "container {name} ended with exit code {}",
            terminated["exitCode"]
        ));
    }
    (container["ready"] == false).then(|| format!("container {name} is not ready"))
}

fn replicas(status: &Value) -> Option<String> {
    let wanted = status.get("replicas")?.as_i64()?;
    let ready = status
        .get("readyReplicas")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    Some(format!("{ready} of {wanted} replicas ready"))
}

fn unmet(status: &Value) -> impl Iterator<Item = String> {
    conditions(status).filter_map(|condition| {
        let kind = text(condition, "type")?;
        if text(condition, "status") == Some("True") {
            return None;
        }
        // The containers have said it already, and better.
        let noise = ["ContainersReady", "Ready"].contains(&kind)
            && text(condition, "reason") == Some("ContainersNotReady");
        let words: Vec<_> = [text(condition, "reason"), text(condition, "message")]
            .into_iter()
            .flatten()
            .collect();
        (!noise).then(|| match words.join(": ") {
            empty if empty.is_empty() => format!("not {kind}"),
            words => format!("not {kind}: {words}"),
        })
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
        serde_json::from_value(json!({"metadata": {"name": "x"}, "status": status})).unwrap()
    }

    #[test]
    fn a_pod_tells_what_its_containers_wait_for() {
        let pod = object(json!({
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "long"}],
            "containerStatuses": [
                {"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}},
                {"name": "db", "ready": false, "state": {"running": {}}}],
        }));
        assert_eq!(
            describe(&pod),
            "Pending, container web waits: ContainerCreating, container db is not ready"
        );
    }

    #[test]
    fn other_objects_tell_their_unmet_conditions() {
        let nncp = object(json!({"conditions": [
            {"type": "Available", "status": "False", "reason": "FailedToConfigure", "message": "no such bridge"}]}));
        assert_eq!(
            describe(&nncp),
            "not Available: FailedToConfigure: no such bridge"
        );
        assert_eq!(describe(&object(json!({}))), "its status says nothing");
        assert_eq!(
            describe(&object(json!({"replicas": 3, "readyReplicas": 1}))),
            "1 of 3 replicas ready"
        );
    }
}
