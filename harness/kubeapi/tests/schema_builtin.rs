//! Schemas of built-in kinds: what Go's decoder would say, and what it would write.

use kubeapi::schema::{Gvk, Schema, builtin};
use rstest::rstest;
use serde_json::{Value, json};

fn schema(group: &str, kind: &str) -> Schema {
    let gvk = Gvk {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
    };
    builtin(&gvk)
        .unwrap_or_else(|| panic!("{group} {kind} is not in the data"))
        .as_ref()
        .clone()
}

#[rstest]
#[case("", "Pod")]
#[case("", "Service")]
#[case("apps", "Deployment")]
#[case("batch", "CronJob")]
#[case("networking.k8s.io", "NetworkPolicy")]
#[case("discovery.k8s.io", "EndpointSlice")]
#[case("events.k8s.io", "Event")]
#[case("coordination.k8s.io", "Lease")]
#[case("rbac.authorization.k8s.io", "ClusterRole")]
#[case("storage.k8s.io", "StorageClass")]
#[case("policy", "PodDisruptionBudget")]
#[case("apiextensions.k8s.io", "CustomResourceDefinition")]
#[case("authentication.k8s.io", "TokenReview")]
#[case("authorization.k8s.io", "SubjectAccessReview")]
#[case("autoscaling", "Scale")]
fn every_group_that_is_served_has_its_kinds(#[case] group: &str, #[case] kind: &str) {
    schema(group, kind);
}

#[test]
fn other_kinds_are_not_built_in() {
    assert!(
        builtin(&Gvk {
            group: "example.org".into(),
            version: "v1".into(),
            kind: "Pod".into()
        })
        .is_none()
    );
}

#[rstest]
#[case(
    json!({"spec": {"containers": "nginx"}}),
    "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
)]
#[case(
    json!({"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}}),
    "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
)]
#[case(
    json!({"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}}),
    "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
)]
#[case(
    json!({"metadata": {"labels": {"a": true}}}),
    "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
)]
#[case(
    json!({"spec": []}),
    "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
)]
#[case(
    json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}),
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
)]
#[case(
    json!({"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": true}}}]}}),
    "json: cannot unmarshal bool into Go struct field HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type int32",
)]
#[case(
    json!({"spec": {"priority": 99_999_999_999_i64}}),
    "json: cannot unmarshal number 99999999999 into Go struct field PodSpec.spec.priority of type int32",
)]
fn wrong_types_read_like_gos_decoder(#[case] pod: Value, #[case] expected: &str) {
    let error = schema("", "Pod").decode(&pod).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

#[rstest]
#[case(json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}], "volumes": null}}))]
#[case(json!({"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": "http"}}},
    {"livenessProbe": {"httpGet": {"port": 80}}}]}}))]
#[case(json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1.5Gi"}}}]}}))]
#[case(json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}))]
fn what_fits_decodes(#[case] pod: Value) {
    assert_eq!(schema("", "Pod").decode(&pod), Ok(()));
}

#[test]
fn a_secrets_data_must_be_base64() {
    let secret = schema("", "Secret");
    assert_eq!(secret.decode(&json!({"data": {"a": "aGVsbG8="}})), Ok(()));
    let error = secret
        .decode(&json!({"data": {"a": "hello!"}}))
        .expect_err("refused");
    assert_eq!(error.to_string(), "illegal base64 data at input byte 5");
}

#[test]
fn unknown_fields_are_found_and_free_form_values_kept() {
    let mut pod = json!({
        "metadata": {"name": "p", "anotations": {}, "annotations": {"any.key/x": "v"},
            "managedFields": [{"fieldsV1": {"f:spec": {"f:x": {}}}}]},
        "spec": {"containers": [{"name": "a", "imag": "x", "resources": {"limits": {"example.org/x": "1"}}}], "foo": 1},
    });
    assert_eq!(
        schema("", "Pod").prune(&mut pod),
        ["metadata.anotations", "spec.containers[0].imag", "spec.foo"],
        "in the order of the document"
    );
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["limits"]["example.org/x"],
        "1"
    );
    assert_eq!(
        pod["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:x": {}}})
    );
    let mut crd = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": {
        "a": {"default": {"free": [1]}, "items": {"properties": {"deep": {"nope": 1}}}},
    }}}}]}});
    assert_eq!(
        schema("apiextensions.k8s.io", "CustomResourceDefinition").prune(&mut crd),
        Vec::<String>::new(),
        "items and defaults are of any shape"
    );
}

#[test]
fn defaults_write_what_go_writes() {
    let mut service = json!({"metadata": {"name": "s", "labels": {}}, "spec": {"ports": [{"port": 80}], "selector": null,
        "externalIPs": []}});
    schema("", "Service").default(&mut service);
    assert_eq!(
        service,
        json!({
            "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
            "status": {"loadBalancer": {}},
        })
    );
}

#[test]
fn zeroes_are_left_out_unless_they_say_something() {
    let mut deployment = json!({"spec": {"replicas": 0, "paused": false, "minReadySeconds": 0,
        "template": {"spec": {"hostNetwork": false, "automountServiceAccountToken": false, "nodeName": "",
            "containers": [{"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]}}}});
    schema("apps", "Deployment").default(&mut deployment);
    assert_eq!(
        deployment["spec"],
        json!({"selector": null, "replicas": 0, "strategy": {}, "template": {"metadata": {}, "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}}})
    );
}

#[test]
fn required_fields_of_what_users_write() {
    let missing = |group: &str, kind: &str, mut object: Value| -> Vec<String> {
        let schema = schema(group, kind);
        schema.default(&mut object);
        schema
            .validate(&object, None)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        missing("", "Pod", json!({"spec": {}})),
        ["spec.containers: Required value"]
    );
    assert_eq!(
        missing("", "Pod", json!({"spec": {"containers": [{"image": "x"}]}})),
        ["spec.containers[0].name: Required value"]
    );
    assert_eq!(
        missing(
            "apps",
            "Deployment",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}})
        ),
        ["spec.selector: Required value"]
    );
    assert_eq!(
        missing(
            "rbac.authorization.k8s.io",
            "Role",
            json!({"metadata": {"name": "r"}})
        ),
        Vec::<String>::new()
    );
}
