//! Everything that reads objects.

pub mod get;
pub mod list;
pub mod metadata;
pub mod token;
pub mod watch;

use crate::registry::Served;
use crate::request::ListOptions;
use crate::status::Status;

/// Refuses selectors on fields the resource cannot select by.
pub fn check_fields(served: &Served, options: &ListOptions) -> Result<(), Status> {
    for field in options.fields.fields() {
        let known = matches!(field, "metadata.name" | "metadata.namespace")
            || served.version().selectable.iter().any(|s| s == field);
        if !known {
            // Kinds without fields of their own are answered by what is common to all.
            let own = served.resource.is_custom() || !served.version().selectable.is_empty();
            return Err(Status::bad_request(if own {
                format!("field label not supported: {field}")
            } else {
                format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            }));
        }
    }
    Ok(())
}

/// Whether objects are listed in one namespace.
pub fn scope<'a>(served: &Served, namespace: Option<&'a str>) -> Option<&'a str> {
    namespace.filter(|_| served.resource.namespaced)
}
