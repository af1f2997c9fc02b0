use serde_json::json;

use super::{MAGIC, parse};

fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
}

#[test]
fn a_review() {
    let attributes = [bytes(1, b""), bytes(2, b"get"), bytes(5, b"pods")].concat();
    let raw = [bytes(1, b""), bytes(2, &bytes(1, &attributes))].concat();
    assert_eq!(
        parse(&body(
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview",
            &raw
        ))
        .unwrap(),
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}})
    );
}

#[test]
fn options_of_any_group() {
    let raw = [vec![0x08, 0x00], bytes(4, b"Orphan"), bytes(5, b"All")].concat();
    assert_eq!(
        parse(&body("v1", "DeleteOptions", &raw)).unwrap(),
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan",
            "dryRun": ["All"]})
    );
}

#[test]
fn maps_and_bytes() {
    let entry = [bytes(1, b"key"), bytes(2, b"value")].concat();
    let raw = [bytes(1, &bytes(1, b"s")), bytes(2, &entry)].concat();
    assert_eq!(
        parse(&body("v1", "Secret", &raw)).unwrap()["data"],
        json!({"key": "dmFsdWU="})
    );
    assert_eq!(
        parse(&body("v1", "ConfigMap", &raw)).unwrap()["data"],
        json!({"key": "value"})
    );
}

#[test]
fn sources_of_volumes_are_inlined() {
    let source = bytes(2, &bytes(1, b""));
    let volume = [bytes(1, b"tmp"), bytes(2, &source)].concat();
    let pod = bytes(2, &bytes(1, &volume));
    assert_eq!(
        parse(&body("v1", "Pod", &pod)).unwrap()["spec"]["volumes"],
        json!([{"name": "tmp", "emptyDir": {}}])
    );
}

#[test]
fn ports_are_numbers_or_names() {
    let port = |target: Vec<u8>| {
        let port = [vec![3 << 3, 80], bytes(4, &target)].concat();
        let service = bytes(2, &bytes(1, &port));
        parse(&body("v1", "Service", &service)).unwrap()["spec"]["ports"][0].clone()
    };
    assert_eq!(
        port([vec![0x08, 0x00, 0x10, 0x50], bytes(3, b"")].concat()),
        json!({"port": 80, "targetPort": 80})
    );
    assert_eq!(
        port([vec![0x08, 0x01, 0x10, 0x00], bytes(3, b"http")].concat()),
        json!({"port": 80, "targetPort": "http"})
    );
}

#[test]
fn rubbish_is_refused() {
    assert!(parse(b"nothing").is_err());
    assert!(parse(&body("v1", "DeleteOptions", &[0x22, 0xff])).is_err());
    assert_eq!(parse(&body("v1", "Unheard", &[])).unwrap_err().code, 415);
}
