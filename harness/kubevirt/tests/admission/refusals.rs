//! What is refused, in KubeVirt's words.

use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{CONTROLLER, Cluster, USER, instance, machine, spec};

/// What is asked for, and the message, the field and the reason of its refusal.
type Refusal = (Value, &'static str, &'static str, &'static str);

#[rustfmt::skip]
fn refusals() -> Vec<Refusal> {
    const INVALID: &str = "FieldValueInvalid";
    const REQUIRED: &str = "FieldValueRequired";
    const DUPLICATE: &str = "FieldValueDuplicate";
    const UNSUPPORTED: &str = "FieldValueNotSupported";
    vec![
        (spec(|s| s["networks"] = json!([{"name": "default", "pod": {}}])),
            "spec.template.spec.domain.devices.interfaces[1].name 'blue' not found.",
            "spec.template.spec.domain.devices.interfaces[1].name", INVALID),
        (spec(|s| s["domain"]["devices"]["interfaces"] = json!([{"name": "default", "masquerade": {}}])),
            "spec.template.spec.networks[1].name 'blue' not found.",
            "spec.template.spec.networks[1].name", REQUIRED),
        (spec(|s| s["domain"]["devices"]["interfaces"][1]["macAddress"] = json!("02:zz:00:00:00:01")),
            "interface spec.template.spec.domain.devices.interfaces[1].name has malformed MAC address (02:zz:00:00:00:01).",
            "spec.template.spec.domain.devices.interfaces[1].macAddress", INVALID),
        (spec(|s| s["domain"]["devices"]["interfaces"][0]["macAddress"] = json!("02:00:00:00:00:00")),
            "The requested MAC address is reserved for the in-pod bridge. Please choose another one.",
            "spec.template.spec.domain.devices.interfaces[0].macAddress", INVALID),
        (spec(|s| s["domain"]["devices"]["interfaces"][1] = json!({"name": "blue", "masquerade": {}})),
            "Masquerade interface only implemented with pod network",
            "spec.template.spec.domain.devices.interfaces[1].name", INVALID),
        (spec(|s| s["domain"]["devices"]["interfaces"][1]["binding"] = json!({"name": "l2bridge"})),
            "logical blue interface cannot have both binding plugin and interface binding method",
            "spec.template.spec.domain.devices.interfaces[1].binding", INVALID),
        (spec(|s| s["domain"]["devices"]["interfaces"][1] = json!({"name": "blue", "slirp": {}})),
            "Slirp interface support has been discontinued since v1.3",
            "spec.domain.devices.interfaces[1].slirp", INVALID),
        (spec(|s| s["domain"]["devices"]["interfaces"][1]["state"] = json!("dormant")),
            "logical blue interface state value is unsupported: dormant",
            "spec.template.spec.domain.devices.interfaces[1].state", INVALID),
        (spec(|s| s["domain"]["devices"]["interfaces"][1]["model"] = json!("ne3000")),
            "interface spec.template.spec.domain.devices.interfaces[1].name uses model ne3000 that is not supported.",
            "spec.template.spec.domain.devices.interfaces[1].model", UNSUPPORTED),
        (spec(|s| s["domain"]["devices"]["interfaces"][0]["ports"] = json!([{"name": "a", "port": 0}])),
            "Port field is mandatory.",
            "spec.template.spec.domain.devices.interfaces[0].ports[0]", REQUIRED),
        (spec(|s| s["networks"][1] = json!({"name": "blue", "pod": {}})),
            "more than one interface is connected to a pod network in spec.template.spec.interfaces",
            "spec.template.spec.interfaces", DUPLICATE),
        (spec(|s| s["networks"][1] = json!({"name": "blue"})),
            "should have a network type",
            "spec.template.spec.networks[1]", REQUIRED),
        (spec(|s| s["volumes"] = json!([])),
            "spec.template.spec.domain.devices.disks[0].Name 'root' not found.",
            "spec.template.spec.domain.devices.disks[0].name", INVALID),
        (spec(|s| s["volumes"][0]["emptyDisk"] = json!({"capacity": "1Gi"})),
            "spec.template.spec.volumes[0] must have exactly one source type set",
            "spec.template.spec.volumes[0]", INVALID),
        (spec(|s| s["volumes"][0]["containerDisk"]["path"] = json!("/disk/../x")),
            "spec.template.spec.volumes[0].containerDisk must be an absolute path to a file without relative components",
            "spec.template.spec.volumes[0].containerDisk", INVALID),
        (spec(|s| s["volumes"][0] = json!({"name": "root", "cloudInitNoCloud": {"userData": "a", "userDataBase64": "YQ=="}})),
            "spec.template.spec.volumes[0].cloudInitNoCloud must have only one userdatasource set.",
            "spec.template.spec.volumes[0].cloudInitNoCloud", INVALID),
        (spec(|s| s["volumes"][0] = json!({"name": "root", "cloudInitNoCloud": {}})),
            "spec.template.spec.volumes[0].cloudInitNoCloud must have at least one userdatasource or one networkdatasource set.",
            "spec.template.spec.volumes[0].cloudInitNoCloud", INVALID),
        (spec(|s| s["volumes"][0] = json!({"name": "root", "cloudInitNoCloud": {"userData": "x".repeat(2049)}})),
            "spec.template.spec.volumes[0].cloudInitNoCloud userdata exceeds 2048 byte limit. Should use UserDataSecretRef for larger data.",
            "spec.template.spec.volumes[0].cloudInitNoCloud", INVALID),
        (spec(|s| s["domain"]["devices"]["disks"][0]["disk"]["bus"] = json!("ide")),
            "IDE bus is not supported",
            "spec.template.spec.domain.devices.disks[0].disk.bus", INVALID),
        (spec(|s| s["domain"]["devices"]["disks"][0]["bootOrder"] = json!(0)),
            "spec.template.spec.domain.devices.disks[0] must have a boot order > 0, if supplied",
            "spec.template.spec.domain.devices.disks[0].bootOrder", INVALID),
        (spec(|s| s["domain"]["machine"] = json!({"type": "pc-i440fx"})),
            "spec.template.spec.domain.machine.type is not supported: pc-i440fx (allowed values: [q35* pc-q35*])",
            "spec.template.spec.domain.machine.type", INVALID),
        (spec(|s| s["domain"]["resources"] = json!({"requests": {"memory": "512"}})),
            "spec.template.spec.domain.resources.requests.memory '512': must be greater than or equal to 1M.",
            "spec.template.spec.domain.resources.requests.memory", INVALID),
        (spec(|s| s["domain"]["resources"] = json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}})),
            "spec.template.spec.domain.resources.requests.memory '2Gi' is greater than spec.template.spec.domain.resources.limits.memory '1Gi'",
            "spec.template.spec.domain.resources.requests.memory", INVALID),
        (spec(|s| s["evictionStrategy"] = json!("Run")),
            "spec.template.spec.evictionStrategy is set with an unrecognized option: Run",
            "spec.template.spec.evictionStrategy", INVALID),
        (spec(|s| s["hostname"] = json!("Web_1")),
            "spec.template.spec.hostname does not conform to the kubernetes DNS_LABEL rules : a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "spec.template.spec.hostname", INVALID),
        (spec(|s| s["startStrategy"] = json!("Running")),
            "spec.template.spec.startStrategy is set with an unrecognized option: Running",
            "spec.template.spec.startStrategy", INVALID),
        (spec(|s| s["accessCredentials"] = json!([{"sshPublicKey": {"source": {"secret": {"secretName": "k"}}, "propagationMethod": {"noCloud": {}}}}])),
            "spec.template.spec.accessCredentials[0] requires a noCloud volume to exist when the noCloud propagationMethod is in use.",
            "spec.template.spec.accessCredentials[0].sshPublicKey.propagationMethod", INVALID),
        (spec(|s| { s["readinessProbe"] = json!({}); }),
            "either spec.template.spec.readinessProbe.tcpSocket, spec.template.spec.readinessProbe.exec or spec.template.spec.readinessProbe.httpGet must be set if a spec.template.spec.readinessProbe is specified",
            "spec.template.spec.readinessProbe", REQUIRED),
        (spec(|s| s["domain"]["cpu"] = json!({"sockets": 4, "maxSockets": 2})),
            "Number of sockets in CPU topology is greater than the maximum sockets allowed",
            "spec.template.spec.domain.cpu.sockets", INVALID),
    ]
}

