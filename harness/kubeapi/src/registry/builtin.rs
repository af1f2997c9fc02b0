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
pub const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const CONNECT: &[&str] = &["create", "get"];
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
    Sub::View("resize"),
    Sub::Status,
];
const STATUS: &[Sub] = &[Sub::Status];
const SCALED: &[Sub] = &[Sub::Scale, Sub::Status];
const RBAC: &str = "rbac.authorization.k8s.io";
const NET: &str = "networking.k8s.io";

#[rustfmt::skip]
static ROWS: &[Row] = &[
    row("", "bindings", "binding", "Binding", true, NO, NO, &[], &kinds::Plain),
    row("", "configmaps", "configmap", "ConfigMap", true, &["cm"], NO, &[], &kinds::config::ConfigMap),
    row("", "endpoints", "endpoints", "Endpoints", true, &["ep"], NO, &[], &kinds::services::Endpoints),
    row("", "events", "event", "Event", true, &["ev"], NO, &[], &kinds::events::Event),
    row("", "limitranges", "limitrange", "LimitRange", true, &["limits"], NO, &[], &kinds::Plain),
    row("", "namespaces", "namespace", "Namespace", false, &["ns"], NO, &[Sub::View("finalize"), Sub::Status], &kinds::namespaces::Namespace),
    row("", "nodes", "node", "Node", false, &["no"], NO, STATUS, &kinds::nodes::Node),
    row("", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", true, &["pvc"], NO, STATUS, &kinds::volumes::Claim),
    row("", "persistentvolumes", "persistentvolume", "PersistentVolume", false, &["pv"], NO, STATUS, &kinds::volumes::Volume),
    row("", "pods", "pod", "Pod", true, &["po"], ALL, POD_SUBS, &kinds::pods::Pod),
    row("", "podtemplates", "podtemplate", "PodTemplate", true, NO, NO, &[], &kinds::workloads::Template),
    row("", "replicationcontrollers", "replicationcontroller", "ReplicationController", true, &["rc"], ALL, SCALED, &kinds::workloads::ReplicationController),
    row("", "resourcequotas", "resourcequota", "ResourceQuota", true, &["quota"], NO, STATUS, &kinds::Plain),
    row("", "secrets", "secret", "Secret", true, NO, NO, &[], &kinds::config::Secret),
    row("", "serviceaccounts", "serviceaccount", "ServiceAccount", true, &["sa"], NO, &[], &kinds::ReturnsDeleted),
    row("", "services", "service", "Service", true, &["svc"], ALL, STATUS, &kinds::services::Service),
    row("apps", "controllerrevisions", "controllerrevision", "ControllerRevision", true, NO, NO, &[], &kinds::Plain),
    row("apps", "daemonsets", "daemonset", "DaemonSet", true, &["ds"], ALL, STATUS, &kinds::workloads::DaemonSet),
    row("apps", "deployments", "deployment", "Deployment", true, &["deploy"], ALL, SCALED, &kinds::workloads::Deployment),
    row("apps", "replicasets", "replicaset", "ReplicaSet", true, &["rs"], ALL, SCALED, &kinds::workloads::ReplicaSet),
    row("apps", "statefulsets", "statefulset", "StatefulSet", true, &["sts"], ALL, SCALED, &kinds::workloads::StatefulSet),
    row("events.k8s.io", "events", "event", "Event", true, &["ev"], NO, &[], &kinds::events::Event),
    row("batch", "cronjobs", "cronjob", "CronJob", true, &["cj"], ALL, STATUS, &kinds::jobs::CronJob),
    row("batch", "jobs", "job", "Job", true, NO, ALL, STATUS, &kinds::jobs::Job),
    row(NET, "ingressclasses", "ingressclass", "IngressClass", false, NO, NO, &[], &kinds::Counted),
    row(NET, "ingresses", "ingress", "Ingress", true, &["ing"], NO, STATUS, &kinds::Counted),
    row(NET, "networkpolicies", "networkpolicy", "NetworkPolicy", true, &["netpol"], NO, &[], &kinds::policies::NetworkPolicy),
    row("policy", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", true, &["pdb"], NO, STATUS, &kinds::Counted),
    row(RBAC, "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding", false, NO, NO, &[], &kinds::policies::RoleBinding),
    row(RBAC, "clusterroles", "clusterrole", "ClusterRole", false, NO, NO, &[], &kinds::Plain),
    row(RBAC, "rolebindings", "rolebinding", "RoleBinding", true, NO, NO, &[], &kinds::policies::RoleBinding),
    row(RBAC, "roles", "role", "Role", true, NO, NO, &[], &kinds::Plain),
    row("storage.k8s.io", "storageclasses", "storageclass", "StorageClass", false, &["sc"], NO, &[], &kinds::volumes::StorageClass),
    row("apiextensions.k8s.io", "customresourcedefinitions", "customresourcedefinition", "CustomResourceDefinition", false, &["crd", "crds"], &["api-extensions"], STATUS, &kinds::crds::Definition),
    row("coordination.k8s.io", "leases", "lease", "Lease", true, NO, NO, &[], &kinds::Plain),
    row("discovery.k8s.io", "endpointslices", "endpointslice", "EndpointSlice", true, NO, NO, &[], &kinds::services::EndpointSlice),
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
        .position(|row| row.group == "batch")
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
    let gvk = Gvk::new(row.group, "v1", row.kind);
    let storage = match (row.group, row.plural) {
        ("" | "events.k8s.io", plural) => plural.to_owned(),
        (group, plural) => format!("{plural}.{group}"),
    };
    let stored_group = if row.plural == EVENTS { "" } else { row.group };
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
            "namespaces" => NAMESPACE_VERBS,
            _ => ALL_VERBS,
        },
        versions: vec![Version {
            name: "v1".to_owned(),
            schema: schema::builtin(&gvk),
            open_api: None,
            subresources: row
                .subresources
                .iter()
                .map(|s| subresource(*s, &gvk))
                .collect(),
            columns: Vec::new(),
            deprecation: (row.plural == "endpoints").then(|| {
                "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
                    .to_owned()
            }),
            selectable: crate::selector::field::selectable(row.group, row.plural)
                .iter()
                .map(|s| (*s).to_owned())
                .collect(),
        }],
        storage: storage.into(),
        stored_api_version: api_version(stored_group, "v1"),
        behaviour: Behaviour::Stored(row.strategy),
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
        behaviour: Behaviour::Review,
    }
}

fn name_rule(row: &Row) -> NameRule {
    match (row.group, row.plural) {
        ("", "namespaces") => NameRule::Label,
        ("", "services") => NameRule::Label1035,
        (RBAC, _) => NameRule::PathSegment,
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
