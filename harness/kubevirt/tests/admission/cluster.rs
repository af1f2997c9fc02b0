//! An API server with KubeVirt's definitions and admission, and objects to give it.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kubeapi::ApiServer;
use serde_json::{Value, json};
use trunkline_kubevirt::admission::Late;

pub const CONTROLLER: &str = "system:serviceaccount:kubevirt:kubevirt-controller";
pub const USER: &str = "alice";

pub struct Cluster(pub ApiServer);

impl Cluster {
    pub fn start() -> Self {
        let late = Late::default();
        let mut builder = ApiServer::builder().admission(late.admission());
        for definition in trunkline_kubevirt::crds() {
            builder = builder.crd(definition);
        }
        let server = builder.build().unwrap();
        late.connect(server.client("system:serviceaccount:kubevirt:kubevirt-apiserver"));
        Self(server)
    }

    pub fn api(&self, kind: &str, user: &str) -> Api<DynamicObject> {
        self.api_in(kind, user, "default")
    }

    pub fn api_in(&self, kind: &str, user: &str, namespace: &str) -> Api<DynamicObject> {
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

    pub async fn create(&self, kind: &str, object: Value) -> Result<Value, kube::core::Status> {
        self.create_as(USER, kind, object).await
    }

    pub async fn create_as(
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

    pub async fn merge_as(
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

pub fn answer(result: Result<DynamicObject, kube::Error>) -> Result<Value, kube::core::Status> {
    match result {
        Ok(object) => Ok(serde_json::to_value(object).unwrap()),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(other) => panic!("{other}"),
    }
}

pub fn recorded(name: &str) -> Value {
    let path = format!(
        "{}/tests/recorded/objects/{name}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn machine(template: Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "vm"},
        "spec": {"runStrategy": "Halted", "template": {"spec": template}},
    })
}

pub fn instance(spec: Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "vmi"},
        "spec": spec,
    })
}

/// A specification that is fine; `change` makes it something else.
pub fn spec(change: impl FnOnce(&mut Value)) -> Value {
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

pub fn without(mut object: Value, paths: &[&str]) -> Value {
    for path in paths {
        let (parent, name) = path.rsplit_once('/').unwrap();
        if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(name);
        }
    }
    object
}
