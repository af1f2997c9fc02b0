//! The review kinds: questions about identities and permissions, answered on the spot.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rbac::{Action, allowed, rules_of};
use super::tokens;
use crate::object;
use crate::server::core::Core;
use crate::status::Status;
use crate::user::User;
use crate::validation::field;

/// Answers a review: the object with its status.
pub fn answer(
    core: &Core,
    user: &User,
    namespace: Option<&str>,
    mut review: Value,
) -> Result<Value, Status> {
    let kind = object::text(&review, &["kind"]).to_owned();
    if kind.ends_with("AccessReview") {
        check(&kind, &review, namespace)?;
    }
    let status = match kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(user)}),
        "SelfSubjectAccessReview" => access(core, user, &review, None),
        "SubjectAccessReview" => access(core, &subject(&review), &review, None),
        "LocalSubjectAccessReview" => access(core, &subject(&review), &review, namespace),
        "SelfSubjectRulesReview" => {
            let namespace = object::text(&review, &["spec", "namespace"]).to_owned();
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            // The answer does not repeat the question.
            review["spec"] = json!({});
            rules(core, user, &namespace)
        }
        "TokenReview" => token(core, &review)?,
        other => return Err(Status::bad_request(format!("{other} is no review"))),
    };
    if !object::at(&review, &["metadata"]).is_object() {
        review["metadata"] = json!({});
    }
    if kind == "SelfSubjectReview" {
        review["metadata"]["creationTimestamp"] = object::time(Timestamp::now()).into();
    }
    review["status"] = status;
    Ok(review)
}

/// A question must be about one thing, and about somebody.
fn check(kind: &str, review: &Value, namespace: Option<&str>) -> Result<(), Status> {
    let spec = object::at(review, &["spec"]);
    let (resource, other) = (
        object::at(spec, &["resourceAttributes"]),
        object::at(spec, &["nonResourceAttributes"]),
    );
    let mut errors = Vec::new();
    match (resource.is_object(), other.is_object()) {
        (true, true) => errors.push(field::invalid(
            "spec.nonResourceAttributes",
            other.clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => errors.push(field::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    let nobody =
        object::text(spec, &["user"]).is_empty() && object::list(spec, &["groups"]).is_empty();
    if !kind.starts_with("Self") && nobody {
        errors.push(field::invalid(
            "spec.user",
            "",
            "at least one of user or group must be specified",
        ));
    }
    let asked = object::text(resource, &["namespace"]);
    if namespace.is_some_and(|namespace| namespace != asked) {
        errors.push(field::invalid(
            "spec.resourceAttributes.namespace",
            asked,
            "must match metadata.namespace",
        ));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("authorization.k8s.io", "", "", &errors))
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// Whose token it is.
fn token(core: &Core, review: &Value) -> Result<Value, Status> {
    let token = object::text(review, &["spec", "token"]);
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let wanted: Vec<String> = object::list(review, &["spec", "audiences"])
        .iter()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    Ok(match tokens::authenticate(core, token, &wanted) {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user_info(&user), "audiences": audiences})
        }
        Err(rejected) => json!({"user": {}, "error": rejected.to_string()}),
    })
}

/// Notes in a request for a certificate who makes it.
pub fn sign(request: &mut Value, user: &User) {
    let info = user_info(user);
    let spec = object::child(request, "spec");
    for key in ["username", "uid", "groups", "extra"] {
        object::remove(spec, &[key]);
        if let Some(value) = info.get(key) {
            spec[key] = value.clone();
        }
    }
}

/// The user a SubjectAccessReview asks about.
fn subject(review: &Value) -> User {
    User {
        name: object::text(review, &["spec", "user"]).to_owned(),
        uid: object::text(review, &["spec", "uid"]).to_owned(),
        groups: object::list(review, &["spec", "groups"])
            .iter()
            .filter_map(|g| g.as_str().map(str::to_owned))
            .collect(),
        ..User::default()
    }
}

fn access(core: &Core, user: &User, review: &Value, namespace: Option<&str>) -> Value {
    let spec = object::at(review, &["spec"]);
    let resource = object::at(spec, &["resourceAttributes"]);
    let other = object::at(spec, &["nonResourceAttributes"]);
    let action = if resource.is_object() {
        Action {
            verb: object::text(resource, &["verb"]),
            group: object::text(resource, &["group"]),
            resource: object::text(resource, &["resource"]),
            subresource: some(resource, "subresource"),
            namespace: namespace.or(some(resource, "namespace")),
            name: some(resource, "name"),
            path: None,
        }
    } else {
        Action {
            verb: object::text(other, &["verb"]),
            path: Some(object::text(other, &["path"])),
            ..Action::default()
        }
    };
    match allowed(core, user, &action) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    }
}

/// A text that is there.
fn some<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    Some(object::text(value, &[key])).filter(|text| !text.is_empty())
}

fn rules(core: &Core, user: &User, namespace: &str) -> Value {
    let (mut resources, mut others) = (Vec::new(), Vec::new());
    for rule in rules_of(core, user, namespace) {
        let mut kept = json!({"verbs": object::at(&rule, &["verbs"])});
        let keys: &[&str] = if object::list(&rule, &["nonResourceURLs"]).is_empty() {
            &["apiGroups", "resources", "resourceNames"]
        } else {
            &["nonResourceURLs"]
        };
        for key in keys {
            if !object::at(&rule, &[key]).is_null() {
                kept[*key] = object::at(&rule, &[key]).clone();
            }
        }
        if keys.len() == 1 {
            others.push(kept);
        } else {
            resources.push(kept);
        }
    }
    json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false})
}
