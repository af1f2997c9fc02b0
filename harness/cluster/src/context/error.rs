//! Why a cluster cannot be used.

use std::path::PathBuf;

use trunkline_engine::api_message;

/// A cluster that cannot be had, or does not let us. Nothing was created there.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error(
        "there is no kubeconfig: neither KUBECONFIG nor ~/.kube/config names one; give it with --kubeconfig"
    )]
    NoKubeconfig,
    #[error("cannot read the kubeconfig {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("the kubeconfig {place} is not one: {why}")]
    NotAKubeconfig { place: String, why: String },
    #[error(
        "the kubeconfig {place} has no current context; name one with --context: {}",
        list(known)
    )]
    NoCurrentContext { place: String, known: Vec<String> },
    #[error(
        "the kubeconfig {place} has no context {context:?}; it has {}",
        list(known)
    )]
    NoSuchContext {
        place: String,
        context: String,
        known: Vec<String>,
    },
    #[error("the context {context} cannot be used: {why}")]
    Unusable { context: String, why: String },
    #[error(
        "the cluster of the context {context} cannot be reached at {server}: {why}; is it up, and is this the right context?"
    )]
    Unreachable {
        context: String,
        server: String,
        why: String,
    },
    #[error(
        "the cluster of the context {context} ({server}) does not accept our credentials: {why}; log in again, or give another context"
    )]
    Unauthorized {
        context: String,
        server: String,
        why: String,
    },
    #[error(
        "{server}, the server of the context {context}, does not answer like a Kubernetes API: {why}"
    )]
    NotKubernetes {
        context: String,
        server: String,
        why: String,
    },
    #[error("the API does not answer {what}: {why}")]
    Api { what: String, why: String },
}

impl ContextError {
    /// What the answer to the first question means.
    pub(super) fn answer(context: &str, server: &str, error: &kube::Error) -> Self {
        let (context, server, why) = (context.to_owned(), server.to_owned(), api_message(error));
        match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => Self::Unauthorized {
                context,
                server,
                why,
            },
            kube::Error::Auth(_) => Self::Unauthorized {
                context,
                server,
                why,
            },
            kube::Error::Api(_) | kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::NotKubernetes {
                    context,
                    server,
                    why,
                }
            }
            _ => Self::Unreachable {
                context,
                server,
                why,
            },
        }
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return "none".into();
    }
    known.join(", ")
}
