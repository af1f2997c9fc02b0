//! Which container of a pod a request means.

use serde_json::Value;

use crate::object;
use crate::status::Status;

const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The container asked for, or the pod's only one.
pub fn container(pod: &Value, asked: &str) -> Result<String, Status> {
    let name = object::name(pod);
    let names = |list: &str| -> Vec<&str> {
        object::list(pod, &["spec", list])
            .iter()
            .map(|c| object::text(c, &["name"]))
            .collect()
    };
    if !asked.is_empty() {
        if LISTS.iter().any(|list| names(list).contains(&asked)) {
            return Ok(asked.to_owned());
        }
        return Err(Status::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        )));
    }
    let main = names("containers");
    if let [only] = main.as_slice() {
        return Ok((*only).to_owned());
    }
    let annotation = object::text(
        pod,
        &[
            "metadata",
            "annotations",
            "kubectl.kubernetes.io/default-container",
        ],
    );
    if main.contains(&annotation) {
        return Ok(annotation.to_owned());
    }
    let all: Vec<&str> = ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| names(list))
        .collect();
    let message = format!(
        "a container name must be specified for pod {name}, choose one of: [{}]",
        all.join(" ")
    );
    Err(Status::bad_request(message))
}

/// A pod can be reached when it is on a node.
pub fn reachable(pod: &Value) -> Result<(), Status> {
    if object::text(pod, &["spec", "nodeName"]).is_empty() {
        return Err(Status::bad_request(format!(
            "pod {} does not have a host assigned",
            object::name(pod)
        )));
    }
    Ok(())
}
