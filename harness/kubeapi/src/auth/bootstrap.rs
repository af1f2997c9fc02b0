//! The roles and bindings every server starts with.

use serde_json::{Value, json};

const API: &str = "rbac.authorization.k8s.io/v1";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
/// What users of a namespace work with: group, resources.
const NAMESPACED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "pods/log",
            "pods/status",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "resourcequotas",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
    ),
    ("batch", &["cronjobs", "jobs", "jobs/status"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
];

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources})
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": API, "kind": "ClusterRole", "rules": rules,
        "metadata": {
            "name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
    })
}

/// `admin`, `edit` and `view` take in every cluster role labelled for them.
fn aggregating(name: &str) -> Value {
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
    let mut aggregated = role(name, &[]);
    // Who may edit may view.
    let wider = match name {
        "view" => Some("edit"),
        "edit" => Some("admin"),
        _ => None,
    };
    if let Some(wider) = wider {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{wider}");
        aggregated["metadata"]["labels"][label] = "true".into();
    }
    aggregated["aggregationRule"] =
        json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    aggregated
}

fn part(of: &[&str], rules: &[Value]) -> Value {
    let mut part = role(&format!("system:aggregate-to-{}", of[0]), rules);
    for name in of {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
        part["metadata"]["labels"][label] = "true".into();
    }
    part
}

fn binding(name: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> = groups
        .iter()
        .map(|g| json!({"kind": "Group", "name": g, "apiGroup": "rbac.authorization.k8s.io"}))
        .collect();
    json!({
        "apiVersion": API, "kind": "ClusterRoleBinding", "subjects": subjects,
        "metadata": {
            "name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
    })
}

/// The cluster roles.
pub fn roles() -> Vec<Value> {
    let over = |verbs: &[&str]| -> Vec<Value> {
        NAMESPACED
            .iter()
            .map(|(group, resources)| rule(verbs, group, resources))
            .collect()
    };
    let mut view = over(READ);
    view.push(rule(READ, "", &["namespaces"]));
    let mut edit = over(WRITE);
    edit.push(rule(READ, "", &["secrets"]));
    edit.push(rule(WRITE, "", &["secrets"]));
    edit.push(rule(
        &["create", "get"],
        "",
        &["pods/attach", "pods/exec", "pods/portforward"],
    ));
    edit.push(rule(&["create"], "", &["pods/eviction"]));
    edit.push(rule(&["impersonate"], "", &["serviceaccounts"]));
    let admin = vec![
        rule(
            &["create"],
            "authorization.k8s.io",
            &["localsubjectaccessreviews"],
        ),
        rule(
            &[READ, WRITE].concat(),
            "rbac.authorization.k8s.io",
            &["rolebindings", "roles"],
        ),
    ];
    vec![
        role(
            "cluster-admin",
            &[
                json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
                json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
            ],
        ),
        aggregating("admin"),
        aggregating("edit"),
        aggregating("view"),
        part(&["admin"], &admin),
        part(&["edit", "admin"], &edit),
        part(&["view", "edit", "admin"], &view),
        role(
            "system:basic-user",
            &[
                rule(
                    &["create"],
                    "authorization.k8s.io",
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
                rule(
                    &["create"],
                    "authentication.k8s.io",
                    &["selfsubjectreviews"],
                ),
            ],
        ),
        role(
            "system:discovery",
            &[json!({"verbs": ["get"], "nonResourceURLs": [
                "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
                "/version/",
            ]})],
        ),
        role(
            "system:public-info-viewer",
            &[
                json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]}),
            ],
        ),
    ]
}

/// The cluster role bindings.
pub fn bindings() -> Vec<Value> {
    vec![
        binding("cluster-admin", &["system:masters"]),
        binding("system:basic-user", &["system:authenticated"]),
        binding("system:discovery", &["system:authenticated"]),
        binding(
            "system:public-info-viewer",
            &["system:authenticated", "system:unauthenticated"],
        ),
    ]
}
