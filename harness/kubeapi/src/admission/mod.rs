//! What happens around writes: refusals that need other objects, fields the server fills in, and consequences.

pub mod crd;
pub mod hook;
pub mod namespace;
pub mod pod;
pub mod priority;
pub mod service;
pub mod tokens;

use serde_json::Value;

use crate::registry::Served;
use crate::registry::builtin::{CRDS, NAMESPACES};
use crate::server::core::Core;
use crate::status::Status;

/// Consequences of a creation that clients may rely on at once.
pub fn after_create(core: &Core, served: &Served, object: &Value) {
    match &*served.resource.storage {
        NAMESPACES if core.settings.controllers => namespace::furnish(core, object),
        CRDS => {
            // The definition was validated before it was stored, so it describes a resource.
            if let Err(status) = crd::serve(core, object) {
                tracing::error!(%status, "stored definition cannot be served");
            }
        }
        _ => {}
    }
}

/// Consequences of an update.
pub fn after_update(core: &Core, served: &Served, object: &Value) -> Result<(), Status> {
    if &*served.resource.storage == CRDS {
        crd::serve(core, object)?;
    }
    Ok(())
}
