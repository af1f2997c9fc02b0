//! Starting, stopping, restarting and migrating.

use http::Method;
use serde_json::{Value, json};

use crate::site::{Site, call, message, site};

fn conflict(name: &str, why: &str) -> String {
    format!("Operation cannot be fulfilled on virtualmachine.kubevirt.io \"{name}\": {why}")
}

async fn accepted(site: &Site, path: &str, body: &str) {
    let answer = site.put(path, body).await;
    assert_eq!(answer, (202, String::new()), "{path}");
}

#[tokio::test]
async fn halted_machines_are_started_by_their_specification() {
    let site = site().await;
    site.machine(
        "old",
        json!({"running": false}),
        json!({"printableStatus": "Stopped"}),
    )
    .await;
    accepted(&site, "virtualmachines/old/start", "").await;
    assert_eq!(
        site.get("virtualmachines", "old").await["spec"]["running"],
        true
    );
    let strategy = json!({"runStrategy": "Halted"});
    site.machine("new", strategy, json!({"printableStatus": "Stopped"}))
        .await;
    accepted(&site, "virtualmachines/new/start", "{}").await;
    let vm = site.get("virtualmachines", "new").await;
    assert_eq!(vm["spec"]["runStrategy"], "Always");
    assert_eq!(vm["status"].get("stateChangeRequests"), None);
    let managers = vm["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|entry| entry["manager"] == "virt-api"));
}

#[tokio::test]
async fn a_paused_start_is_asked_of_the_controller() {
    let site = site().await;
    site.machine(
        "m",
        json!({"runStrategy": "Halted"}),
        json!({"printableStatus": "Stopped"}),
    )
    .await;
    accepted(&site, "virtualmachines/m/start", r#"{"paused": true}"#).await;
    let vm = site.get("virtualmachines", "m").await;
    assert_eq!(vm["spec"]["runStrategy"], "Halted");
    assert_eq!(
        vm["status"]["stateChangeRequests"],
        json!([{"action": "Start", "data": {"paused": "true"}}])
    );
}

#[tokio::test]
async fn manual_machines_are_started_and_stopped_by_requests() {
    let site = site().await;
    let stopped = json!({"printableStatus": "Stopped"});
    for strategy in ["Manual", "RerunOnFailure"] {
        let name = strategy.to_lowercase();
        let spec = json!({"runStrategy": strategy});
        site.machine(&name, spec, stopped.clone()).await;
        let refused = site.put(&format!("virtualmachines/{name}/stop"), "").await;
        assert_eq!(message(&refused, 409), conflict(&name, "VM is not running"));
        accepted(&site, &format!("virtualmachines/{name}/start"), "").await;
        let vm = site.get("virtualmachines", &name).await;
        assert_eq!(
            vm["status"]["stateChangeRequests"],
            json!([{"action": "Start"}])
        );
        let again = site.put(&format!("virtualmachines/{name}/start"), "").await;
        assert_eq!(
            message(&again, 500),
            "Internal error occurred: unable to complete request: stop/start already underway"
        );
        let uid = site.running(&name).await;
        let again = site.put(&format!("virtualmachines/{name}/start"), "").await;
        assert_eq!(
            message(&again, 409),
            conflict(&name, "VM is already running")
        );
        accepted(&site, &format!("virtualmachines/{name}/stop"), "").await;
        let vm = site.get("virtualmachines", &name).await;
        assert_eq!(
            vm["status"]["stateChangeRequests"],
            json!([{"action": "Stop", "uid": uid}])
        );
    }
}

#[tokio::test]
async fn machines_that_start_themselves_are_not_started() {
    let site = site().await;
    for strategy in ["Always", "Once"] {
        let name = strategy.to_lowercase();
        let spec = json!({"runStrategy": strategy});
        site.machine(&name, spec, json!({"printableStatus": "Starting"}))
            .await;
        let refused = site.put(&format!("virtualmachines/{name}/start"), "").await;
        assert_eq!(
            message(&refused, 409),
            conflict(
                &name,
                &format!("{strategy} does not support manual start requests")
            )
        );
        accepted(&site, &format!("virtualmachines/{name}/stop"), "").await;
        let vm = site.get("virtualmachines", &name).await;
        assert_eq!(vm["spec"]["runStrategy"], "Halted");
    }
    site.machine("running", json!({"running": true}), Value::Null)
        .await;
    accepted(&site, "virtualmachines/running/stop", "").await;
    let vm = site.get("virtualmachines", "running").await;
    assert_eq!(vm["spec"]["running"], false);
}

#[tokio::test]
async fn ended_instances_are_replaced_or_not() {
    let site = site().await;
    for (name, strategy, phase) in [
        ("manual-failed", "Manual", "Failed"),
        ("manual-done", "Manual", "Succeeded"),
        ("rerun-done", "RerunOnFailure", "Succeeded"),
    ] {
        let spec = json!({"runStrategy": strategy});
        site.machine(name, spec, json!({"printableStatus": "Stopped"}))
            .await;
        let uid = site
            .instance(name, json!({}), json!({"phase": phase}))
            .await;
        accepted(&site, &format!("virtualmachines/{name}/start"), "").await;
        let vm = site.get("virtualmachines", name).await;
        assert_eq!(
            vm["status"]["stateChangeRequests"],
            json!([{"action": "Stop", "uid": uid}, {"action": "Start"}])
        );
    }
    let spec = json!({"runStrategy": "RerunOnFailure"});
    site.machine("rerun-failed", spec, Value::Null).await;
    site.instance("rerun-failed", json!({}), json!({"phase": "Failed"}))
        .await;
    let refused = site.put("virtualmachines/rerun-failed/start", "").await;
    assert_eq!(
        message(&refused, 409),
        conflict(
            "rerun-failed",
            "RerunOnFailure does not support starting VM from failed state"
        )
    );
}

#[tokio::test]
async fn stopping_may_shorten_the_grace_period() {
    let site = site().await;
    site.machine(
        "m",
        json!({"runStrategy": "Halted"}),
        json!({"printableStatus": "Stopping"}),
    )
    .await;
    let spec = json!({"terminationGracePeriodSeconds": 180});
    let uid = site.instance("m", spec, json!({"phase": "Running"})).await;
    let why = "Halted only supports manual stop requests with a shorter graceperiod";
    let refused = site.put("virtualmachines/m/stop", "").await;
    assert_eq!(message(&refused, 409), conflict("m", why));
    accepted(&site, "virtualmachines/m/stop", "gracePeriod: 0").await;
    let vmi = site.get("virtualmachineinstances", "m").await;
    assert_eq!(vmi["spec"]["terminationGracePeriodSeconds"], 0);
    let vm = site.get("virtualmachines", "m").await;
    assert_eq!(
        vm["status"]["stateChangeRequests"],
        json!([{"action": "Stop", "uid": uid}])
    );
}

#[tokio::test]
async fn restarts_stop_and_start() {
    let site = site().await;
    for strategy in ["Halted", "Once"] {
        let name = strategy.to_lowercase();
        site.machine(&name, json!({"runStrategy": strategy}), Value::Null)
            .await;
        let refused = site
            .put(&format!("virtualmachines/{name}/restart"), "")
            .await;
        assert_eq!(
            message(&refused, 409),
            conflict(
                &name,
                &format!("RunStategy {strategy} does not support manual restart requests")
            )
        );
    }
    let status = json!({"printableStatus": "Running", "startFailure": {"consecutiveFailCount": 3}});
    site.machine("m", json!({"running": true}), status).await;
    let refused = site.put("virtualmachines/m/restart", "").await;
    assert_eq!(
        message(&refused, 409),
        conflict("m", "VM is not running: Halted")
    );
    for (seconds, why) in [
        (
            5,
            "For force restart, only gracePeriod=0 is supported for now",
        ),
        (-1, "gracePeriod has to be greater or equal to 0"),
    ] {
        let body = format!("{{\"gracePeriodSeconds\": {seconds}}}");
        let refused = site.put("virtualmachines/m/restart", &body).await;
        assert_eq!(message(&refused, 400), why);
    }
    let uid = site.running("m").await;
    accepted(&site, "virtualmachines/m/restart", "").await;
    let vm = site.get("virtualmachines", "m").await;
    assert_eq!(
        vm["status"]["stateChangeRequests"],
        json!([{"action": "Stop", "uid": uid}, {"action": "Start"}])
    );
    assert_eq!(vm["status"].get("startFailure"), None);
}

#[tokio::test]
async fn a_forced_restart_ends_the_pod() {
    let site = site().await;
    site.machine(
        "m",
        json!({"running": true}),
        json!({"printableStatus": "Running"}),
    )
    .await;
    let uid = site.running("m").await;
    let pods = "/api/v1/namespaces/default/pods";
    for (name, owner) in [
        ("virt-launcher-m-aaaaa", uid.as_str()),
        ("virt-launcher-o-bbbbb", "other"),
    ] {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"kubevirt.io": "virt-launcher", "kubevirt.io/created-by": owner}},
            "spec": {"nodeName": "n", "containers": [{"name": "compute", "image": "i"}]},
        });
        let (code, answer) = call(&site.admin, Method::POST, pods, &pod).await;
        assert_eq!(code, 201, "{answer}");
        pod = serde_json::from_str(&answer).unwrap();
        pod["status"]["phase"] = "Running".into();
        let status = format!("{pods}/{name}/status");
        let (code, answer) = call(&site.admin, Method::PUT, &status, &pod).await;
        assert_eq!(code, 200, "{answer}");
    }
    accepted(
        &site,
        "virtualmachines/m/restart",
        r#"{"gracePeriodSeconds": 0}"#,
    )
    .await;
    let pod = |name: &'static str| {
        let client = site.admin.clone();
        async move {
            let path = format!("{pods}/{name}");
            let (_, answer) = call(&client, Method::GET, &path, &Value::Null).await;
            serde_json::from_str::<Value>(&answer).unwrap()
        }
    };
    let gone = pod("virt-launcher-m-aaaaa").await;
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 1);
    let kept = pod("virt-launcher-o-bbbbb").await;
    assert_eq!(kept["metadata"].get("deletionTimestamp"), None);
}

