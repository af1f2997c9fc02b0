//! Admission from outside: what webhooks are to a kube-apiserver, as code in the same process.

use async_trait::async_trait;
use serde_json::Value;

use crate::status::Status;
use crate::user::User;

/// What a write does to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// Which writes there are, to say which of them one wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionTarget<'a> {
    pub group: &'a str,
    pub version: &'a str,
    /// The plural.
    pub resource: &'a str,
    pub subresource: Option<&'a str>,
    pub operation: Operation,
}

/// A write that is about to happen. Patches of every kind are updates, or creations when an apply finds nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct AdmissionRequest {
    pub operation: Operation,
    pub group: String,
    pub version: String,
    /// The plural.
    pub resource: String,
    /// Of the objects of this resource.
    pub kind: String,
    pub subresource: Option<String>,
    pub namespace: Option<String>,
    pub name: String,
    /// In the version of the request, its defaults filled in. Null for deletions.
    pub object: Value,
    /// What is stored now, in the version of the request. Null for creations.
    pub old_object: Value,
    pub user: User,
    pub dry_run: bool,
}

/// Changes and refuses what clients write, like a mutating and a validating webhook. Every write of a client goes through
/// it (creations, updates, patches, applies, deletions, those of subresources, and dry runs of all these); what the
/// server's own controllers do does not.
///
/// A write that loses against another one is made again, so one request may be seen more than once.
#[async_trait]
pub trait Admission: Send + Sync {
    /// Whether these writes are to be seen. Others cost nothing.
    fn matches(&self, target: &AdmissionTarget<'_>) -> bool;

    /// The object as it shall be written. Its defaults are filled in again, and it must fit its schema. What is added on
    /// creation belongs to no field manager. Not asked for deletions.
    async fn mutate(&self, request: &AdmissionRequest) -> Result<Value, Status> {
        Ok(request.object.clone())
    }

    /// Asked after every mutation and after the schema; returns warnings for the client.
    async fn validate(&self, request: &AdmissionRequest) -> Result<Vec<String>, Status> {
        let _ = request;
        Ok(Vec::new())
    }
}