#[tokio::test]
async fn machines_that_cannot_be_are_refused_in_kubevirts_words() {
    let cluster = Cluster::start();
    for (template, message, field, reason) in refusals() {
        let status = cluster
            .create("VirtualMachine", machine(template))
            .await
            .unwrap_err();
        let denied =
            "admission webhook \"virtualmachine-validator.kubevirt.io\" denied the request: ";
        let told = status
            .message
            .strip_prefix(denied)
            .unwrap_or_else(|| panic!("{status:?}"));
        assert!(
            told.split(", ").any(|part| part == message) || told == message,
            "{told}\n{message}"
        );
        assert_eq!(
            (status.code, status.reason.as_str()),
            (422, "Invalid"),
            "{message}"
        );
        let causes = status.details.unwrap().causes;
        assert!(
            causes.iter().any(|cause| cause.message == message
                && cause.field == field
                && cause.reason == reason),
            "{message}: {causes:#?}"
        );
    }
    let fine = cluster
        .create("VirtualMachine", machine(spec(|_| {})))
        .await;
    assert!(fine.is_ok(), "{fine:?}");
}

#[tokio::test]
async fn run_strategies_are_checked() {
    let cluster = Cluster::start();
    for (running, strategy, message) in [
        (
            json!(true),
            json!("Always"),
            "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead",
        ),
        (Value::Null, Value::Null, "RunStrategy must be specified"),
        (
            Value::Null,
            json!("Sometimes"),
            "Invalid RunStrategy (Sometimes)",
        ),
        (
            Value::Null,
            json!("WaitAsReceiver"),
            "Invalid RunStrategy (WaitAsReceiver), DecentralizedLiveMigration feature gate is not enabled in kubevirt resource",
        ),
    ] {
        let mut asked = machine(spec(|_| {}));
        asked["spec"] = json!({"template": asked["spec"]["template"]});
        for (name, value) in [("running", running), ("runStrategy", strategy)] {
            if !value.is_null() {
                asked["spec"][name] = value;
            }
        }
        let status = cluster.create("VirtualMachine", asked).await.unwrap_err();
        assert_eq!(
            status.message,
            format!(
                "admission webhook \"virtualmachine-validator.kubevirt.io\" denied the request: {message}"
            )
        );
    }
}

