//! Resources that are answered by code instead of being stored, like `SubjectAccessReview`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::status::Status;
use crate::user::User;

/// A resource whose only verb is `create`; what is created is handed to the handler and the answer is its result.
#[derive(Clone)]
pub struct VirtualResource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub handler: Arc<dyn VirtualHandler>,
}

impl fmt::Debug for VirtualResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualResource({}.{})", self.plural, self.group)
    }
}

/// Answers the creation of a virtual resource.
#[async_trait]
pub trait VirtualHandler: Send + Sync {
    /// `object` is what the client sent, `apiVersion` and `kind` set; the result is returned with 201 Created.
    async fn create(
        &self,
        namespace: Option<&str>,
        object: Value,
        user: &User,
    ) -> Result<Value, Status>;
}
