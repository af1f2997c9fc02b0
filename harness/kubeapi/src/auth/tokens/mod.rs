//! Tokens of service accounts: made by `serviceaccounts/token`, accepted as bearer tokens, looked at by TokenReview.
//!
//! A token names its account and may be bound to a pod, a secret or a node; it ends when its time is over, when the
//! account goes, or when what it is bound to goes.

pub mod jwt;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::gvk::split_api_version;
use crate::object;
use crate::registry::builtin::{NODES, PODS, SECRETS, SERVICE_ACCOUNTS};
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::Key;
use crate::user::User;
use crate::validation::field;

/// Who signs, and whom tokens are for when they name nobody else.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const PRIVATE: &str = "kubernetes.io";
/// What projected volumes ask for. Clients that read their token once live longer than that, so upstream lets such a
/// token live on and notes when it should have been read again.
const PROJECTED: i64 = 3607;
const EXTENDED: i64 = 365 * 24 * 3600;
const SHORTEST: i64 = 600;
const USUAL: i64 = 3600;

/// A token nobody should trust, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(String);

/// Answers a TokenRequest for an account.
pub fn request(
    core: &Core,
    namespace: &str,
    account: &str,
    mut request: Value,
) -> Result<Value, Status> {
    let entry = core
        .store
        .get(SERVICE_ACCOUNTS, &Key::new(namespace, account))
        .ok_or_else(|| Status::not_found("", "serviceaccounts", account))?;
    let now = Timestamp::now();
    let spec = object::child(&mut request, "spec");
    if object::list(spec, &["audiences"]).is_empty() {
        spec["audiences"] = json!([ISSUER]);
    }
    object::default(spec, "expirationSeconds", USUAL);
    object::default(spec, "boundObjectRef", Value::Null);
    let seconds = object::integer(spec, &["expirationSeconds"]).unwrap_or(USUAL);
    check_duration(seconds)?;
    let bound = bound(
        core,
        namespace,
        account,
        object::at(spec, &["boundObjectRef"]),
    )?;
    let audiences = object::at(spec, &["audiences"]).clone();
    let extended =
        seconds == PROJECTED && bound.get("pod").is_some() && audiences == json!([ISSUER]);
    let mut private = json!({
        "namespace": namespace,
        "serviceaccount": {"name": account, "uid": object::uid(&entry.object)},
    });
    for (key, reference) in bound.as_object().into_iter().flatten() {
        private[key] = reference.clone();
    }
    let second = now.as_second();
    if extended {
        private["warnafter"] = (second + seconds).into();
    }
    let lifetime = if extended { EXTENDED } else { seconds };
    let claims = json!({
        "aud": audiences, "exp": second + lifetime, "iat": second, "iss": ISSUER,
        "jti": uuid::Uuid::new_v4().to_string(), PRIVATE: private, "nbf": second,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
    });
    let token = core
        .signer
        .sign(&claims)
        .map_err(|error| Status::internal(&error.to_string()))?;
    object::set(&mut request, &["metadata", "name"], account);
    object::set(&mut request, &["metadata", "namespace"], namespace);
    object::set(
        &mut request,
        &["metadata", "creationTimestamp"],
        object::time(now),
    );
    let ends = now + SignedDuration::from_secs(seconds);
    request["status"] = json!({"token": token, "expirationTimestamp": object::time(ends)});
    Ok(request)
}

