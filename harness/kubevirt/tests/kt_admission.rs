//! KubeVirt's defaults and refusals as clients of a real API server meet them: what was recorded, and what upstream says.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kubeapi::ApiServer;
use serde_json::{Value, json};
use trunkline_kubevirt::admission::Late;

const CONTROLLER: &str = "system:serviceaccount:kubevirt:kubevirt-controller";
const USER: &str = "alice";

struct Cluster(ApiServer);

impl Cluster {
    fn start() -> Self {
        let late = Late::default();
        let mut builder = ApiServer::builder().admission(late.admission());
        for definition in trunkline_kubevirt::crds() {
            builder = builder.crd(definition);
        }
        let server = builder.build().unwrap();
        late.connect(server.client("system:serviceaccount:kubevirt:kubevirt-apiserver"));
        Self(server)
    }

    fn api(&self, kind: &str, user: &str) -> Api<DynamicObject> {
        self.api_in(kind, user, "default")
    }

    fn api_in(&self, kind: &str, user: &str, namespace: &str) -> Api<DynamicObject> {
        let group = if matches!(kind, "Pod" | "Namespace") {
            ""
        } else {
            "kubevirt.io"
        };
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let client: Client = self.0.client(user);
        if kind.kind == "Namespace" {
            return Api::all_with(client, &kind);
        }
        Api::namespaced_with(client, namespace, &kind)
    }

    async fn create(&self, kind: &str, object: Value) -> Result<Value, kube::core::Status> {
        self.create_as(USER, kind, object).await
    }

    async fn create_as(
        &self,
        user: &str,
        kind: &str,
        object: Value,
    ) -> Result<Value, kube::core::Status> {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        answer(
            self.api(kind, user)
                .create(&PostParams::default(), &object)
                .await,
        )
    }

    async fn merge_as(
        &self,
        user: &str,
        kind: &str,
        name: &str,
        patch: Value,
    ) -> Result<Value, kube::core::Status> {
        let parameters = PatchParams::default();
        answer(
            self.api(kind, user)
                .patch(name, &parameters, &Patch::Merge(patch))
                .await,
        )
    }
}

fn answer(result: Result<DynamicObject, kube::Error>) -> Result<Value, kube::core::Status> {
    match result {
        Ok(object) => Ok(serde_json::to_value(object).unwrap()),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(other) => panic!("{other}"),
    }
}

fn recorded(name: &str) -> Value {
    let path = format!(
        "{}/tests/recorded/objects/{name}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn machine(template: Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "vm"},
        "spec": {"runStrategy": "Halted", "template": {"spec": template}},
    })
}

fn instance(spec: Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "vmi"},
        "spec": spec,
    })
}

/// A specification that is fine; `change` makes it something else.
fn spec(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "domain": {
            "memory": {"guest": "128Mi"},
            "devices": {
                "disks": [{"name": "root", "disk": {"bus": "virtio"}}],
                "interfaces": [
                    {"name": "default", "masquerade": {}},
                    {"name": "blue", "bridge": {}},
                ],
            },
        },
        "networks": [
            {"name": "default", "pod": {}},
            {"name": "blue", "multus": {"networkName": "blue"}},
        ],
        "volumes": [{"name": "root", "containerDisk": {"image": "guest:v1"}}],
    });
    change(&mut spec);
    spec
}

fn without(mut object: Value, paths: &[&str]) -> Value {
    for path in paths {
        let (parent, name) = path.rsplit_once('/').unwrap();
        if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(name);
        }
    }
    object
}

#[tokio::test]
async fn kt_a_machine_is_created_as_recorded() {
    let cluster = Cluster::start();
    let expected = recorded("s1-vm-2-ready");
    // What the user had written, without what KubeVirt has added.
    let asked = without(
        json!({
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": "tiny"},
            "spec": expected["spec"],
        }),
        &[
            "/spec/template/metadata/annotations",
            "/spec/template/spec/architecture",
            "/spec/template/spec/domain/firmware",
            "/spec/template/spec/domain/machine",
            "/spec/template/spec/domain/resources",
        ],
    );
    let created = cluster.create("VirtualMachine", asked).await.unwrap();
    let firmware = created["spec"]["template"]["spec"]["domain"]["firmware"].clone();
    for name in ["uuid", "serial"] {
        assert!(
            uuid::Uuid::parse_str(firmware[name].as_str().unwrap()).is_ok(),
            "{firmware}"
        );
    }
    assert_ne!(firmware["uuid"], firmware["serial"]);
    let other = ["/spec/template/spec/domain/firmware"];
    assert_eq!(
        without(created, &other)["spec"],
        without(expected, &other)["spec"],
        "the recorded machine"
    );
}

