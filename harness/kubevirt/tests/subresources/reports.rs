//! What is read: of guests, of machines, and of the API itself.

use http::Method;
use serde_json::{Value, json};

use crate::site::{call, message, site};

fn path(name: &str, report: &str) -> String {
    format!("virtualmachineinstances/{name}/{report}")
}

#[tokio::test]
async fn guests_are_described_in_the_recorded_form() {
    let site = site().await;
    site.running("tiny").await;
    let (code, info) = site.read(&path("tiny", "guestosinfo")).await;
    assert_eq!(code, 200);
    let expected = r#"{
 "fsFreezeStatus": "thawed",
 "fsInfo": {
  "disks": null
 },
 "guestAgentVersion": "7.2.22",
 "hostname": "tiny",
 "os": {
  "id": "tinyguest",
  "name": "Tiny \u003cGuest\u003e"
 },
 "supportedCommands": [
  {
   "enabled": true,
   "name": "guest-ping"
  },
  {
   "name": "guest-get-devices"
  }
 ],
 "timezone": "UTC, 0"
}"#;
    assert_eq!(info, expected);
    let (code, users) = site.read(&path("tiny", "userlist")).await;
    assert_eq!(code, 200);
    let users: Value = serde_json::from_str(&users).unwrap();
    assert_eq!(
        users,
        json!({"items": [{"userName": "fedora", "loginTime": 1_795_000_000.25}], "metadata": {}})
    );
    let (code, systems) = site.read(&path("tiny", "filesystemlist")).await;
    assert_eq!(code, 200);
    let systems: Value = serde_json::from_str(&systems).unwrap();
    assert_eq!(
        systems,
        json!({"items": [{
            "disk": [{"serial": "s", "busType": "virtio"}], "diskName": "vda1", "fileSystemType": "ext4",
            "mountPoint": "/", "totalBytes": 10, "usedBytes": 5,
        }], "metadata": {}})
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_told_as_text() {
    let site = site().await;
    site.instance("mute", json!({}), json!({"phase": "Running"}))
        .await;
    site.instance("new", json!({}), json!({"phase": "Scheduled"}))
        .await;
    site.running("broken").await;
    let conflict = |name: &str, why: &str| {
        format!(
            "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"{name}\": {why}"
        )
    };
    for report in ["guestosinfo", "userlist", "filesystemlist"] {
        for (name, why) in [
            ("nope", "virtualmachineinstance.kubevirt.io \"nope\" not found".to_owned()),
            ("new", conflict("new", "VMI is not running")),
            ("mute", conflict("mute", "VMI does not have guest agent connected")),
            (
                "broken",
                "unexpected return code 500 (500 Internal Server Error), message: the monitor does not answer".to_owned(),
            ),
        ] {
            assert_eq!(site.read(&path(name, report)).await, (500, why));
        }
    }
}

#[tokio::test]
async fn machines_are_expanded() {
    let site = site().await;
    site.machine("m", json!({"running": true}), Value::Null)
        .await;
    let (code, expanded) = site.read("virtualmachines/m/expand-spec").await;
    assert_eq!(code, 200);
    let expanded: Value = serde_json::from_str(&expanded).unwrap();
    assert_eq!(expanded, site.get("virtualmachines", "m").await);
    let named = json!({"running": true, "instancetype": {"name": "u1.small"}});
    site.machine("named", named, Value::Null).await;
    let refused = site.read("virtualmachines/named/expand-spec").await;
    assert_eq!(
        message(&refused, 500),
        "Internal error occurred: virtualmachineclusterinstancetypes.instancetype.kubevirt.io \"u1.small\" not found"
    );
    let refused = site.read("virtualmachines/nope/expand-spec").await;
    assert_eq!(
        message(&refused, 404),
        "virtualmachine.kubevirt.io \"nope\" not found"
    );

    let mut vm = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "body"},
        "spec": {"running": false, "template": {"spec": {"domain": {"devices": {}}}}},
    });
    let (code, expanded) = site.put("expand-vm-spec", &vm.to_string()).await;
    assert_eq!(code, 200, "{expanded}");
    let expanded: Value = serde_json::from_str(&expanded).unwrap();
    assert_eq!(expanded["metadata"]["namespace"], "default");
    vm["metadata"]["namespace"] = "other".into();
    let refused = site.put("expand-vm-spec", &vm.to_string()).await;
    assert_eq!(
        message(&refused, 400),
        "VM namespace must be empty or default"
    );
    let refused = site.put("expand-vm-spec", "{").await;
    assert!(
        message(&refused, 400).starts_with("Can not unmarshal Request body to struct, error: ")
    );
}

#[tokio::test]
async fn the_api_tells_its_version_and_health() {
    let site = site().await;
    let root =
        |version: &str, path: &str| format!("/apis/subresources.kubevirt.io/{version}/{path}");
    for version in ["v1", "v1alpha3"] {
        let (code, answer) = call(
            &site.admin,
            Method::GET,
            &root(version, "version"),
            &Value::Null,
        )
        .await;
        assert_eq!(code, 200);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["gitVersion"], "v1.8.4");
        assert_eq!(answer["platform"], "linux/amd64");
        let (code, answer) = call(
            &site.admin,
            Method::GET,
            &root(version, "healthz"),
            &Value::Null,
        )
        .await;
        assert_eq!(code, 200);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["apiserver"]["connectivity"], "ok");
        assert_eq!(answer["apiserver"]["version"]["gitVersion"], "v1.34.4");
    }
    let profiler = root("v1", "start-cluster-profiler");
    let (code, answer) = call(&site.admin, Method::GET, &profiler, &Value::Null).await;
    assert_eq!(
        (code, answer.as_str()),
        (
            403,
            "Unable to start profiler. \"ClusterProfiler\" feature gate must be enabled"
        )
    );
}
