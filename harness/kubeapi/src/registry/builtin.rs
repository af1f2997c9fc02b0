//! The resources every server has.

use std::sync::Arc;

use super::{ALL_VERBS, Behaviour, Resource, Role, ScalePaths, Subresource, VIEW_VERBS, Version};
use crate::gvk::api_version;
use crate::kinds::{self, Strategy};
use crate::schema::{self, Gvk};
use crate::validation::name::NameRule;

/// The shelf of events, which two groups show in their own way.
pub const EVENTS: &str = "events";
pub const NAMESPACES: &str = "namespaces";
pub const PODS: &str = "pods";
pub const SERVICES: &str = "services";
pub const CONFIG_MAPS: &str = "configmaps";
pub const SERVICE_ACCOUNTS: &str = "serviceaccounts";
pub const NODES: &str = "nodes";
pub const SECRETS: &str = "secrets";
pub const ENDPOINTS: &str = "endpoints";
pub const API_SERVICES: &str = "apiservices.apiregistration.k8s.io";
pub const IP_ADDRESSES: &str = "ipaddresses.networking.k8s.io";
pub const CERTIFICATE_REQUESTS: &str = "certificatesigningrequests.certificates.k8s.io";
pub const AUTOSCALERS: &str = "horizontalpodautoscalers.autoscaling";
pub const PRIORITY_CLASSES: &str = "priorityclasses.scheduling.k8s.io";
pub const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const CONNECT: &[&str] = &["create", "get"];
const READ: &[&str] = &["get", "list"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const NAMESPACE_VERBS: &[&str] = &[
    "create", "delete", "get", "list", "patch", "update", "watch",
];

struct Row {
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    namespaced: bool,
    short: &'static [&'static str],
    categories: &'static [&'static str],
    subresources: &'static [Sub],
    strategy: &'static dyn Strategy,
    /// Served versions, the preferred one first, which is also the stored one.
    versions: &'static [&'static str],
    /// The version Kubernetes 1.34 stores, which discovery's hash tells.
    hashed: Option<&'static str>,
}

impl Row {
    const fn versions(mut self, versions: &'static [&'static str]) -> Self {
        self.versions = versions;
        self
    }

    const fn hashed(mut self, version: &'static str) -> Self {
        self.hashed = Some(version);
        self
    }
}

#[derive(Clone, Copy)]
enum Sub {
    Status,
    Scale,
    View(&'static str),
    Log,
    Exec,
    Attach,
    PortForward,
    Binding,
    Eviction,
    Proxy,
    Token,
}

const ALL: &[&str] = &["all"];
const NO: &[&str] = &[];

#[allow(clippy::too_many_arguments)] // one line of the table below
const fn row(
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    namespaced: bool,
    short: &'static [&'static str],
    categories: &'static [&'static str],
    subresources: &'static [Sub],
    strategy: &'static dyn Strategy,
) -> Row {
    Row {
        group,
        plural,
        singular,
        kind,
        namespaced,
        short,
        categories,
        subresources,
        strategy,
        versions: &["v1"],
        hashed: None,
    }
}

const POD_SUBS: &[Sub] = &[
    Sub::Attach,
    Sub::Binding,
    Sub::View("ephemeralcontainers"),
    Sub::Eviction,
    Sub::Exec,
    Sub::Log,
    Sub::PortForward,
    Sub::Proxy,
    Sub::View("resize"),
    Sub::Status,
];
const STATUS: &[Sub] = &[Sub::Status];
const SCALED: &[Sub] = &[Sub::Scale, Sub::Status];
const RBAC: &str = "rbac.authorization.k8s.io";
const NET: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const PROXIED: &[Sub] = &[Sub::Proxy, Sub::Status];
const EXTENSIONS: &[&str] = &["api-extensions"];

