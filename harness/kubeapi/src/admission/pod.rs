//! What pods get on creation: a service account, a priority, tolerations of short node trouble.

use serde_json::{Value, json};

use crate::object;
use crate::registry::Served;
use crate::registry::builtin::{PODS, SERVICE_ACCOUNTS};
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::Key;

const TOLERATED: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];
const TOLERATION_SECONDS: i64 = 300;

pub fn admit(core: &Core, served: &Served, pod: &mut Value) -> Result<(), Status> {
    if &*served.resource.storage != PODS {
        return Ok(());
    }
    if core.settings.controllers {
        service_account(core, pod)?;
    }
    super::priority::resolve(core, pod)?;
    tolerations(object::child(pod, "spec"));
    Ok(())
}

fn service_account(core: &Core, pod: &mut Value) -> Result<(), Status> {
    let (namespace, name) = (
        object::namespace(pod).to_owned(),
        object::name(pod).to_owned(),
    );
    let spec = object::child(pod, "spec");
    if object::text(spec, &["serviceAccountName"]).is_empty() {
        spec["serviceAccountName"] = "default".into();
    }
    let account = object::text(spec, &["serviceAccountName"]).to_owned();
    spec["serviceAccount"] = account.as_str().into();
    let key = Key::new(&namespace, &account);
    let Some(entry) = core.store.get(SERVICE_ACCOUNTS, &key) else {
        return Err(Status::forbidden(
            "",
            "pods",
            &name,
            &format!(
                "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
            ),
        ));
    };
    if core.settings.mounts_tokens {
        super::tokens::mount(pod, &entry.object);
    }
    Ok(())
}

fn tolerations(spec: &mut Value) {
    let mut all: Vec<Value> = object::list(spec, &["tolerations"]).to_vec();
    for key in TOLERATED {
        let tolerates = all.iter().any(|t| {
            let (k, effect) = (object::text(t, &["key"]), object::text(t, &["effect"]));
            (k == key || k.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !tolerates {
            all.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
    spec["tolerations"] = Value::Array(all);
}
