//! Tokens of service accounts: asked for, used, looked at, and refused.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::{Served, serve, toy_server};
use k8s_openapi::api::authentication::v1::{
    BoundObjectReference, SelfSubjectReview, TokenRequest, TokenRequestSpec, TokenReview,
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt};
use serde_json::json;

/// A client that has nothing but a token.
async fn bearer(served: &Served, token: &str) -> Client {
    use base64::Engine;
    let authority = base64::engine::general_purpose::STANDARD.encode(served.pki.ca_pem());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": served.url, "certificate-authority-data": authority}}],
        "users": [{"name": "c", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    let config: Kubeconfig = serde_json::from_value(config).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn wanted(spec: TokenRequestSpec) -> TokenRequest {
    TokenRequest {
        spec,
        ..TokenRequest::default()
    }
}

async fn token(client: &Client, account: &str, spec: TokenRequestSpec) -> kube::Result<String> {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &wanted(spec))
        .await?;
    Ok(answer.status.unwrap().token)
}

async fn whoami(client: &Client) -> kube::Result<SelfSubjectReview> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
}

fn code(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_token_makes_its_bearer_the_account() {
    let served = serve(toy_server());
    let admin = served.admin().await;
    let text = token(&admin, "default", TokenRequestSpec::default())
        .await
        .unwrap();
    let client = bearer(&served, &text).await;
    let info = whoami(&client)
        .await
        .unwrap()
        .status
        .unwrap()
        .user_info
        .unwrap();
    assert_eq!(
        info.username.as_deref(),
        Some("system:serviceaccount:default:default")
    );
    assert_eq!(
        info.groups.unwrap(),
        [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ]
    );
    // RBAC knows the account.
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let (refused, why) = code(maps.list(&ListParams::default()).await.unwrap_err());
    assert_eq!(refused, 403);
    assert!(
        why.contains(
            "User \"system:serviceaccount:default:default\" cannot list resource \"configmaps\""
        ),
        "{why}"
    );
}

#[tokio::test]
async fn what_is_no_token_is_unauthorized() {
    let served = serve(toy_server());
    let stranger = serve(toy_server());
    let foreign = token(
        &stranger.admin().await,
        "default",
        TokenRequestSpec::default(),
    )
    .await
    .unwrap();
    for text in ["rubbish", "a.b.c", &foreign] {
        let error = whoami(&bearer(&served, text).await).await.unwrap_err();
        assert_eq!(code(error), (401, "Unauthorized".to_owned()));
    }
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let served = serve(toy_server());
    let admin = served.admin().await;
    let pods: Api<Pod> = Api::default_namespaced(admin.clone());
    let object = serde_json::from_value(common::pod("a")).unwrap();
    let pod = pods.create(&PostParams::default(), &object).await.unwrap();
    let spec = |uid: Option<String>| TokenRequestSpec {
        bound_object_ref: Some(BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some("a".to_owned()),
            uid,
        }),
        expiration_seconds: Some(3607),
        ..TokenRequestSpec::default()
    };
    let text = token(&admin, "default", spec(pod.uid())).await.unwrap();
    let client = bearer(&served, &text).await;
    let info = whoami(&client)
        .await
        .unwrap()
        .status
        .unwrap()
        .user_info
        .unwrap();
    let extra = info.extra.unwrap();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], ["a"]);
    assert_eq!(extra["authentication.kubernetes.io/node-name"], ["node"]);

    let (refused, why) = code(
        token(&admin, "default", spec(Some("other".to_owned())))
            .await
            .unwrap_err(),
    );
    assert_eq!(refused, 409);
    assert!(why.contains("does not match the UID in record"), "{why}");

    let now = DeleteParams::default().grace_period(0);
    pods.delete("a", &now).await.unwrap();
    assert_eq!(code(whoami(&client).await.unwrap_err()).0, 401);
    let gone = token(&admin, "default", spec(None)).await.unwrap_err();
    assert_eq!(code(gone), (404, "pods \"a\" not found".to_owned()));
}