#[rustfmt::skip]
static ROWS: &[Row] = &[
    row("", "bindings", "binding", "Binding", true, NO, NO, &[], &kinds::Plain),
    row("", "componentstatuses", "componentstatus", "ComponentStatus", false, &["cs"], NO, &[], &kinds::Plain),
    row("", "configmaps", "configmap", "ConfigMap", true, &["cm"], NO, &[], &kinds::config::ConfigMap),
    row("", "endpoints", "endpoints", "Endpoints", true, &["ep"], NO, &[], &kinds::services::Endpoints),
    row("", "events", "event", "Event", true, &["ev"], NO, &[], &kinds::events::Event),
    row("", "limitranges", "limitrange", "LimitRange", true, &["limits"], NO, &[], &kinds::Plain),
    row("", "namespaces", "namespace", "Namespace", false, &["ns"], NO, &[Sub::View("finalize"), Sub::Status], &kinds::namespaces::Namespace),
    row("", "nodes", "node", "Node", false, &["no"], NO, PROXIED, &kinds::nodes::Node),
    row("", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", true, &["pvc"], NO, STATUS, &kinds::volumes::Claim),
    row("", "persistentvolumes", "persistentvolume", "PersistentVolume", false, &["pv"], NO, STATUS, &kinds::volumes::Volume),
    row("", "pods", "pod", "Pod", true, &["po"], ALL, POD_SUBS, &kinds::pods::Pod),
    row("", "podtemplates", "podtemplate", "PodTemplate", true, NO, NO, &[], &kinds::workloads::Template),
    row("", "replicationcontrollers", "replicationcontroller", "ReplicationController", true, &["rc"], ALL, SCALED, &kinds::workloads::ReplicationController),
    row("", "resourcequotas", "resourcequota", "ResourceQuota", true, &["quota"], NO, STATUS, &kinds::ReturnsDeleted),
    row("", "secrets", "secret", "Secret", true, NO, NO, &[], &kinds::config::Secret),
    row("", "serviceaccounts", "serviceaccount", "ServiceAccount", true, &["sa"], NO, &[Sub::Token], &kinds::ReturnsDeleted),
    row("", "services", "service", "Service", true, &["svc"], ALL, PROXIED, &kinds::services::Service),
    row("apiregistration.k8s.io", "apiservices", "apiservice", "APIService", false, NO, EXTENSIONS, STATUS, &kinds::extensions::API_SERVICE),
    row("apps", "controllerrevisions", "controllerrevision", "ControllerRevision", true, NO, NO, &[], &kinds::Plain),
    row("apps", "daemonsets", "daemonset", "DaemonSet", true, &["ds"], ALL, STATUS, &kinds::workloads::DaemonSet),
    row("apps", "deployments", "deployment", "Deployment", true, &["deploy"], ALL, SCALED, &kinds::workloads::Deployment),
    row("apps", "replicasets", "replicaset", "ReplicaSet", true, &["rs"], ALL, SCALED, &kinds::workloads::ReplicaSet),
    row("apps", "statefulsets", "statefulset", "StatefulSet", true, &["sts"], ALL, SCALED, &kinds::workloads::StatefulSet),
    row("events.k8s.io", "events", "event", "Event", true, &["ev"], NO, &[], &kinds::events::Event),
    row("autoscaling", "horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler", true, &["hpa"], ALL, STATUS, &kinds::autoscaling::AUTOSCALER)
        .versions(&["v2", "v1"]),
    row("batch", "cronjobs", "cronjob", "CronJob", true, &["cj"], ALL, STATUS, &kinds::jobs::CronJob),
    row("batch", "jobs", "job", "Job", true, NO, ALL, STATUS, &kinds::jobs::Job),
    row("certificates.k8s.io", "certificatesigningrequests", "certificatesigningrequest", "CertificateSigningRequest", false, &["csr"], NO, &[Sub::View("approval"), Sub::Status], &kinds::cluster::CERTIFICATE_REQUEST),
    row(NET, "ingressclasses", "ingressclass", "IngressClass", false, NO, NO, &[], &kinds::Counted),
    row(NET, "ingresses", "ingress", "Ingress", true, &["ing"], NO, STATUS, &kinds::Counted),
    row(NET, "ipaddresses", "ipaddress", "IPAddress", false, &["ip"], NO, &[], &kinds::cluster::IP_ADDRESS),
    row(NET, "networkpolicies", "networkpolicy", "NetworkPolicy", true, &["netpol"], NO, &[], &kinds::policies::NetworkPolicy),
    row(NET, "servicecidrs", "servicecidr", "ServiceCIDR", false, NO, NO, STATUS, &kinds::cluster::SERVICE_CIDR),
    row("policy", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", true, &["pdb"], NO, STATUS, &kinds::Counted),
    row(RBAC, "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding", false, NO, NO, &[], &kinds::policies::RoleBinding),
    row(RBAC, "clusterroles", "clusterrole", "ClusterRole", false, NO, NO, &[], &kinds::policies::Role),
    row(RBAC, "rolebindings", "rolebinding", "RoleBinding", true, NO, NO, &[], &kinds::policies::RoleBinding),
    row(RBAC, "roles", "role", "Role", true, NO, NO, &[], &kinds::policies::Role),
    row(STORAGE, "csidrivers", "csidriver", "CSIDriver", false, NO, NO, &[], &kinds::cluster::CSI_DRIVER),
    row(STORAGE, "csinodes", "csinode", "CSINode", false, NO, NO, &[], &kinds::cluster::CSI_NODE),
    row(STORAGE, "csistoragecapacities", "csistoragecapacity", "CSIStorageCapacity", true, NO, NO, &[], &kinds::cluster::STORAGE_CAPACITY),
    row(STORAGE, "storageclasses", "storageclass", "StorageClass", false, &["sc"], NO, &[], &kinds::volumes::StorageClass),
    row(STORAGE, "volumeattachments", "volumeattachment", "VolumeAttachment", false, NO, NO, STATUS, &kinds::cluster::VOLUME_ATTACHMENT),
    row(STORAGE, "volumeattributesclasses", "volumeattributesclass", "VolumeAttributesClass", false, &["vac"], NO, &[], &kinds::cluster::ATTRIBUTES_CLASS)
        .hashed("v1beta1"),
    row(ADMISSION, "mutatingwebhookconfigurations", "mutatingwebhookconfiguration", "MutatingWebhookConfiguration", false, NO, EXTENSIONS, &[], &kinds::extensions::WEBHOOKS),
    row(ADMISSION, "validatingadmissionpolicies", "validatingadmissionpolicy", "ValidatingAdmissionPolicy", false, NO, EXTENSIONS, STATUS, &kinds::extensions::POLICY),
    row(ADMISSION, "validatingadmissionpolicybindings", "validatingadmissionpolicybinding", "ValidatingAdmissionPolicyBinding", false, NO, EXTENSIONS, &[], &kinds::extensions::POLICY_BINDING),
    row(ADMISSION, "validatingwebhookconfigurations", "validatingwebhookconfiguration", "ValidatingWebhookConfiguration", false, NO, EXTENSIONS, &[], &kinds::extensions::WEBHOOKS),
    row("apiextensions.k8s.io", "customresourcedefinitions", "customresourcedefinition", "CustomResourceDefinition", false, &["crd", "crds"], EXTENSIONS, STATUS, &kinds::crds::Definition)
        .hashed("v1beta1"),
    row("scheduling.k8s.io", "priorityclasses", "priorityclass", "PriorityClass", false, &["pc"], NO, &[], &kinds::cluster::PRIORITY_CLASS),
    row("coordination.k8s.io", "leases", "lease", "Lease", true, NO, NO, &[], &kinds::Plain),
    row("node.k8s.io", "runtimeclasses", "runtimeclass", "RuntimeClass", false, NO, NO, &[], &kinds::cluster::RUNTIME_CLASS),
    row("discovery.k8s.io", "endpointslices", "endpointslice", "EndpointSlice", true, NO, NO, &[], &kinds::services::EndpointSlice),
    row(RESOURCE, "deviceclasses", "deviceclass", "DeviceClass", false, NO, NO, &[], &kinds::cluster::DEVICES).hashed("v1beta2"),
    row(RESOURCE, "resourceclaims", "resourceclaim", "ResourceClaim", true, NO, NO, STATUS, &kinds::cluster::RESOURCE_CLAIM).hashed("v1beta2"),
    row(RESOURCE, "resourceclaimtemplates", "resourceclaimtemplate", "ResourceClaimTemplate", true, NO, NO, &[], &kinds::cluster::RESOURCE_CLAIM_TEMPLATE).hashed("v1beta2"),
    row(RESOURCE, "resourceslices", "resourceslice", "ResourceSlice", false, NO, NO, &[], &kinds::cluster::DEVICES).hashed("v1beta2"),
    row(FLOW, "flowschemas", "flowschema", "FlowSchema", false, NO, NO, STATUS, &kinds::cluster::FLOW_SCHEMA),
    row(FLOW, "prioritylevelconfigurations", "prioritylevelconfiguration", "PriorityLevelConfiguration", false, NO, NO, STATUS, &kinds::cluster::PRIORITY_LEVEL),
];

/// group, plural, kind, namespaced
const REVIEWS: &[(&str, &str, &str, bool)] = &[
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
        false,
    ),
    (
        "authentication.k8s.io",
        "tokenreviews",
        "TokenReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        true,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "SubjectAccessReview",
        false,
    ),
];

/// The built-in resources, their groups in upstream's order: reviews come after workloads and events.
pub fn resources() -> Vec<Arc<Resource>> {
    let first = ROWS
        .iter()
        .position(|row| row.group == "autoscaling")
        .unwrap_or(ROWS.len());
    let (before, after) = ROWS.split_at(first);
    before
        .iter()
        .map(stored)
        .chain(REVIEWS.iter().map(review))
        .chain(after.iter().map(stored))
        .map(Arc::new)
        .collect()
}

fn stored(row: &Row) -> Resource {
    let storage = match (row.group, row.plural) {
        ("" | "events.k8s.io", plural) => plural.to_owned(),
        (group, plural) => format!("{plural}.{group}"),
    };
    let stored_group = if row.plural == EVENTS { "" } else { row.group };
    let stored_api_version = api_version(stored_group, row.versions[0]);
    Resource {
        group: row.group.to_owned(),
        plural: row.plural.to_owned(),
        singular: row.singular.to_owned(),
        kind: row.kind.to_owned(),
        list_kind: format!("{}List", row.kind),
        short_names: owned(row.short),
        categories: owned(row.categories),
        namespaced: row.namespaced,
        name_rule: name_rule(row),
        verbs: match row.plural {
            "bindings" => CREATE,
            "componentstatuses" => READ,
            "namespaces" => NAMESPACE_VERBS,
            _ => ALL_VERBS,
        },
        versions: row.versions.iter().map(|v| version(row, v)).collect(),
        storage: storage.into(),
        hashed_api_version: row
            .hashed
            .map_or_else(|| stored_api_version.clone(), |v| api_version(row.group, v)),
        stored_api_version,
        behaviour: Behaviour::Stored(row.strategy),
    }
}

fn version(row: &Row, name: &str) -> Version {
    let gvk = Gvk::new(row.group, name, row.kind);
    Version {
        name: name.to_owned(),
        schema: schema::builtin(&gvk),
        open_api: None,
        subresources: row
            .subresources
            .iter()
            .map(|s| subresource(*s, &gvk))
            .collect(),
        columns: Vec::new(),
        deprecation: deprecation(row.plural).map(str::to_owned),
        selectable: crate::selector::field::selectable(row.group, row.plural)
            .iter()
            .map(|s| (*s).to_owned())
            .collect(),
    }
}

fn deprecation(plural: &str) -> Option<&'static str> {
    match plural {
        "componentstatuses" => Some("v1 ComponentStatus is deprecated in v1.19+"),
        "endpoints" => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        _ => None,
    }
}