#[tokio::test]
async fn an_instance_must_be_whole() {
    let cluster = Cluster::start();
    let asked = instance(json!({"domain": {"devices": {}}}));
    let status = cluster
        .create("VirtualMachineInstance", asked)
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "admission webhook \"virtualmachineinstances-create-validator.kubevirt.io\" denied the request: no memory requested, at least one of 'spec.domain.memory.guest', 'spec.domain.memory.hugepages.pageSize' or 'spec.domain.resources.requests.memory' must be set"
    );
    let mut asked = instance(spec(|_| {}));
    asked["metadata"]["labels"] = json!({"kubevirt.io/nodeName": "here"});
    let status = cluster
        .create("VirtualMachineInstance", asked.clone())
        .await
        .unwrap_err();
    assert!(
        status.message.ends_with(
            "creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited"
        ),
        "{}",
        status.message
    );
    cluster
        .create_as(CONTROLLER, "VirtualMachineInstance", asked)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_field_that_does_not_exist_is_told() {
    let cluster = Cluster::start();
    let asked = machine(spec(|spec| {
        spec["termination/GracePeriodSeconds"] = json!(5);
    }));
    let object: DynamicObject = serde_json::from_value(asked).unwrap();
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        field_manager: Some("test".to_owned()),
        ..PatchParams::default()
    };
    let machines = cluster.api("VirtualMachine", USER);
    let error = machines
        .patch("vm", &parameters, &Patch::Apply(&object))
        .await
        .unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    assert!(
        status.message.contains("termination/GracePeriodSeconds"),
        "{}",
        status.message
    );
}
