//! What is done to running instances.

use serde_json::json;

use crate::site::{message, site};

fn conflict(name: &str, why: &str) -> String {
    format!("Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"{name}\": {why}")
}

const FREEZE: &str = r#"{"unfreezeTimeout": "5m0s"}"#;

fn path(name: &str, act: &str) -> String {
    format!("virtualmachineinstances/{name}/{act}")
}

#[tokio::test]
async fn acts_reach_the_machine_and_answer_nothing() {
    let site = site().await;
    let uid = site.running("tiny").await;
    for (act, body) in [
        ("pause", ""),
        ("softreboot", ""),
        ("reset", ""),
        ("freeze", FREEZE),
        ("unfreeze", ""),
    ] {
        let answer = site.put(&path("tiny", act), body).await;
        assert_eq!(answer, (200, String::new()), "{act}");
        assert_eq!(site.machines.taken(), [format!("{act} default/tiny {uid}")]);
    }
    let paused = json!({"phase": "Running", "conditions": [{"type": "Paused", "status": "True"}]});
    let uid = site.instance("paused", json!({}), paused).await;
    let answer = site.put(&path("paused", "unpause"), "").await;
    assert_eq!(answer, (200, String::new()));
    assert_eq!(
        site.machines.taken(),
        [format!("unpause default/paused {uid}")]
    );
    let dry = site
        .put(&path("tiny", "pause"), r#"{"dryRun": ["All"]}"#)
        .await;
    assert_eq!(dry, (200, String::new()));
    assert!(site.machines.taken().is_empty(), "a dry run does nothing");
}

#[tokio::test]
async fn acts_need_the_right_state() {
    let site = site().await;
    site.running("tiny").await;
    site.instance("new", json!({}), json!({"phase": "Scheduling"}))
        .await;
    let paused = json!({"phase": "Running", "conditions": [{"type": "Paused", "status": "True"}]});
    site.instance("paused", json!({}), paused).await;
    for (name, act, why) in [
        ("new", "pause", "VM is not running"),
        ("new", "freeze", "VM is not running"),
        ("new", "softreboot", "VM is not running"),
        ("new", "backup", "VM is not running"),
        ("new", "unpause", "VMI is not running"),
        ("new", "unfreeze", "VMI is not running"),
        ("tiny", "unpause", "VMI is not paused"),
        (
            "tiny",
            "redefine-checkpoint",
            "ChangedBlockTracking is not enabled",
        ),
        ("paused", "pause", "VMI is already paused"),
        ("paused", "softreboot", "VMI is paused"),
    ] {
        let refused = site.put(&path(name, act), FREEZE).await;
        assert_eq!(message(&refused, 409), conflict(name, why), "{act}");
    }
    let refused = site.put(&path("new", "reset"), "").await;
    assert_eq!(
        message(&refused, 400),
        "Failed to reset non-running VMI with phase Scheduling: Unable to connect to VirtualMachineInstance because \
         phase is Scheduling instead of Running or Scheduled"
    );
    for act in [
        "pause",
        "unpause",
        "reset",
        "freeze",
        "unfreeze",
        "softreboot",
    ] {
        let refused = site.put(&path("nope", act), FREEZE).await;
        assert_eq!(
            message(&refused, 404),
            "virtualmachineinstance.kubevirt.io \"nope\" not found"
        );
    }
    assert!(site.machines.taken().is_empty());
}

#[tokio::test]
async fn probes_and_missing_buttons_forbid() {
    let site = site().await;
    let probed = json!({"livenessProbe": {"tcpSocket": {"port": 80}}});
    site.instance("probed", probed, json!({"phase": "Running"}))
        .await;
    let refused = site.put(&path("probed", "pause"), "").await;
    assert_eq!(
        message(&refused, 403),
        "virtualmachineinstance.kubevirt.io \"probed\" is forbidden: Pausing VMIs with a non-GuestAgentPing LivenessProbe \
         is not supported"
    );
    let deaf = json!({"domain": {"devices": {}, "features": {"acpi": {"enabled": false}}}});
    site.instance("deaf", deaf, json!({"phase": "Running"}))
        .await;
    let refused = site.put(&path("deaf", "softreboot"), "").await;
    assert_eq!(
        message(&refused, 409),
        conflict(
            "deaf",
            "VMI neither have the agent connected nor the ACPI feature enabled"
        )
    );
    site.running("copied").await;
    site.machine(
        "copied",
        json!({"running": true}),
        json!({"snapshotInProgress": "s"}),
    )
    .await;
    let refused = site.put(&path("copied", "unpause"), "").await;
    assert_eq!(
        message(&refused, 409),
        "Operation cannot be fulfilled on virtualmachine.kubevirt.io \"copied\": VM snapshot is in progress"
    );
}

#[tokio::test]
async fn what_the_machine_cannot_do_is_told_as_virt_api_tells_it() {
    let site = site().await;
    site.running("broken").await;
    let said = |code: &str| {
        format!(
            "Internal error occurred: unexpected return code {code}, message: the monitor does not answer"
        )
    };
    for act in ["pause", "softreboot", "reset"] {
        let refused = site.put(&path("broken", act), "").await;
        assert_eq!(
            message(&refused, 500),
            said("500 (500 Internal Server Error)")
        );
    }
    for act in ["freeze", "unfreeze"] {
        let refused = site.put(&path("broken", act), FREEZE).await;
        assert_eq!(message(&refused, 500), said("400 (400 Bad Request)"));
    }
    let refused = site.put(&path("broken", "freeze"), "{}").await;
    assert_eq!(
        message(&refused, 500),
        "Internal error occurred: unexpected return code 400 (400 Bad Request), message: Unfreeze timeout in freeze \
         request is not set"
    );
}

#[tokio::test]
async fn what_its_feature_gate_closes_says_so() {
    let site = site().await;
    site.running("tiny").await;
    let volumes =
        "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.";
    for path in [
        "virtualmachines/tiny/addvolume",
        "virtualmachines/tiny/removevolume",
        "virtualmachines/tiny/memorydump",
        "virtualmachineinstances/tiny/addvolume",
    ] {
        let refused = site.put(path, "{}").await;
        assert_eq!(message(&refused, 400), volumes);
    }
    let refused = site.read("virtualmachineinstances/tiny/objectgraph").await;
    assert_eq!(
        message(&refused, 400),
        "ObjectGraph feature gate not enabled: Unable to return object graph."
    );
    let refused = site
        .read("virtualmachineinstances/tiny/sev/fetchcertchain")
        .await;
    assert_eq!(
        message(&refused, 400),
        "'WorkloadEncryptionSEV' feature gate is not enabled"
    );
    let done = site
        .put("virtualmachineinstances/tiny/evacuate/cancel", "")
        .await;
    assert_eq!(done, (200, String::new()), "nothing is being evacuated");
}
