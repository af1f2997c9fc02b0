//! Namespaces must exist and not be on their way out; new ones get what every namespace has.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object;
use crate::registry::Served;
use crate::registry::builtin::{CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS};
use crate::server::core::Core;
use crate::status::{Cause, Status};
use crate::storage::Key;

/// Namespaces that cannot be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];
/// The configmap with the server's certificate authority.
pub const ROOT_CA: &str = "kube-root-ca.crt";

/// May an object be created in this namespace?
pub fn check(
    core: &Core,
    served: &Served,
    namespace: Option<&str>,
    object: &Value,
) -> Result<(), Status> {
    let Some(name) = namespace.filter(|_| served.resource.namespaced) else {
        return Ok(());
    };
    let Some(entry) = core.store.get(NAMESPACES, &Key::new("", name)) else {
        return Err(Status::not_found("", "namespaces", name));
    };
    if !object::is_deleting(&entry.object) {
        return Ok(());
    }
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    // What has no name yet is named by what its name will begin with.
    let called = match object::name(object) {
        "" => object::meta(object, "generateName"),
        name => name,
    };
    Err(Status::forbidden(
        &served.resource.group,
        &served.resource.plural,
        called,
        &why,
    )
    .with_causes(vec![Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    }]))
}

/// May this be deleted at all?
pub fn check_delete(served: &Served, name: &str) -> Result<(), Status> {
    if &*served.resource.storage == NAMESPACES && IMMORTAL.contains(&name) {
        return Err(Status::forbidden(
            "",
            "namespaces",
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// Gives a namespace its default service account and the certificate authority, where they are missing.
pub fn furnish(core: &Core, namespace: &Value) {
    let name = object::name(namespace);
    if object::is_deleting(namespace) {
        return;
    }
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, "default")});
    let mut authority = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name, ROOT_CA), "data": {"ca.crt": core.root_ca()},
    });
    object::set(
        &mut authority,
        &["metadata", "annotations", "kubernetes.io/description"],
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
         service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
    );
    for (storage, object) in [(SERVICE_ACCOUNTS, account), (CONFIG_MAPS, authority)] {
        // Already there: nothing to do.
        let _ = core.store.create(&Arc::from(storage), object);
    }
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({
        "name": name, "namespace": namespace, "uid": uuid::Uuid::new_v4().to_string(),
        "creationTimestamp": object::time(Timestamp::now()),
    })
}

/// Brings the authority's certificate up to date in every namespace that has an older one.
pub fn refresh_root_ca(core: &Core) {
    let pem = core.root_ca();
    let storage: Arc<str> = Arc::from(CONFIG_MAPS);
    for namespace in core.store.list(NAMESPACES, None).entries {
        let key = Key::new(object::name(&namespace.object), ROOT_CA);
        while let Some(entry) = core.store.get(CONFIG_MAPS, &key) {
            let mut new = entry.object.clone();
            object::set(&mut new, &["data", "ca.crt"], pem.as_str());
            if new == entry.object || core.store.update(&storage, &entry, new).is_ok() {
                break;
            }
        }
    }
}
