//! The objects of cluster DNS, with the names, labels and ports that kubeadm gives them.

use std::net::Ipv4Addr;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Service, ServiceAccount},
    },
};
use kube::{
    Resource,
    api::{Api, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use trunkline_fabric::NodeName;

use super::{DnsError, image::REFERENCE};

/// The tenth address of the service network, as every installer chooses it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

pub(super) const NAMESPACE: &str = "kube-system";
pub(super) const SERVICE: &str = "kube-dns";
const WORKLOAD: &str = "coredns";

/// Creates what is not there yet. The pod goes to the given node, so that the numbers of users' pods elsewhere do not
/// depend on it.
pub async fn install(client: &kube::Client, node: &NodeName) -> Result<(), DnsError> {
    create::<Service>(client, SERVICE, service()).await?;
    create::<ServiceAccount>(client, WORKLOAD, json!({"metadata": metadata(WORKLOAD)})).await?;
    create::<Deployment>(client, WORKLOAD, deployment(node)).await
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": NAMESPACE, "labels": {"k8s-app": "kube-dns"}})
}

fn service() -> Value {
    let mut metadata = metadata(SERVICE);
    metadata["labels"]["kubernetes.io/cluster-service"] = "true".into();
    metadata["labels"]["kubernetes.io/name"] = "CoreDNS".into();
    json!({
        "metadata": metadata,
        "spec": {
            "clusterIP": ADDRESS,
            "selector": {"k8s-app": "kube-dns"},
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
            ],
        },
    })
}

fn deployment(node: &NodeName) -> Value {
    json!({
        "metadata": metadata(WORKLOAD),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"k8s-app": "kube-dns"}},
                "spec": {
                    "serviceAccountName": WORKLOAD,
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "tolerations": [
                        {"key": "CriticalAddonsOnly", "operator": "Exists"},
                        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
                    ],
                    "dnsPolicy": "Default",
                    "containers": [{
                        "name": "coredns",
                        "image": REFERENCE,
                        "imagePullPolicy": "IfNotPresent",
                        "ports": [
                            {"containerPort": 53, "name": "dns", "protocol": "UDP"},
                            {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
                        ],
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"]},
                            "readOnlyRootFilesystem": true,
                        },
                    }],
                },
            },
        },
    })
}

async fn create<K>(client: &kube::Client, name: &'static str, object: Value) -> Result<(), DnsError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let refused = |source| DnsError::Object {
        kind: std::any::type_name::<K>()
            .rsplit("::")
            .next()
            .unwrap_or_default(),
        name,
        source: Box::new(source),
    };
    let object =
        serde_json::from_value(object).map_err(|error| refused(kube::Error::SerdeError(error)))?;
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(refused(error)),
    }
}
