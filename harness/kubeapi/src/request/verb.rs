//! What is done to a resource.

use http::Method;

use super::path::ResourcePath;
use super::query::Query;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// As RBAC rules and discovery name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// None for methods the API does not know.
    pub fn of(method: &Method, path: &ResourcePath, query: &Query) -> Option<Self> {
        let one = path.name.is_some();
        Some(match *method {
            Method::GET | Method::HEAD if query.flag("watch") && path.subresource.is_none() => {
                Self::Watch
            }
            Method::GET | Method::HEAD if one => Self::Get,
            Method::GET | Method::HEAD => Self::List,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE if one => Self::Delete,
            Method::DELETE => Self::DeleteCollection,
            _ => return None,
        })
    }
}