#[tokio::test]
async fn kt_an_instance_is_created_as_recorded() {
    let cluster = Cluster::start();
    for (name, added) in [
        (
            "s3-vmi-noagent",
            &[
                "/spec/architecture",
                "/spec/domain/cpu",
                "/spec/domain/features",
                "/spec/domain/firmware",
                "/spec/domain/machine",
                "/spec/domain/resources",
                "/spec/evictionStrategy",
            ][..],
        ),
        (
            "s4-vmi-bridge-running",
            &[
                "/spec/architecture",
                "/spec/domain/cpu",
                "/spec/domain/devices/interfaces",
                "/spec/domain/features",
                "/spec/domain/firmware",
                "/spec/domain/machine",
                "/spec/domain/resources",
                "/spec/evictionStrategy",
                "/spec/networks",
                "/spec/volumes/0/containerDisk/imagePullPolicy",
            ],
        ),
    ] {
        let expected = recorded(name);
        let asked = without(instance(expected["spec"].clone()), added);
        let mut asked = asked;
        asked["metadata"]["name"] = json!(name);
        let created = cluster
            .create("VirtualMachineInstance", asked)
            .await
            .unwrap();
        let other = ["/spec/domain/firmware"];
        assert_eq!(
            without(created.clone(), &other)["spec"],
            without(expected.clone(), &other)["spec"],
            "{name}"
        );
        let status = &created["status"];
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["phaseTransitionTimestamps"][0]["phase"], "Pending");
        assert_eq!(status["runtimeUser"], 107);
        assert_eq!(status["guestOSInfo"], json!({}));
        assert_eq!(status["memory"], expected["status"]["memory"]);
        assert_eq!(
            status["currentCPUTopology"],
            expected["status"]["currentCPUTopology"]
        );
        assert_eq!(
            created["metadata"]["finalizers"],
            json!(["kubevirt.io/foregroundDeleteVirtualMachine"])
        );
        assert_eq!(
            created["metadata"]["annotations"]["kubevirt.io/pci-topology-version"],
            "v3"
        );
    }
}

#[tokio::test]
async fn kt_an_instance_gets_what_it_does_not_say() {
    let cluster = Cluster::start();
    let asked = instance(json!({
        "domain": {
            "devices": {"disks": [{"name": "cd", "cdrom": {}}]},
            "resources": {"requests": {"memory": "2048Mi"}, "limits": {"cpu": 2}},
        },
        "volumes": [
            {"name": "root", "containerDisk": {"image": "registry.example/guest"}},
            {"name": "cd", "containerDisk": {"image": "guest@sha256:00"}},
        ],
        "readinessProbe": {"guestAgentPing": {}},
    }));
    let created = cluster
        .create("VirtualMachineInstance", asked)
        .await
        .unwrap();
    let spec = &created["spec"];
    let domain = &spec["domain"];
    assert_eq!(domain["memory"], json!({"guest": "2Gi", "maxGuest": "8Gi"}));
    assert_eq!(
        domain["cpu"],
        json!({"cores": 1, "sockets": 2, "threads": 1, "maxSockets": 8, "model": "host-model"})
    );
    assert_eq!(
        domain["resources"],
        json!({"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "2"}})
    );
    assert_eq!(
        domain["devices"]["disks"],
        json!([
            {"name": "cd", "cdrom": {"bus": "sata", "readonly": true, "tray": "closed"}},
            {"name": "root", "disk": {"bus": "sata"}},
        ])
    );
    assert_eq!(
        domain["devices"]["interfaces"],
        json!([{"name": "default", "bridge": {}}])
    );
    assert_eq!(
        spec["volumes"][0]["containerDisk"]["imagePullPolicy"],
        "Always"
    );
    assert_eq!(
        spec["volumes"][1]["containerDisk"]["imagePullPolicy"],
        "IfNotPresent"
    );
    assert_eq!(
        spec["readinessProbe"],
        json!({
            "guestAgentPing": {},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        })
    );
}

#[tokio::test]
async fn kt_the_kubevirt_object_decides_on_defaults() {
    let cluster = Cluster::start();
    let namespace = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubevirt"},
    }))
    .unwrap();
    cluster
        .api("Namespace", USER)
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let kubevirt = serde_json::from_value(json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt"},
        "spec": {"configuration": {
            "evictionStrategy": "LiveMigrate",
            "cpuModel": "max",
            "machineType": "pc-q35-10.0",
            "vmRolloutStrategy": "Stage",
            "network": {"defaultNetworkInterface": "masquerade"},
        }},
    }))
    .unwrap();
    let kubevirts = cluster.api_in("KubeVirt", USER, "kubevirt");
    kubevirts
        .create(&PostParams::default(), &kubevirt)
        .await
        .unwrap();
    let asked = instance(json!({"domain": {"memory": {"guest": "1Gi"}, "devices": {}}}));
    let created = cluster
        .create("VirtualMachineInstance", asked)
        .await
        .unwrap();
    let spec = &created["spec"];
    assert_eq!(spec["evictionStrategy"], "LiveMigrate");
    assert_eq!(spec["domain"]["cpu"]["model"], "max");
    assert_eq!(spec["domain"]["cpu"].get("maxSockets"), None);
    assert_eq!(spec["domain"]["memory"], json!({"guest": "1Gi"}));
    assert_eq!(spec["domain"]["machine"]["type"], "pc-q35-10.0");
    assert_eq!(
        spec["domain"]["devices"]["interfaces"],
        json!([{"name": "default", "masquerade": {}}])
    );
}