fn check_duration(seconds: i64) -> Result<(), Status> {
    let why = if seconds < SHORTEST {
        "may not specify a duration less than 10 minutes"
    } else if seconds > 1 << 32 {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let error = field::invalid("spec.expirationSeconds", seconds, why);
    Err(Status::invalid(
        "authentication.k8s.io",
        "TokenRequest",
        "",
        &[error],
    ))
}

/// The references to what a token is bound to, which must exist.
fn bound(core: &Core, namespace: &str, account: &str, wanted: &Value) -> Result<Value, Status> {
    if wanted.is_null() {
        return Ok(json!({}));
    }
    let text = |key: &str| object::text(wanted, &[key]);
    let (group, version) = split_api_version(text("apiVersion"));
    let (kind, name) = (text("kind"), text("name"));
    let (shelf, namespace) = match (group, kind) {
        ("", "Pod") => (PODS, namespace),
        ("", "Secret") => (SECRETS, namespace),
        ("", "Node") => (NODES, ""),
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let entry = core
        .store
        .get(shelf, &Key::new(namespace, name))
        .ok_or_else(|| Status::not_found("", shelf, name))?;
    let object = &entry.object;
    if kind == "Pod" && object::text(object, &["spec", "serviceAccountName"]) != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let uid = object::uid(object);
    if !text("uid").is_empty() && text("uid") != uid {
        return Err(Status::conflict(
            "",
            kind,
            name,
            &format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                text("uid")
            ),
        ));
    }
    let mut bound = json!({});
    let node = object::text(object, &["spec", "nodeName"]);
    if kind == "Pod" && !node.is_empty() {
        let mut reference = json!({"name": node});
        if let Some(node) = core.store.get(NODES, &Key::new("", node)) {
            reference["uid"] = object::uid(&node.object).into();
        }
        bound["node"] = reference;
    }
    bound[kind.to_lowercase()] = json!({"name": name, "uid": uid});
    Ok(bound)
}

/// The user a token stands for and the audiences it is good for among the wanted ones; the API itself is wanted when
/// none is named.
pub fn authenticate(
    core: &Core,
    token: &str,
    wanted: &[String],
) -> Result<(User, Vec<String>), Rejected> {
    let rejected = |why: &str| Rejected(why.to_owned());
    let claims = core
        .signer
        .verify(token)
        .ok_or_else(|| rejected("invalid bearer token"))?;
    let now = Timestamp::now().as_second();
    let time = |key: &str| object::integer(&claims, &[key]).unwrap_or(0);
    if now >= time("exp") {
        return Err(rejected(
            "[invalid bearer token, service account token has expired]",
        ));
    }
    if now < time("nbf") {
        return Err(rejected(
            "[invalid bearer token, service account token is not valid yet]",
        ));
    }
    let own = [ISSUER.to_owned()];
    let wanted = if wanted.is_empty() { &own } else { wanted };
    let audiences: Vec<String> = object::list(&claims, &["aud"])
        .iter()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .filter(|audience| wanted.contains(audience))
        .collect();
    if audiences.is_empty() {
        return Err(Rejected(format!(
            "[invalid bearer token, token audiences {} is invalid for the target audiences {wanted:?}]",
            object::at(&claims, &["aud"])
        )));
    }
    let private = object::at(&claims, &[PRIVATE]);
    still_there(core, private)?;
    Ok((user(&claims, private), audiences))
}

/// Whether the account and what the token is bound to still are what they were.
fn still_there(core: &Core, private: &Value) -> Result<(), Rejected> {
    let namespace = object::text(private, &["namespace"]);
    for (key, shelf, namespace) in [
        ("serviceaccount", SERVICE_ACCOUNTS, namespace),
        ("secret", SECRETS, namespace),
        ("pod", PODS, namespace),
        ("node", NODES, ""),
    ] {
        let reference = object::at(private, &[key]);
        let text = |field: &str| object::text(reference, &[field]);
        // A pod's node is noted for information.
        let informs = key == "node" && private.get("pod").is_some();
        if reference.is_null() || informs {
            continue;
        }
        let entry = core.store.get(shelf, &Key::new(namespace, text("name")));
        if entry.is_none_or(|entry| object::uid(&entry.object) != text("uid")) {
            return Err(Rejected(
                "[invalid bearer token, service account token has been invalidated]".to_owned(),
            ));
        }
    }
    Ok(())
}

fn user(claims: &Value, private: &Value) -> User {
    let text = |path: &[&str]| object::text(private, path);
    let namespace = text(&["namespace"]);
    let mut user = User::new(
        object::text(claims, &["sub"]),
        &[
            "system:serviceaccounts",
            &format!("system:serviceaccounts:{namespace}"),
        ],
    );
    text(&["serviceaccount", "uid"]).clone_into(&mut user.uid);
    let notes = [
        (
            "credential-id",
            format!("JTI={}", object::text(claims, &["jti"])),
        ),
        ("node-name", text(&["node", "name"]).to_owned()),
        ("node-uid", text(&["node", "uid"]).to_owned()),
        ("pod-name", text(&["pod", "name"]).to_owned()),
        ("pod-uid", text(&["pod", "uid"]).to_owned()),
    ];
    for (key, value) in notes.into_iter().filter(|(_, value)| !value.is_empty()) {
        user.extra
            .insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    }
    user
}

/// What others need to check tokens themselves.
pub fn discovery() -> Value {
    json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    })
}
