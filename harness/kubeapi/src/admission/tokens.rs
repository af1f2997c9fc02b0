//! The volume with a token that every pod gets.

use rand::Rng;
use serde_json::{Value, json};

use crate::object;

const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const PREFIX: &str = "kube-api-access-";
/// What names end in.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Mounts the account's token into every container that has nothing else in its place, unless the pod or the account
/// does without.
pub fn mount(pod: &mut Value, account: &Value) {
    let says = |object: &Value, path: &[&str]| object::at(object, path).as_bool();
    let wanted = says(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| says(account, &["automountServiceAccountToken"]))
        .unwrap_or(true);
    if !wanted {
        return;
    }
    let spec = object::child(pod, "spec");
    let known = object::list(spec, &["volumes"])
        .iter()
        .map(|volume| object::text(volume, &["name"]))
        .find(|name| name.starts_with(PREFIX))
        .map(str::to_owned);
    let name = known.clone().unwrap_or_else(generated);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let taken = object::list(container, &["volumeMounts"])
                .iter()
                .any(|mount| object::text(mount, &["mountPath"]) == PATH);
            if !taken {
                let mut mounts = object::list(container, &["volumeMounts"]).to_vec();
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": PATH}));
                container["volumeMounts"] = mounts.into();
                mounted = true;
            }
        }
    }
    if mounted && known.is_none() {
        let mut volumes = object::list(spec, &["volumes"]).to_vec();
        volumes.push(volume(&name));
        spec["volumes"] = volumes.into();
    }
}

fn generated() -> String {
    let mut random = rand::rng();
    let tail = (0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    PREFIX.chars().chain(tail).collect()
}

fn volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": super::namespace::ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"spec": {
            "initContainers": [{"name": "init"}],
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own", "mountPath": PATH}]}],
        }})
    }

    #[test]
    fn containers_without_a_token_of_their_own_get_one() {
        let mut pod = pod();
        mount(&mut pod, &json!({}));
        let name = object::text(&pod["spec"]["volumes"][0], &["name"]);
        assert!(name.starts_with(PREFIX) && name.len() == PREFIX.len() + 5);
        let expected = json!([{"name": name, "readOnly": true, "mountPath": PATH}]);
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"], expected);
        assert_eq!(pod["spec"]["initContainers"][0]["volumeMounts"], expected);
        assert_eq!(
            pod["spec"]["containers"][1]["volumeMounts"][0]["name"],
            "own"
        );
        let before = pod.clone();
        mount(&mut pod, &json!({}));
        assert_eq!(pod["spec"]["volumes"], before["spec"]["volumes"]);
    }

    #[test]
    fn pods_and_accounts_can_do_without() {
        let mut without = pod();
        mount(
            &mut without,
            &json!({"automountServiceAccountToken": false}),
        );
        assert_eq!(without, pod());
        let mut with = pod();
        with["spec"]["automountServiceAccountToken"] = true.into();
        mount(&mut with, &json!({"automountServiceAccountToken": false}));
        assert!(with["spec"]["volumes"].is_array());
    }
}
