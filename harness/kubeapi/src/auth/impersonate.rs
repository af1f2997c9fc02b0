//! `Impersonate-*` headers: acting as somebody else, if allowed.

use http::HeaderMap;

use super::rbac::{Action, authorize};
use crate::request::query::decode;
use crate::server::core::Core;
use crate::status::Status;
use crate::user::{AUTHENTICATED, UNAUTHENTICATED, User};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The user a request acts as.
pub fn effective(core: &Core, user: User, headers: &HeaderMap) -> Result<User, Status> {
    let one = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let groups: Vec<&str> = headers
        .get_all(GROUP)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    let extra: Vec<(String, String)> = headers
        .iter()
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(EXTRA)?;
            Some((decode(key), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let Some(name) = one(USER) else {
        if groups.is_empty() && extra.is_empty() && one(UID).is_none() {
            return Ok(user);
        }
        return Err(Status::internal(
            "requested [{Group}] without impersonating a user",
        ));
    };
    let may = |group: &str, resource: &str, namespace: Option<&str>, name: &str| {
        authorize(
            core,
            &user,
            &Action {
                verb: "impersonate",
                group,
                resource,
                namespace,
                name: Some(name),
                ..Action::default()
            },
        )
    };
    let account = name
        .strip_prefix(SERVICE_ACCOUNT)
        .and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => may("", "serviceaccounts", Some(namespace), account)?,
        None => may("", "users", None, name)?,
    }
    for group in &groups {
        may("", "groups", None, group)?;
    }
    if let Some(uid) = one(UID) {
        may("authentication.k8s.io", "uids", None, uid)?;
    }
    let mut acting = User {
        name: name.to_owned(),
        uid: one(UID).unwrap_or_default().to_owned(),
        groups: groups.into_iter().map(str::to_owned).collect(),
        ..User::default()
    };
    for (key, value) in extra {
        may("authentication.k8s.io", "userextras", None, &value)?;
        acting.extra.entry(key).or_default().push(value);
    }
    if let Some((namespace, _)) = account
        && acting.groups.is_empty()
    {
        acting.groups = vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    let anonymous = acting.name == "system:anonymous";
    if anonymous && !acting.in_group(UNAUTHENTICATED) {
        acting.groups.push(UNAUTHENTICATED.to_owned());
    } else if !anonymous && !acting.in_group(AUTHENTICATED) {
        acting.groups.push(AUTHENTICATED.to_owned());
    }
    Ok(acting)
}
