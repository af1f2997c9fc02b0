//! ConfigMaps, Secrets, service accounts, RBAC, leases and the rest.

use jiff::Timestamp;
use serde_json::Value;

use super::{Head, NAME_AND_AGE, Printer, age, col, date, int, wide};
use crate::object;

const CONFIG_MAP: &[Head] = &[col("Name"), col("Data"), col("Age")];
const SECRET: &[Head] = &[col("Name"), col("Type"), col("Data"), col("Age")];
const ACCOUNT: &[Head] = &[col("Name"), col("Secrets"), col("Age")];
const ROLE: &[Head] = &[col("Name"), date("Created At")];
const BINDING: &[Head] = &[
    col("Name"),
    col("Role"),
    col("Age"),
    wide("Users"),
    wide("Groups"),
    wide("ServiceAccounts"),
];
const LEASE: &[Head] = &[col("Name"), col("Holder"), col("Age")];
const QUOTA: &[Head] = &[col("Name"), col("Request"), col("Limit"), col("Age")];
const BUDGET: &[Head] = &[
    col("Name"),
    col("Min Available"),
    col("Max Unavailable"),
    int("Allowed Disruptions"),
    col("Age"),
];
const REVISION: &[Head] = &[col("Name"), col("Controller"), col("Revision"), col("Age")];

pub fn printer((group, plural): (&str, &str)) -> Option<Printer> {
    let (heads, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match plural {
        "configmaps" => (CONFIG_MAP, |object, now| {
            let entries = entries(object, "data") + entries(object, "binaryData");
            vec![
                object::name(object).into(),
                entries.into(),
                age(object, now),
            ]
        }),
        "secrets" => (SECRET, |object, now| {
            vec![
                object::name(object).into(),
                object::text(object, &["type"]).into(),
                entries(object, "data").into(),
                age(object, now),
            ]
        }),
        "serviceaccounts" => (ACCOUNT, |object, now| {
            let secrets = object::list(object, &["secrets"]).len();
            vec![
                object::name(object).into(),
                secrets.into(),
                age(object, now),
            ]
        }),
        "roles" | "clusterroles" | "customresourcedefinitions" => (ROLE, |object, _| {
            vec![
                object::name(object).into(),
                object::meta(object, "creationTimestamp").into(),
            ]
        }),
        "rolebindings" | "clusterrolebindings" => (BINDING, binding),
        "leases" => (LEASE, |object, now| {
            let holder = object::text(object, &["spec", "holderIdentity"]);
            vec![object::name(object).into(), holder.into(), age(object, now)]
        }),
        "resourcequotas" => (QUOTA, quota),
        "poddisruptionbudgets" => (BUDGET, budget),
        "controllerrevisions" => (REVISION, |object, now| {
            let owner = object::list(object, &["metadata", "ownerReferences"])
                .first()
                .map_or("<none>".to_owned(), |owner| {
                    let (group, _) =
                        crate::gvk::split_api_version(object::text(owner, &["apiVersion"]));
                    let kind = object::text(owner, &["kind"]).to_lowercase();
                    format!("{kind}.{group}/{}", object::text(owner, &["name"]))
                });
            vec![
                object::name(object).into(),
                owner.into(),
                object::at(object, &["revision"]).clone(),
                age(object, now),
            ]
        }),
        "limitranges" => return None,
        _ if group.is_empty() => (NAME_AND_AGE, |object, now| {
            vec![object::name(object).into(), age(object, now)]
        }),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

fn entries(object: &Value, key: &str) -> usize {
    object::map(object, &[key]).map_or(0, serde_json::Map::len)
}

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        object::list(object, &["subjects"])
            .iter()
            .filter(|s| object::text(s, &["kind"]) == kind)
            .map(|s| {
                let name = object::text(s, &["name"]);
                match object::text(s, &["namespace"]) {
                    "" => name.to_owned(),
                    namespace => format!("{namespace}/{name}"),
                }
            })
            .collect::<Vec<_>>()
            .join(", ")
            .into()
    };
    let role = |key: &str| object::text(object, &["roleRef", key]);
    vec![
        object::name(object).into(),
        format!("{}/{}", role("kind"), role("name")).into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in object::map(object, &["status", "hard"])
        .into_iter()
        .flatten()
    {
        let used = object::text(object, &["status", "used", resource]);
        let text = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
        if resource.starts_with("limits.") {
            limits.push(text);
        } else {
            requests.push(text);
        }
    }
    vec![
        object::name(object).into(),
        requests.join(", ").into(),
        limits.join(", ").into(),
        age(object, now),
    ]
}

fn budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let limit = |key: &str| match object::at(object, &["spec", key]) {
        Value::Null => "N/A".into(),
        Value::String(text) => text.as_str().into(),
        other => Value::from(other.to_string()),
    };
    vec![
        object::name(object).into(),
        limit("minAvailable"),
        limit("maxUnavailable"),
        object::integer(object, &["status", "disruptionsAllowed"])
            .unwrap_or(0)
            .into(),
        age(object, now),
    ]
}