#[tokio::test]
async fn kt_a_machine_that_says_running_is_warned_about_and_kept() {
    let cluster = Cluster::start();
    let mut asked = machine(spec(|_| {}));
    asked["spec"]["runStrategy"].take();
    asked["spec"] = json!({"running": true, "template": asked["spec"]["template"]});
    let created = cluster.create("VirtualMachine", asked).await.unwrap();
    assert_eq!(created["spec"]["running"], true);
    assert_eq!(created["spec"].get("runStrategy"), None);
}

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
async fn kt_machines_that_cannot_be_are_refused_in_kubevirts_words() {
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
async fn kt_run_strategies_are_checked() {
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
async fn kt_an_instance_must_be_whole() {
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
async fn kt_only_kubevirt_changes_an_instance() {
    let cluster = Cluster::start();
    let kind = "VirtualMachineInstance";
    cluster.create(kind, instance(spec(|_| {}))).await.unwrap();
    let changed = json!({"spec": {"terminationGracePeriodSeconds": 1}});
    let status = cluster
        .merge_as(USER, kind, "vmi", changed)
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "admission webhook \"virtualmachineinstances-update-validator.kubevirt.io\" denied the request: update of VMI object is restricted"
    );
    let status = json!({"status": {"phase": "Running"}});
    let after = cluster
        .merge_as(USER, kind, "vmi", status.clone())
        .await
        .unwrap();
    assert_eq!(
        after["status"]["phase"], "Pending",
        "a user's word about the status is ignored"
    );
    let after = cluster
        .merge_as(CONTROLLER, kind, "vmi", status)
        .await
        .unwrap();
    assert_eq!(after["status"]["phase"], "Running");
    assert_eq!(
        after["metadata"]["generation"], 2,
        "the status counts as in a real KubeVirt"
    );
    let label = json!({"metadata": {"labels": {"kubevirt.io/nodeName": "a"}}});
    let status = cluster
        .merge_as(USER, kind, "vmi", label)
        .await
        .unwrap_err();
    assert!(
        status
            .message
            .contains("modification of the following reserved"),
        "{}",
        status.message
    );
    let label = json!({"metadata": {"labels": {"mine": "a"}}});
    cluster.merge_as(USER, kind, "vmi", label).await.unwrap();
}

fn migration(name: &str, vmi: &str) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": name},
        "spec": {"vmiName": vmi},
    })
}

