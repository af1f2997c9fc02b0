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
            Method::GET if path.watch => Self::Watch,
            // One object cannot be watched this way; the parameter is ignored.
            Method::GET if one => Self::Get,
            Method::GET if query.flag("watch") => Self::Watch,
            Method::GET => Self::List,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE if one => Self::Delete,
            Method::DELETE => Self::DeleteCollection,
            _ => return None,
        })
    }
}