fn review(&(group, plural, kind, namespaced): &(&str, &str, &str, bool)) -> Resource {
    Resource {
        group: group.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        name_rule: NameRule::Subdomain,
        verbs: CREATE,
        versions: vec![Version {
            name: "v1".to_owned(),
            schema: schema::builtin(&Gvk::new(group, "v1", kind)),
            open_api: None,
            subresources: Vec::new(),
            columns: Vec::new(),
            deprecation: None,
            selectable: Vec::new(),
        }],
        storage: format!("{plural}.{group}").into(),
        stored_api_version: api_version(group, "v1"),
        hashed_api_version: String::new(),
        behaviour: Behaviour::Review,
    }
}

fn name_rule(row: &Row) -> NameRule {
    match (row.group, row.plural) {
        ("", "namespaces") => NameRule::Label,
        ("", "services") => NameRule::Label1035,
        (RBAC, _) | (_, "apiservices") => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

fn subresource(sub: Sub, parent: &Gvk) -> Subresource {
    let core = |kind: &str| Gvk::new("", "v1", kind);
    let keys = |path: &[&str]| owned(path);
    let (name, kind, verbs, role) = match sub {
        Sub::Status => ("status", parent.clone(), VIEW_VERBS, Role::Status),
        Sub::View("finalize") => ("finalize", parent.clone(), &VIEW_VERBS[2..], Role::View),
        Sub::View(name) => (name, parent.clone(), VIEW_VERBS, Role::View),
        Sub::Scale => (
            "scale",
            Gvk::new("autoscaling", "v1", "Scale"),
            VIEW_VERBS,
            Role::Scale(ScalePaths {
                spec_replicas: keys(&["spec", "replicas"]),
                status_replicas: keys(&["status", "replicas"]),
                selector: Some(keys(&["spec", "selector"])),
            }),
        ),
        Sub::Proxy => (
            "proxy",
            core(&format!("{}ProxyOptions", parent.kind)),
            PROXY,
            Role::Proxy,
        ),
        Sub::Token => (
            "token",
            Gvk::new("authentication.k8s.io", "v1", "TokenRequest"),
            CREATE,
            Role::Token,
        ),
        Sub::Log => ("log", core("Pod"), GET, Role::Log),
        Sub::Exec => ("exec", core("PodExecOptions"), CONNECT, Role::Exec),
        Sub::Attach => ("attach", core("PodAttachOptions"), CONNECT, Role::Attach),
        Sub::PortForward => (
            "portforward",
            core("PodPortForwardOptions"),
            CONNECT,
            Role::PortForward,
        ),
        Sub::Binding => ("binding", core("Binding"), CREATE, Role::Binding),
        Sub::Eviction => (
            "eviction",
            Gvk::new("policy", "v1", "Eviction"),
            CREATE,
            Role::Eviction,
        ),
    };
    Subresource {
        name: name.to_owned(),
        kind,
        verbs,
        role,
    }
}