#[tokio::test]
async fn migrations_are_asked_for_by_an_object() {
    let site = site().await;
    let path = "virtualmachines/m/migrate";
    let refused = site.put(path, "").await;
    assert_eq!(
        message(&refused, 404),
        "virtualmachine.kubevirt.io \"m\" not found"
    );
    site.machine("m", json!({"running": true}), Value::Null)
        .await;
    let refused = site.put(path, "").await;
    assert_eq!(
        message(&refused, 404),
        "virtualmachineinstance.kubevirt.io \"m\" not found"
    );
    site.running("m").await;
    accepted(&site, path, r#"{"addedNodeSelector": {"rack": "2"}}"#).await;
    let all = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations";
    let (_, list) = call(&site.admin, Method::GET, all, &Value::Null).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let migration = &list["items"][0];
    let name = migration["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("kubevirt-migrate-vm-"), "{name}");
    assert_eq!(
        migration["spec"],
        json!({"vmiName": "m", "addedNodeSelector": {"rack": "2"}})
    );
    site.machine("s", json!({"running": true}), Value::Null)
        .await;
    site.instance("s", json!({}), json!({"phase": "Scheduling"}))
        .await;
    let refused = site.put("virtualmachines/s/migrate", "").await;
    assert_eq!(message(&refused, 409), conflict("s", "VM is not running"));
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let site = site().await;
    let dry = r#"{"dryRun": ["All"]}"#;
    site.machine(
        "m",
        json!({"runStrategy": "Halted"}),
        json!({"printableStatus": "Stopped"}),
    )
    .await;
    accepted(&site, "virtualmachines/m/start", dry).await;
    assert_eq!(
        site.get("virtualmachines", "m").await["spec"]["runStrategy"],
        "Halted"
    );
    site.machine(
        "a",
        json!({"runStrategy": "Always"}),
        json!({"printableStatus": "Running"}),
    )
    .await;
    site.running("a").await;
    accepted(&site, "virtualmachines/a/restart", dry).await;
    accepted(&site, "virtualmachines/a/stop", dry).await;
    accepted(&site, "virtualmachines/a/migrate", dry).await;
    let vm = site.get("virtualmachines", "a").await;
    assert_eq!(vm["spec"]["runStrategy"], "Always");
    assert_eq!(vm["status"].get("stateChangeRequests"), None);
    let all = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations";
    let (_, list) = call(&site.admin, Method::GET, all, &Value::Null).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn bodies_that_are_none_are_refused() {
    let site = site().await;
    site.machine("m", json!({"runStrategy": "Halted"}), Value::Null)
        .await;
    for body in [r#"{"paused": "yes"}"#, "{", "- paused"] {
        let refused = site.put("virtualmachines/m/start", body).await;
        let message = message(&refused, 400);
        assert!(
            message.starts_with("Can not unmarshal Request body to struct, error: "),
            "{message}"
        );
    }
    let vm = site.get("virtualmachines", "m").await;
    assert_eq!(vm["spec"]["runStrategy"], "Halted");
}
