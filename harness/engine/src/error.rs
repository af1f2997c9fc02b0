//! Errors of the environment. What a scenario gets wrong is a [`crate::events::Failure`], never one of these.

use crate::{journal::JournalError, site::SiteError};

/// The environment did not do what every environment must be able to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the API did not answer {what}: {}", api_message(.source))]
    Api {
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("{0}")]
    Agent(#[from] crate::probes::AgentError),
    #[error("site: {0}")]
    Site(#[from] SiteError),
    #[error("{0}; nothing is created that is not written down")]
    Journal(#[from] JournalError),
    #[error("the watch on {what} broke: {message}")]
    Watch { what: String, message: String },
}

impl Error {
    pub(crate) fn api(what: impl Into<String>, source: kube::Error) -> Self {
        Self::Api {
            what: what.into(),
            source: Box::new(source),
        }
    }
}

/// The API's own words, or the transport's when it had none.
pub fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => {
            // kube's texts stop before the cause, which is the interesting part.
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text.push_str(": ");
                    text.push_str(&inner_text);
                }
                cause = inner.source();
            }
            text
        }
    }
}

/// Whether the API understood the request and said no, as opposed to being unreachable or unwell.
pub(crate) fn is_refusal(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    match status.code {
        429 => false,
        400..500 => true,
        // What server-side apply says of an object that does not fit its schema; it comes as an internal error.
        500 => status
            .message
            .starts_with("failed to create typed patch object"),
        _ => false,
    }
}

pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
