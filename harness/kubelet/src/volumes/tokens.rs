//! Tokens of service accounts: asked for once, renewed before they expire.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    Container, Pod, ServiceAccount, ServiceAccountTokenProjection, Volume,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::Origin;
use super::payload::File;
use crate::oci::ConfigError;

/// What a token is asked for when the pod does not say, in seconds.
const LIFE: i64 = 3600;

/// Tokens that live longer than this are renewed daily all the same.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A pod's tokens, by audience and the life that was asked for.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<(String, i64), Token>>);

#[derive(Debug, Clone)]
struct Token {
    text: String,
    renew: Instant,
}

impl Tokens {
    /// When the first of them has to be renewed.
    pub(super) fn renewal(&self) -> Option<Instant> {
        self.tokens().values().map(|token| token.renew).min()
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<(String, i64), Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a volume holds one.
pub(super) fn are_in(volume: &Volume) -> bool {
    let projected = volume.projected.iter();
    projected
        .flat_map(|volume| volume.sources.iter().flatten())
        .any(|source| source.service_account_token.is_some())
}

/// The file with the token, readable by the pod's user alone if it has one.
pub(super) async fn file(
    origin: &Origin<'_>,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
    mode: u32,
) -> Result<File, ConfigError> {
    let audience = source.audience.clone().unwrap_or_default();
    let life = source.expiration_seconds.unwrap_or(LIFE);
    let key = (audience, life);
    let known = origin.tokens.tokens().get(&key).cloned();
    let token = if let Some(token) = known.filter(|token| Instant::now() < token.renew) {
        token
    } else {
        let token = request(origin, pod, &key.0, life).await?;
        origin.tokens.tokens().insert(key, token.clone());
        token
    };
    let owner = user_of_all(pod);
    let private = owner.is_some() || super::fs_group(pod).is_some();
    Ok(File {
        data: token.text.into_bytes(),
        mode: if private { 0o600 } else { mode },
        owner,
    })
}

async fn request(
    origin: &Origin<'_>,
    pod: &Pod,
    audience: &str,
    life: i64,
) -> Result<Token, ConfigError> {
    let namespace = pod.namespace().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let account = spec
        .and_then(|s| s.service_account_name.as_deref())
        .unwrap_or("default");
    let failed = |reason: String| {
        ConfigError(format!(
            "failed to fetch token: serviceaccounts {account:?} of namespace {namespace:?}: {reason}"
        ))
    };
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: Some(audience.to_owned())
                .filter(|audience| !audience.is_empty())
                .into_iter()
                .collect(),
            expiration_seconds: Some(life),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        },
        ..TokenRequest::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(origin.client.clone(), &namespace);
    let answer = api
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .map_err(|e| failed(e.to_string()))?;
    let status = answer
        .status
        .ok_or_else(|| failed("the answer holds no token".to_owned()))?;
    let left = status
        .expiration_timestamp
        .0
        .duration_since(Timestamp::now());
    Ok(Token {
        text: status.token,
        renew: Instant::now() + rest(Duration::try_from(left).unwrap_or_default()),
    })
}

/// How long a token is used of the time that it is good for.
fn rest(life: Duration) -> Duration {
    (life * 4 / 5).min(LONGEST)
}

/// The user that all containers run as, if their specs say so.
fn user_of_all(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|s| s.run_as_user);
    let of = |container: &Container| {
        let own = container.security_context.as_ref();
        own.and_then(|s| s.run_as_user).or(of_pod)
    };
    let inits = spec.init_containers.iter().flatten();
    let mut users = inits.chain(&spec.containers).map(of);
    let first = users.next()??;
    let same = users.all(|user| user == Some(first));
    same.then(|| u32::try_from(first).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::nobody_says(json!({"containers": [{"name": "a"}]}), None)]
    #[case::the_pod_says(json!({"securityContext": {"runAsUser": 5}, "containers": [{"name": "a"}]}), Some(5))]
    #[case::all_say(json!({"containers": [{"name": "a", "securityContext": {"runAsUser": 5}}]}), Some(5))]
    #[case::they_differ(
        json!({"securityContext": {"runAsUser": 5}, "containers": [{"name": "a"}, {"name": "b", "securityContext": {"runAsUser": 6}}]}),
        None
    )]
    #[case::an_init_container_differs(
        json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a", "securityContext": {"runAsUser": 5}}]}),
        None
    )]
    fn users(#[case] spec: Value, #[case] expected: Option<u32>) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        assert_eq!(user_of_all(&pod), expected);
    }

    #[test]
    fn tokens_are_renewed_in_time() {
        assert_eq!(rest(Duration::from_secs(600)), Duration::from_secs(480));
        assert_eq!(rest(Duration::from_secs(86_400 * 365)), LONGEST);
    }
}
