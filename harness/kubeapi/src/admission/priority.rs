//! The priority of pods, from their class.

use serde_json::Value;

use crate::object;
use crate::registry::Served;
use crate::registry::builtin::PRIORITY_CLASSES;
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::Key;

/// Fills in a pod's priority; a class that does not exist, or a number that is not the class's, is refused.
pub fn resolve(core: &Core, pod: &mut Value) -> Result<(), Status> {
    let name = object::name(pod).to_owned();
    let forbidden = |why: &str| Status::forbidden("", "pods", &name, why);
    let spec = object::child(pod, "spec");
    let asked = object::text(spec, &["priorityClassName"]).to_owned();
    let class = if asked.is_empty() {
        default_class(core)
    } else {
        let entry = core.store.get(PRIORITY_CLASSES, &Key::new("", &asked));
        let entry = entry
            .ok_or_else(|| forbidden(&format!("no PriorityClass with name {asked} was found")))?;
        Some(entry.object.clone())
    };
    let (priority, preemption) = match &class {
        Some(class) => {
            spec["priorityClassName"] = object::name(class).into();
            (
                object::integer(class, &["value"]).unwrap_or(0),
                object::text(class, &["preemptionPolicy"]),
            )
        }
        None => (0, ""),
    };
    if let Some(given) = object::integer(spec, &["priority"]).filter(|given| *given != priority) {
        return Err(forbidden(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        )));
    }
    spec["priority"] = priority.into();
    let preemption = if preemption.is_empty() {
        "PreemptLowerPriority"
    } else {
        preemption
    };
    match object::text(spec, &["preemptionPolicy"]) {
        "" => spec["preemptionPolicy"] = preemption.into(),
        given if given != preemption => {
            return Err(forbidden(&format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {preemption} from the given PriorityClass name"
            )));
        }
        _ => {}
    }
    Ok(())
}

/// The class of pods that name none: the lowest of those that are for everybody.
fn default_class(core: &Core) -> Option<Value> {
    core.store
        .list(PRIORITY_CLASSES, None)
        .entries
        .iter()
        .filter(|entry| entry.object["globalDefault"] == true)
        .min_by_key(|entry| object::integer(&entry.object, &["value"]))
        .map(|entry| entry.object.clone())
}

/// There is one default at most.
pub fn check_class(core: &Core, served: &Served, class: &Value) -> Result<(), Status> {
    if &*served.resource.storage != PRIORITY_CLASSES || class["globalDefault"] != true {
        return Ok(());
    }
    let name = object::name(class);
    match default_class(core) {
        Some(other) if object::name(&other) != name => Err(Status::forbidden(
            "scheduling.k8s.io",
            "priorityclasses",
            name,
            &format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                object::name(&other)
            ),
        )),
        _ => Ok(()),
    }
}
