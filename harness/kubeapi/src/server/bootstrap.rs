//! What exists in a server from the start: namespaces, roles, the `kubernetes` service.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::Error;
use super::core::Core;
use crate::auth::bootstrap;
use crate::request::WriteOptions;
use crate::write::Write;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Fills a new server.
pub fn fill(core: &Core, crds: Vec<Value>) -> Result<(), Error> {
    for name in NAMESPACES {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(core, "", "namespaces", None, namespace)?;
    }
    let rbac = "rbac.authorization.k8s.io";
    for role in bootstrap::roles() {
        create(core, rbac, "clusterroles", None, role)?;
    }
    for binding in bootstrap::bindings() {
        create(core, rbac, "clusterrolebindings", None, binding)?;
    }
    create(core, "", "services", Some("default"), kubernetes(core))?;
    for crd in crds {
        create(
            core,
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            None,
            crd,
        )?;
    }
    Ok(())
}

/// The service of the API itself has the first address of the service network.
fn kubernetes(core: &Core) -> Value {
    let (base, _) = core.service_network;
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": Ipv4Addr::from(u32::from(base) + 1).to_string(), "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    })
}

fn create(
    core: &Core,
    group: &str,
    plural: &str,
    namespace: Option<&str>,
    mut object: Value,
) -> Result<(), Error> {
    let name = crate::object::name(&object).to_owned();
    let refused = |reason: String| Error::Object {
        resource: plural.to_owned(),
        name: name.clone(),
        reason,
    };
    let served = core
        .registry()
        .preferred(group, plural)
        .ok_or_else(|| refused("the resource is not served".to_owned()))?;
    let options = WriteOptions {
        manager: "kube-apiserver".to_owned(),
        ..WriteOptions::default()
    };
    let write = Write {
        core,
        served: &served,
        namespace,
        options: &options,
    };
    let mut warnings = Vec::new();
    crate::decode::expect_kind(&mut object, &served.gvk())
        .and_then(|()| {
            crate::decode::against_schema(
                &mut object,
                served.version().schema.as_deref(),
                crate::request::Validation::Strict,
                &mut warnings,
            )
        })
        .and_then(|()| write.create(&object).map(drop))
        .map_err(|status| refused(status.message))
}
