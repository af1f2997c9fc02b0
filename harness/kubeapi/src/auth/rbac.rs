//! Role-based access control, evaluated from the stored roles and bindings.

use serde_json::Value;

use crate::object;
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::Key;
use crate::user::User;

const ROLES: &str = "roles.rbac.authorization.k8s.io";
const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const ROLE_BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const CLUSTER_ROLE_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Action<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
    /// Set for paths that are no resources; everything else is then ignored.
    pub path: Option<&'a str>,
}

/// Whether a user may do something, and by which binding.
pub fn allowed(core: &Core, user: &User, action: &Action<'_>) -> Option<String> {
    if user.is_master() {
        return Some(String::new());
    }
    let cluster = core.store.list(CLUSTER_ROLE_BINDINGS, None).entries;
    for entry in &cluster {
        let binding = &entry.object;
        if binds(binding, user, "") && role_allows(core, binding, None, action) {
            return Some(reason("ClusterRoleBinding", binding, user));
        }
    }
    let namespace = action.namespace.filter(|_| action.path.is_none())?;
    for entry in &core.store.list(ROLE_BINDINGS, Some(namespace)).entries {
        let binding = &entry.object;
        if binds(binding, user, namespace) && role_allows(core, binding, Some(namespace), action) {
            return Some(reason("RoleBinding", binding, user));
        }
    }
    None
}

fn reason(kind: &str, binding: &Value, user: &User) -> String {
    let name = match object::namespace(binding) {
        "" => object::name(binding).to_owned(),
        namespace => format!("{}/{namespace}", object::name(binding)),
    };
    let own = object::namespace(binding);
    let subjects = object::list(binding, &["subjects"]).iter();
    let who = subjects
        .filter(|s| is_subject(s, user, own))
        .map(|subject| {
            let (kind, name) = (
                object::text(subject, &["kind"]),
                object::text(subject, &["name"]),
            );
            match object::text(subject, &["namespace"]) {
                namespace if kind == "ServiceAccount" => format!("{kind} \"{name}/{namespace}\""),
                _ => format!("{kind} {name:?}"),
            }
        });
    format!(
        "RBAC: allowed by {kind} {name:?} of {} {:?} to {}",
        object::text(binding, &["roleRef", "kind"]),
        object::text(binding, &["roleRef", "name"]),
        who.take(1).collect::<String>()
    )
}

/// Refuses what is not allowed, in upstream's words.
pub fn authorize(core: &Core, user: &User, action: &Action<'_>) -> Result<(), Status> {
    if allowed(core, user, action).is_some() {
        return Ok(());
    }
    if let Some(path) = action.path {
        return Err(Status::forbidden(
            "",
            "",
            "",
            &format!("User {:?} cannot {} path {path:?}", user.name, action.verb),
        ));
    }
    let resource = match action.subresource {
        Some(sub) => format!("{}/{sub}", action.resource),
        None => action.resource.to_owned(),
    };
    let scope = match action.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    Err(Status::forbidden(
        action.group,
        action.resource,
        action.name.unwrap_or_default(),
        &format!(
            "User {:?} cannot {} resource {resource:?} in API group {:?} {scope}",
            user.name, action.verb, action.group
        ),
    ))
}

/// Whether a binding names the user, one of their groups, or their service account.
fn binds(binding: &Value, user: &User, namespace: &str) -> bool {
    object::list(binding, &["subjects"])
        .iter()
        .any(|subject| is_subject(subject, user, namespace))
}

fn is_subject(subject: &Value, user: &User, namespace: &str) -> bool {
    let name = object::text(subject, &["name"]);
    match object::text(subject, &["kind"]) {
        "User" => name == user.name,
        "Group" => user.in_group(name),
        "ServiceAccount" => {
            let own = object::text(subject, &["namespace"]);
            let namespace = if own.is_empty() { namespace } else { own };
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn role_allows(core: &Core, binding: &Value, namespace: Option<&str>, action: &Action<'_>) -> bool {
    rules(core, binding, namespace)
        .iter()
        .any(|rule| rule_allows(rule, action))
}

/// The rules of the role a binding refers to.
pub fn rules(core: &Core, binding: &Value, namespace: Option<&str>) -> Vec<Value> {
    let name = object::text(binding, &["roleRef", "name"]);
    let role = match (object::text(binding, &["roleRef", "kind"]), namespace) {
        ("Role", Some(namespace)) => core.store.get(ROLES, &Key::new(namespace, name)),
        ("ClusterRole", _) => core.store.get(CLUSTER_ROLES, &Key::new("", name)),
        _ => None,
    };
    let Some(role) = role else {
        return Vec::new();
    };
    let mut taken = Vec::new();
    collect(core, &role.object, &mut taken)
}

/// A role's own rules, or those of every cluster role that it selects: `admin` takes in `edit`, which takes in others.
fn collect(core: &Core, role: &Value, taken: &mut Vec<String>) -> Vec<Value> {
    if !object::at(role, &["aggregationRule"]).is_object() {
        return object::list(role, &["rules"]).to_vec();
    }
    let selectors = object::list(role, &["aggregationRule", "clusterRoleSelectors"]);
    taken.push(object::name(role).to_owned());
    let mut rules: Vec<Value> = Vec::new();
    for entry in &core.store.list(CLUSTER_ROLES, None).entries {
        let labels = object::at(&entry.object, &["metadata", "labels"]);
        let selected = selectors
            .iter()
            .any(|s| crate::kinds::workloads::selects(s, labels));
        // Roles may select each other.
        if selected && !taken.iter().any(|name| name == object::name(&entry.object)) {
            for rule in collect(core, &entry.object, taken) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    rules
}

fn rule_allows(rule: &Value, action: &Action<'_>) -> bool {
    let has = |key: &str, wanted: &str| {
        object::list(rule, &[key])
            .iter()
            .any(|v| v == wanted || v == "*")
    };
    if !has("verbs", action.verb) {
        return false;
    }
    if let Some(path) = action.path {
        return object::list(rule, &["nonResourceURLs"]).iter().any(|url| {
            let url = url.as_str().unwrap_or_default();
            url == path
                || url
                    .strip_suffix('*')
                    .is_some_and(|prefix| path.starts_with(prefix))
        });
    }
    let names = object::list(rule, &["resourceNames"]);
    let this_one = names.is_empty() || names.iter().any(|n| n.as_str() == action.name);
    this_one && has("apiGroups", action.group) && resource_matches(rule, action)
}

fn resource_matches(rule: &Value, action: &Action<'_>) -> bool {
    object::list(rule, &["resources"]).iter().any(|resource| {
        let resource = resource.as_str().unwrap_or_default();
        match action.subresource {
            None => resource == action.resource || resource == "*",
            Some(sub) => {
                resource == "*"
                    || resource == format!("{}/{sub}", action.resource)
                    || resource == format!("*/{sub}")
            }
        }
    })
}

/// All rules that apply to a user in a namespace, for `kubectl auth can-i --list`.
pub fn rules_of(core: &Core, user: &User, namespace: &str) -> Vec<Value> {
    let mut rules_of = Vec::new();
    for entry in &core.store.list(CLUSTER_ROLE_BINDINGS, None).entries {
        if binds(&entry.object, user, "") {
            rules_of.extend(rules(core, &entry.object, None));
        }
    }
    for entry in &core.store.list(ROLE_BINDINGS, Some(namespace)).entries {
        if binds(&entry.object, user, namespace) {
            rules_of.extend(rules(core, &entry.object, Some(namespace)));
        }
    }
    if user.is_master() {
        rules_of.push(serde_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        rules_of.push(serde_json::json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    rules_of
}