#[tokio::test]
async fn a_token_ends_with_its_account() {
    let served = serve(toy_server());
    let admin = served.admin().await;
    let accounts: Api<ServiceAccount> = Api::default_namespaced(admin.clone());
    let account: ServiceAccount =
        serde_json::from_value(json!({"metadata": {"name": "bob"}})).unwrap();
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let text = token(&admin, "bob", TokenRequestSpec::default())
        .await
        .unwrap();
    let client = bearer(&served, &text).await;
    whoami(&client).await.unwrap();
    accounts
        .delete("bob", &DeleteParams::default())
        .await
        .unwrap();
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    // The new account of that name is another one.
    assert_eq!(code(whoami(&client).await.unwrap_err()).0, 401);
}

#[tokio::test]
async fn requests_that_cannot_be_met_say_why() {
    let admin = toy_server().client("test");
    let nobody = token(&admin, "nobody", TokenRequestSpec::default())
        .await
        .unwrap_err();
    assert_eq!(
        code(nobody),
        (404, "serviceaccounts \"nobody\" not found".to_owned())
    );
    let short = TokenRequestSpec {
        expiration_seconds: Some(599),
        ..TokenRequestSpec::default()
    };
    let (refused, why) = code(token(&admin, "default", short).await.unwrap_err());
    assert_eq!(refused, 422);
    assert!(
        why.contains("spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"),
        "{why}"
    );
}

#[tokio::test]
async fn reviews_tell_whose_token_it_is_and_for_whom() {
    let admin = toy_server().client("test");
    let spec = TokenRequestSpec {
        audiences: vec!["vault".to_owned()],
        ..TokenRequestSpec::default()
    };
    let text = token(&admin, "default", spec).await.unwrap();
    let review = async |audiences: Option<Vec<String>>| {
        let mut review = TokenReview::default();
        review.spec.token = Some(text.clone());
        review.spec.audiences = audiences;
        let reviews: Api<TokenReview> = Api::all(admin.clone());
        reviews
            .create(&PostParams::default(), &review)
            .await
            .unwrap()
            .status
            .unwrap()
    };
    let status = review(Some(vec!["vault".to_owned()])).await;
    assert_eq!(status.authenticated, Some(true));
    assert_eq!(status.audiences.unwrap(), ["vault"]);
    // Not for the API itself.
    let status = review(None).await;
    assert_eq!(status.authenticated, None);
    assert!(
        status
            .error
            .unwrap()
            .contains("is invalid for the target audiences")
    );
}

#[tokio::test]
async fn every_namespace_has_an_account_and_the_authority() {
    let served = serve(toy_server());
    let admin = served.admin().await;
    let maps: Api<ConfigMap> = Api::namespaced(admin.clone(), "kube-public");
    let authority = maps.get("kube-root-ca.crt").await.unwrap();
    assert_eq!(authority.data.unwrap()["ca.crt"], served.pki.ca_pem());
    let accounts: Api<ServiceAccount> = Api::namespaced(admin, "kube-public");
    accounts.get("default").await.unwrap();
}

#[tokio::test]
async fn pods_get_a_volume_with_their_token_where_it_is_switched_on() {
    let server = kubeapi::ApiServer::builder()
        .mount_tokens(true)
        .build()
        .unwrap();
    let client = server.client("test");
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let make = async |name: &str| {
        let object = serde_json::from_value(common::pod(name)).unwrap();
        pods.create(&PostParams::default(), &object)
            .await
            .unwrap()
            .spec
            .unwrap()
    };
    let spec = make("a").await;
    let mounts = spec.containers[0].volume_mounts.as_ref().unwrap();
    assert_eq!(
        mounts[0].mount_path,
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(spec.volumes.unwrap()[0].name, mounts[0].name);
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client);
    let without = json!({"automountServiceAccountToken": false});
    accounts
        .patch("default", &PatchParams::default(), &Patch::Merge(without))
        .await
        .unwrap();
    assert!(make("b").await.volumes.is_none());
}
