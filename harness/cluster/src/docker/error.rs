use bollard::errors::Error;

use super::Provider;

#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error("no {} answers here ({why}); install and start Docker or Podman, or point DOCKER_HOST at one", .provider.as_str())]
    Absent { provider: Provider, why: String },
    #[error(
        "this user may not talk to {} ({why}); add the user to the group `docker` and log in anew, or run as root", .provider.as_str()
    )]
    Denied { provider: Provider, why: String },
    #[error("cannot {what}")]
    Api {
        what: String,
        #[source]
        source: Box<Error>,
    },
    #[error("container {container} has no address on the network {network}; is it running?")]
    NoAddress { container: String, network: String },
    #[error("in {container}, `{command}` ended with {code}: {output}")]
    Failed {
        container: String,
        command: String,
        code: i64,
        output: String,
    },
    #[error("cannot read what is to be written into {container}")]
    Stdin {
        container: String,
        #[source]
        source: std::io::Error,
    },
}

impl DockerError {
    /// What it means that the first request went wrong.
    pub(super) fn reaching(provider: Provider, source: Error) -> Self {
        let why = innermost(&source);
        if why.contains("ermission denied") {
            return Self::Denied { provider, why };
        }
        match source {
            // Somebody is there and says no.
            Error::DockerResponseServerError { .. } => Self::Api {
                what: format!("agree with {} on a version", provider.as_str()),
                source: Box::new(source),
            },
            _ => Self::Absent { provider, why },
        }
    }

    pub(crate) fn doing(what: impl FnOnce() -> String) -> impl FnOnce(Error) -> Self {
        move |source| Self::Api {
            what: what(),
            source: Box::new(source),
        }
    }

    /// The daemon says there is no such thing.
    pub(crate) fn is_not_found(error: &Error) -> bool {
        matches!(
            error,
            Error::DockerResponseServerError {
                status_code: 404,
                ..
            }
        )
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
