//! The patches that switch machines on and off.

use serde_json::{Value, json};

use crate::types::{StateChangeAction, StateChangeRequest, VirtualMachine, VirtualMachineStatus};

/// Asks for a start. `paused` machines start without running.
pub fn start(paused: bool) -> StateChangeRequest {
    let data = paused.then(|| ("paused".to_owned(), "true".to_owned()));
    StateChangeRequest {
        action: StateChangeAction::Start,
        data: data.into_iter().collect(),
        uid: None,
    }
}

/// Asks for the end of an instance.
pub fn stop(uid: Option<String>) -> StateChangeRequest {
    StateChangeRequest {
        action: StateChangeAction::Stop,
        data: std::collections::BTreeMap::new(),
        uid,
    }
}

/// The patch of a status that makes requests of the controller. A stop replaces the requests that are there; nothing else
/// can be asked while they are.
pub fn requests(
    vm: &VirtualMachine,
    changes: &[StateChangeRequest],
) -> Result<Value, &'static str> {
    let status = vm.status.clone().unwrap_or_default();
    if status == VirtualMachineStatus::default() {
        let value = json!({"stateChangeRequests": changes});
        return Ok(json!([{"op": "add", "path": "/status", "value": value}]));
    }
    let path = "/status/stateChangeRequests";
    let known = &status.state_change_requests;
    let test = if known.is_empty() {
        Value::Null
    } else {
        json!(known)
    };
    let only_stop = matches!(changes, [one] if one.action == StateChangeAction::Stop);
    let operation = match (known.is_empty(), only_stop) {
        (true, _) => "add",
        (false, true) => "replace",
        (false, false) => return Err("unable to complete request: stop/start already underway"),
    };
    let mut operations = vec![
        json!({"op": "test", "path": path, "value": test}),
        json!({"op": operation, "path": path, "value": changes}),
    ];
    if status.start_failure.is_some() {
        operations.push(json!({"op": "remove", "path": "/status/startFailure"}));
    }
    Ok(operations.into())
}

/// The patch of a specification that wants the machine to run, or not to.
pub fn running(vm: &VirtualMachine, running: bool) -> Value {
    let (path, old, new) = match vm.spec.run_strategy {
        Some(strategy) => {
            let wanted = if running { "Always" } else { "Halted" };
            ("/spec/runStrategy", json!(strategy), json!(wanted))
        }
        None => ("/spec/running", json!(vm.spec.running), json!(running)),
    };
    json!([
        {"op": "test", "path": path, "value": old},
        {"op": "replace", "path": path, "value": new},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(value: &Value) -> VirtualMachine {
        let mut vm = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "m"},
            "spec": {"running": true, "template": {"spec": {"domain": {"devices": {}}}}},
        });
        for (key, value) in value.as_object().unwrap() {
            vm[key.as_str()] = value.clone();
        }
        serde_json::from_value(vm).unwrap()
    }

    #[test]
    fn a_machine_without_a_status_gets_one() {
        let patch = requests(&machine(&json!({})), &[start(true)]).unwrap();
        assert_eq!(
            patch,
            json!([{"op": "add", "path": "/status", "value": {
                "stateChangeRequests": [{"action": "Start", "data": {"paused": "true"}}],
            }}])
        );
    }

    #[test]
    fn a_stop_replaces_and_a_start_waits() {
        let pending = machine(&json!({"status": {
            "created": true, "stateChangeRequests": [{"action": "Start"}],
            "startFailure": {"consecutiveFailCount": 2},
        }}));
        let patch = requests(&pending, &[stop(Some("u".to_owned()))]).unwrap();
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/status/stateChangeRequests", "value": [{"action": "Start"}]},
                {
                    "op": "replace", "path": "/status/stateChangeRequests",
                    "value": [{"action": "Stop", "uid": "u"}],
                },
                {"op": "remove", "path": "/status/startFailure"},
            ])
        );
        let refused = requests(&pending, &[start(false)]).unwrap_err();
        assert_eq!(
            refused,
            "unable to complete request: stop/start already underway"
        );
    }

    #[test]
    fn running_is_said_where_it_was_said() {
        let old = running(&machine(&json!({})), false);
        assert_eq!(old[1]["path"], "/spec/running");
        assert_eq!(old[1]["value"], false);
        let spec = json!({"runStrategy": "Once", "template": {"spec": {"domain": {}}}});
        let new = running(&machine(&json!({"spec": spec})), false);
        assert_eq!(
            new,
            json!([
                {"op": "test", "path": "/spec/runStrategy", "value": "Once"},
                {"op": "replace", "path": "/spec/runStrategy", "value": "Halted"},
            ])
        );
    }
}
