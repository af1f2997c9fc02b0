//! What we may do on a cluster, asked before anything is done.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
};
use kube::{Client, api::Api, api::PostParams};
use trunkline_engine::{
    api_message,
    rights::{Need, Right, sentences},
};

use super::ContextError;

/// Reviews are small and many; more at once than this would be impolite.
const AT_ONCE: usize = 16;

/// The rights that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Without these a scenario cannot succeed.
    pub missing: Vec<Right>,
    /// Without these it has less to tell.
    pub missed: Vec<Right>,
}

impl Review {
    /// All of them in one sentence: `get, create pods in namespace blue; list nodes`.
    pub fn sentence(&self) -> String {
        sentences(&self.missing).join("; ")
    }
}

/// Asks about each right.
pub async fn review(client: &Client, needed: Vec<(Right, Need)>) -> Result<Review, ContextError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answers: Vec<_> = futures::stream::iter(needed)
        .map(|(right, need)| {
            let reviews = &reviews;
            async move {
                let allowed = allowed(reviews, &right).await?;
                Ok::<_, ContextError>((right, need, allowed))
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut review = Review::default();
    for (right, need, allowed) in answers {
        match (allowed, need) {
            (true, _) => {}
            (false, Need::Must) => review.missing.push(right),
            (false, Need::Helps) => review.missed.push(right),
        }
    }
    Ok(review)
}

async fn allowed(
    reviews: &Api<SelfSubjectAccessReview>,
    right: &Right,
) -> Result<bool, ContextError> {
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(right.attributes()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews
        .create(&PostParams::default(), &question)
        .await
        .map_err(|error| ContextError::Api {
            what: format!("whether we may {right}"),
            why: api_message(&error),
        })?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Who we are, as the cluster sees it; `None` where it does not say (before 1.28).
pub async fn whoami(client: &Client) -> Option<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .ok()?;
    answer.status?.user_info?.username
}