#[tokio::test]
async fn kt_migrations_are_refused_as_recorded() {
    let cluster = Cluster::start();
    let denied =
        "admission webhook \"migration-create-validator.kubevirt.io\" denied the request: ";
    let kind = "VirtualMachineInstanceMigration";
    let refused = |status: kube::core::Status| {
        let told = status
            .message
            .strip_prefix(denied)
            .unwrap_or_else(|| panic!("{status:?}"));
        (status.code, told.to_owned())
    };
    let status = cluster
        .create(kind, migration("m", "none"))
        .await
        .unwrap_err();
    assert_eq!(
        refused(status),
        (400, "the VMI \"default/none\" does not exist".to_owned())
    );
    cluster
        .create("VirtualMachineInstance", instance(spec(|_| {})))
        .await
        .unwrap();
    let created = cluster.create(kind, migration("m", "vmi")).await.unwrap();
    assert_eq!(
        created["metadata"]["labels"],
        json!({"kubevirt.io/vmi-name": "vmi"})
    );
    assert_eq!(
        created["metadata"]["finalizers"],
        json!(["kubevirt.io/migrationJobFinalize"])
    );
    // observed/kubevirt/s3-second-vmim.txt
    let status = cluster
        .create(kind, migration("n", "vmi"))
        .await
        .unwrap_err();
    let uid = created["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        refused(status).1,
        format!(
            "in-flight migration detected. Active migration job ({uid}) is currently already in progress for VMI vmi."
        )
    );
    // observed/kubevirt/s4-bridge-migration-refused.txt
    let condition = json!({
        "type": "LiveMigratable", "status": "False", "reason": "InterfaceNotLiveMigratable",
        "message": "cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network",
    });
    let patch = json!({"status": {"conditions": [condition]}});
    cluster
        .merge_as(CONTROLLER, "VirtualMachineInstance", "vmi", patch)
        .await
        .unwrap();
    let status = cluster
        .create(kind, migration("n", "vmi"))
        .await
        .unwrap_err();
    assert_eq!(
        refused(status).1,
        "Cannot migrate VMI, Reason: InterfaceNotLiveMigratable, Message: cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network"
    );
    let patch = json!({"spec": {"vmiName": "other"}});
    let status = cluster.merge_as(USER, kind, "m", patch).await.unwrap_err();
    assert!(
        status
            .message
            .ends_with("update of Migration object's spec is restricted"),
        "{}",
        status.message
    );
    let patch = json!({"metadata": {"labels": {"kubevirt.io/vmi-name": "b"}}});
    let status = cluster.merge_as(USER, kind, "m", patch).await.unwrap_err();
    assert!(
        status
            .message
            .ends_with("selector label can't be modified on an in-flight migration"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn kt_evictions_of_machines_are_answered_as_recorded() {
    let cluster = Cluster::start();
    let asked = instance(spec(|spec| spec["evictionStrategy"] = json!("LiveMigrate")));
    cluster
        .create("VirtualMachineInstance", asked)
        .await
        .unwrap();
    for node in ["kv-worker", "kv-worker2"] {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": format!("virt-launcher-{node}"),
                "labels": {"kubevirt.io": "virt-launcher"},
                "annotations": {"kubevirt.io/domain": "vmi"},
            },
            "spec": {"nodeName": node, "containers": [{"name": "compute", "image": "launcher"}]},
        });
        cluster.create("Pod", pod).await.unwrap();
    }
    let denied =
        "admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: ";
    let evict = async |pod: &str| {
        let api = Api::<Pod>::namespaced(cluster.0.client(USER), "default");
        let error = api
            .evict(pod, &kube::api::EvictParams::default())
            .await
            .unwrap_err();
        let kube::Error::Api(status) = error else {
            panic!("{error}")
        };
        assert_eq!(status.code, 429, "{status:?}");
        status
            .message
            .strip_prefix(denied)
            .unwrap_or_else(|| panic!("{status:?}"))
            .to_owned()
    };
    assert_eq!(
        evict("virt-launcher-kv-worker").await,
        "VMI vmi is configured with an eviction strategy but is not live-migratable"
    );
    let patch = json!({"status": {
        "nodeName": "kv-worker2",
        "conditions": [{"type": "LiveMigratable", "status": "True"}],
    }});
    cluster
        .merge_as(CONTROLLER, "VirtualMachineInstance", "vmi", patch)
        .await
        .unwrap();
    // observed/kubevirt/s2-eviction-response.txt, s3-eviction-response.txt, s3-eviction-response-2.txt
    assert_eq!(
        evict("virt-launcher-kv-worker").await,
        "Eviction request for target Pod"
    );
    assert_eq!(
        evict("virt-launcher-kv-worker2").await,
        "Eviction triggered evacuation of VMI \"default/vmi\""
    );
    assert_eq!(
        evict("virt-launcher-kv-worker2").await,
        "Evacuation in progress: Eviction triggered evacuation of VMI \"default/vmi\""
    );
    let instance = cluster
        .api("VirtualMachineInstance", USER)
        .get("vmi")
        .await
        .unwrap();
    assert_eq!(instance.data["status"]["evacuationNodeName"], "kv-worker2");
}

#[tokio::test]
async fn kt_a_field_that_does_not_exist_is_told() {
    let cluster = Cluster::start();
    let asked = machine(spec(|spec| {
        spec["termination/GracePeriodSeconds"] = json!(5)
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
