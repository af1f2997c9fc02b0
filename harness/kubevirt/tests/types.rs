//! Everything that a real KubeVirt wrote can be read into the types and written again without a loss, and the
//! CustomResourceDefinitions describe all of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kubeapi::schema::{self, Schema};
use serde_json::{Value, json};
use trunkline_kubevirt::types::{
    KubeVirt, VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceMigration,
};

fn recorded() -> Vec<(PathBuf, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/objects");
    let mut objects: Vec<(PathBuf, Value)> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            documents(&text)
                .into_iter()
                .map(move |value| (path.clone(), value))
        })
        .collect();
    objects.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(objects.len() > 30, "the recorded objects are missing");
    objects
}

/// The objects of a file, those of lists one by one.
fn documents(text: &str) -> Vec<Value> {
    let value: Value = serde_yaml::from_str(text).unwrap();
    match value.get("items").and_then(Value::as_array) {
        Some(items) => items.clone(),
        None => vec![value],
    }
}

fn read_and_write(object: &Value) -> Value {
    fn through<T: serde::de::DeserializeOwned + serde::Serialize>(object: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(object.clone()).unwrap()).unwrap()
    }
    match object["kind"].as_str().unwrap() {
        "VirtualMachine" => through::<VirtualMachine>(object),
        "VirtualMachineInstance" => through::<VirtualMachineInstance>(object),
        "VirtualMachineInstanceMigration" => through::<VirtualMachineInstanceMigration>(object),
        "KubeVirt" => through::<KubeVirt>(object),
        other => panic!("no type for {other}"),
    }
}

#[test]
fn recorded_objects_survive_reading_and_writing() {
    for (path, object) in recorded() {
        assert_eq!(read_and_write(&object), object, "{}", path.display());
    }
}

/// The schema of the stored version of the definition that has this kind.
fn schema_of(kind: &str) -> &'static Schema {
    static SCHEMAS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
        let definitions = trunkline_kubevirt::crds();
        let schemas = definitions.iter().map(|definition| {
            let kind = definition["spec"]["names"]["kind"]
                .as_str()
                .unwrap()
                .to_owned();
            let version = &definition["spec"]["versions"][0];
            let schema = schema::from_crd(&version["schema"]["openAPIV3Schema"]);
            (kind, schema.unwrap_or_else(|errors| panic!("{errors:#?}")))
        });
        schemas.collect()
    });
    SCHEMAS
        .get(kind)
        .unwrap_or_else(|| panic!("no definition of {kind}"))
}

#[test]
fn the_definitions_know_every_recorded_field() {
    for (path, mut object) in recorded() {
        let schema = schema_of(object["kind"].as_str().unwrap());
        assert_eq!(schema.validate(&object, None), [], "{}", path.display());
        assert_eq!(
            schema.prune(&mut object),
            Vec::<String>::new(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_definitions_find_what_is_no_field() {
    let mut machine = json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "server"},
        "spec": {
            "running": true,
            "template": {
                "metadata": {"labels": {"app": "server"}},
                "spec": {
                    "domain": {"devices": {"discs": []}},
                    "termination/GracePeriodSeconds": 30,
                },
            },
        },
    });
    let mut unknown = schema_of("VirtualMachine").prune(&mut machine);
    unknown.sort();
    assert_eq!(
        unknown,
        [
            "spec.template.spec.domain.devices.discs",
            "spec.template.spec.termination/GracePeriodSeconds",
        ]
    );
}

#[test]
fn the_definitions_refuse_wrong_types_and_missing_parts() {
    let machine = json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "spec": {"running": "yes"},
    });
    let errors: Vec<String> = schema_of("VirtualMachine")
        .validate(&machine, None)
        .iter()
        .map(ToString::to_string)
        .collect();

    assert!(
        errors
            .iter()
            .any(|error| error.contains("spec.template: Required value")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|error| error.contains("spec.running")),
        "{errors:?}"
    );
}

#[test]
fn only_the_instance_has_no_status_of_its_own() {
    let without: Vec<String> = trunkline_kubevirt::crds()
        .iter()
        .filter(|definition| {
            definition["spec"]["versions"][0]
                .get("subresources")
                .is_none()
        })
        .map(|definition| {
            definition["spec"]["names"]["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(without, ["VirtualMachineInstance"]);
}

#[test]
fn numbers_are_quantities_too() {
    let instance: VirtualMachineInstance = serde_json::from_value(json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "a"},
        "spec": {"domain": {"devices": {}, "resources": {"requests": {"cpu": 1, "memory": "1Gi"}}}},
    }))
    .unwrap();
    let requests = &instance.spec.domain.resources.requests;
    assert_eq!(requests["cpu"].whole(), Some(1));
    assert_eq!(requests["memory"].whole(), Some(1 << 30));
}
