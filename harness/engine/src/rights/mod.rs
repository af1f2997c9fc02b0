//! What a scenario needs to be allowed to do, worked out before it does anything.

mod needed;
mod words;

use std::fmt;

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::Client;
use trunkline_scenario::model::Scenario;

pub use self::words::sentences;
use crate::{error::api_message, objects::catalogue, plan::Plan, site::SiteError};

/// One thing that is allowed or not: a verb on a kind of object, in one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// `None` for objects without a namespace.
    pub namespace: Option<String>,
    pub group: String,
    /// The plural: `deployments`.
    pub resource: String,
    /// `exec` of `pods`.
    pub subresource: Option<String>,
    pub verb: Verb,
    /// The one object that is meant. Creating is never restricted to a name.
    pub name: Option<String>,
}

/// In the order in which people list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// What becomes of a run without a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// It goes on and has less to tell.
    Helps,
    /// It cannot succeed.
    Must,
}

impl Right {
    /// As a review asks about it.
    pub fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            namespace: self.namespace.clone(),
            group: Some(self.group.clone()),
            resource: Some(self.resource.clone()),
            subresource: self.subresource.clone(),
            verb: Some(self.verb.as_str().to_owned()),
            name: self.name.clone(),
            ..ResourceAttributes::default()
        }
    }
}

/// `create deployments.apps in namespace blue`, `list nodes`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), words::what(self))
    }
}

/// Everything a scenario needs on a site that brings its agent through `pods/exec`, ordered, each right once.
///
/// Kinds that the API does not serve and the scenario does not define are left out: they fail by themselves, with
/// other words. So is what a capture decides while the scenario runs.
pub async fn needed(
    scenario: &Scenario,
    client: &Client,
    exec: &[Verb],
) -> Result<Vec<(Right, Need)>, SiteError> {
    let kinds = catalogue::discover(client).await.map_err(|error| {
        SiteError::new(format!(
            "the API does not say what kinds it serves: {}",
            api_message(&error)
        ))
    })?;
    Ok(needed::of(&Plan::new(scenario), &kinds, exec))
}
