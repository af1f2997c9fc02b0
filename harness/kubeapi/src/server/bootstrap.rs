//! What exists in a server from the start: namespaces, roles, the `kubernetes` service.

use std::net::{Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Error;
use super::core::Core;
use crate::auth::bootstrap;
use crate::controllers::api_services;
use crate::kinds::cluster::SYSTEM_CLASSES;
use crate::object;
use crate::request::WriteOptions;
use crate::status::Status;
use crate::write::create::Ownership;
use crate::write::{Part, Write};

/// The server in managedFields.
const MANAGER: &str = "kube-apiserver";
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
    for (name, value, description) in SYSTEM_CLASSES {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "description": description,
        });
        create(core, "scheduling.k8s.io", "priorityclasses", None, class)?;
    }
    let (address, prefix) = core.settings.service_network;
    create_with_status(
        core,
        "networking.k8s.io",
        "servicecidrs",
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": [format!("{address}/{prefix}")]},
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "lastTransitionTime": object::time(Timestamp::now()), "reason": "",
                "message": "Kubernetes default Service CIDR is ready",
            }]},
        }),
    )?;
    for component in ["controller-manager", "etcd-0", "scheduler"] {
        let health = json!({
            "apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": component},
            "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
        });
        create(core, "", "componentstatuses", None, health)?;
    }
    create(core, "", "services", Some("default"), kubernetes(core))?;
    if let Some(address) = core.settings.advertised {
        create(core, "", "endpoints", Some("default"), endpoints(address))?;
        let slice = endpoint_slice(address);
        create(
            core,
            "discovery.k8s.io",
            "endpointslices",
            Some("default"),
            slice,
        )?;
    }
    api_services::publish(core);
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
    let (base, _) = core.settings.service_network;
    let target = core.settings.advertised.map_or(6443, |a| a.port());
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": Ipv4Addr::from(u32::from(base) + 1).to_string(), "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": target}],
        },
    })
}

/// Where the service leads.
fn endpoints(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": address.ip().to_string()}],
            "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
        }],
    })
}

fn endpoint_slice(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    })
}

/// Creates an object of the cluster and then sets its status, which creation leaves out.
pub fn create_with_status(
    core: &Core,
    group: &str,
    plural: &str,
    object: Value,
) -> Result<(), Error> {
    let name = object::name(&object).to_owned();
    let status = object::at(&object, &["status"]).clone();
    create(core, group, plural, None, object)?;
    as_server(core, (group, plural), None, &name, |write| {
        let set = |current: &Value| {
            let mut new = current.clone();
            new["status"] = status.clone();
            Ok(new)
        };
        write
            .change_unseen(&name, Part::Status, Ownership::Note, set)
            .map(drop)
    })
}

/// Creates an object, as the server itself does.
pub fn create(
    core: &Core,
    group: &str,
    plural: &str,
    namespace: Option<&str>,
    mut object: Value,
) -> Result<(), Error> {
    let name = object::name(&object).to_owned();
    as_server(core, (group, plural), namespace, &name, |write| {
        let served = write.served;
        let mut warnings = Vec::new();
        crate::decode::expect_kind(&mut object, &served.gvk())?;
        crate::decode::against_schema(
            &mut object,
            served.version().schema.as_deref(),
            crate::request::Validation::Strict,
            Vec::new(),
            &mut warnings,
        )?;
        write.create_unseen(object).map(drop)
    })
}

/// Writes in the server's own name; a refusal says which object it is about.
fn as_server(
    core: &Core,
    (group, plural): (&str, &str),
    namespace: Option<&str>,
    name: &str,
    act: impl FnOnce(&Write<'_>) -> Result<(), Status>,
) -> Result<(), Error> {
    let refused = |reason: String| Error::Object {
        resource: plural.to_owned(),
        name: name.to_owned(),
        reason,
    };
    let served = core
        .registry()
        .preferred(group, plural)
        .ok_or_else(|| refused("the resource is not served".to_owned()))?;
    let options = WriteOptions {
        manager: MANAGER.to_owned(),
        ..WriteOptions::default()
    };
    let write = Write {
        core,
        served: &served,
        namespace,
        options: &options,
        requester: None,
    };
    act(&write).map_err(|status| refused(status.message))
}
