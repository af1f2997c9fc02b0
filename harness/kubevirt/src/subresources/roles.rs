//! The cluster roles that KubeVirt installs, so that users can be given machines as they can on a real cluster.

use serde_json::{Value, json};

use super::GROUP;

const MACHINES: &str = "kubevirt.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Labels by which a role becomes a part of a built-in one.
const TO_ADMIN: &str = "rbac.authorization.k8s.io/aggregate-to-admin";
const TO_EDIT: &str = "rbac.authorization.k8s.io/aggregate-to-edit";
const TO_VIEW: &str = "rbac.authorization.k8s.io/aggregate-to-view";

const READ: &[&str] = &["get", "list", "watch"];
const EDIT: &[&str] = &[
    "get", "delete", "create", "update", "patch", "list", "watch",
];
const ADMIN: &[&str] = &[
    "get",
    "delete",
    "create",
    "update",
    "patch",
    "list",
    "watch",
    "deletecollection",
];

/// What is read of a machine by whoever may read.
const REPORTS: &[&str] = &[
    "virtualmachineinstances/guestosinfo",
    "virtualmachineinstances/filesystemlist",
    "virtualmachineinstances/userlist",
    "virtualmachineinstances/sev/fetchcertchain",
    "virtualmachineinstances/sev/querylaunchmeasurement",
    "virtualmachines/objectgraph",
    "virtualmachineinstances/objectgraph",
];
/// Ways into a machine.
const STREAMS: &[&str] = &[
    "virtualmachineinstances/console",
    "virtualmachineinstances/vnc",
    "virtualmachineinstances/portforward",
    "virtualmachineinstances/usbredir",
];
const INSTANCE_ACTS: &[&str] = &[
    "virtualmachineinstances/pause",
    "virtualmachineinstances/unpause",
    "virtualmachineinstances/addvolume",
    "virtualmachineinstances/removevolume",
    "virtualmachineinstances/freeze",
    "virtualmachineinstances/unfreeze",
    "virtualmachineinstances/softreboot",
    "virtualmachineinstances/reset",
    "virtualmachineinstances/sev/setupsession",
    "virtualmachineinstances/sev/injectlaunchsecret",
    "virtualmachineinstances/evacuate/cancel",
];
const MACHINE_ACTS: &[&str] = &[
    "virtualmachines/start",
    "virtualmachines/stop",
    "virtualmachines/restart",
    "virtualmachines/addvolume",
    "virtualmachines/removevolume",
    "virtualmachines/memorydump",
    "virtualmachines/evacuate/cancel",
];
const KINDS: &[&str] = &[
    "virtualmachines",
    "virtualmachineinstances",
    "virtualmachineinstancepresets",
    "virtualmachineinstancereplicasets",
];
const MIGRATIONS: &[&str] = &["virtualmachineinstancemigrations"];

/// The ClusterRoles and ClusterRoleBindings, each to be created as it is.
pub fn cluster_roles() -> Vec<Value> {
    let user = |kinds: &[&str]| {
        vec![
            rule(GROUP, &[STREAMS, REPORTS].concat(), &["get"]),
            rule(GROUP, INSTANCE_ACTS, &["update"]),
            rule(
                GROUP,
                &["virtualmachines/expand-spec", "virtualmachines/portforward"],
                &["get"],
            ),
            rule(GROUP, MACHINE_ACTS, &["update"]),
            rule(GROUP, &["expand-vm-spec"], &["update"]),
            rule(MACHINES, KINDS, kinds),
            rule(MACHINES, MIGRATIONS, READ),
        ]
    };
    let mut edit = user(EDIT);
    edit.push(rule(MACHINES, &["kubevirts"], &["get", "list"]));
    let view = [
        rule(MACHINES, &["kubevirts"], &["get", "list"]),
        rule(
            GROUP,
            &[&["virtualmachines/expand-spec"], REPORTS].concat(),
            &["get"],
        ),
        rule(GROUP, &["expand-vm-spec"], &["update"]),
        rule(MACHINES, &[KINDS, MIGRATIONS].concat(), READ),
    ];
    let migrate = [
        rule(GROUP, &["virtualmachines/migrate"], &["update"]),
        rule(MACHINES, MIGRATIONS, ADMIN),
    ];
    let default = [
        rule(MACHINES, &["kubevirts"], &["get", "list"]),
        rule(GROUP, &["version", "guestfs"], &["get", "list"]),
    ];
    let defaults = ("kubernetes.io/bootstrapping", "rbac-defaults");
    vec![
        role("kubevirt.io:default", Some(defaults), &default),
        role("kubevirt.io:admin", Some((TO_ADMIN, "true")), &user(ADMIN)),
        role("kubevirt.io:edit", Some((TO_EDIT, "true")), &edit),
        role("kubevirt.io:view", Some((TO_VIEW, "true")), &view),
        role("kubevirt.io:migrate", None, &migrate),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {
                "name": "kubevirt.io:default", "labels": {"kubevirt.io": ""},
                "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
            },
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "kubevirt.io:default"},
            "subjects": [{"kind": "Group", "apiGroup": RBAC, "name": "system:authenticated"}],
        }),
    ]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn role(name: &str, label: Option<(&str, &str)>, rules: &[Value]) -> Value {
    let mut labels = json!({"kubevirt.io": ""});
    if let Some((key, value)) = label {
        labels[key] = value.into();
    }
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels}, "rules": rules,
    })
}
