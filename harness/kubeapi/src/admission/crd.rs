//! CustomResourceDefinitions take effect: their resources are served.

use serde_json::Value;

use crate::object;
use crate::registry::builtin::CRDS;
use crate::registry::{Served, custom};
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::Key;

/// Refuses a definition whose resource is built in.
pub fn check_names(core: &Core, served: &Served, crd: &Value) -> Result<(), Status> {
    if &*served.resource.storage != CRDS {
        return Ok(());
    }
    let group = object::text(crd, &["spec", "group"]);
    let plural = object::text(crd, &["spec", "names", "plural"]);
    let taken = core
        .registry()
        .resources()
        .iter()
        .any(|r| r.group == group && r.plural == plural && !r.is_custom());
    if taken {
        return Err(Status::forbidden(
            &served.resource.group,
            &served.resource.plural,
            object::name(crd),
            "the resource is already served by this server",
        ));
    }
    Ok(())
}

/// Refuses instances of a definition that is on its way out.
pub fn check_instance(core: &Core, served: &Served, name: &str) -> Result<(), Status> {
    let resource = &served.resource;
    if !resource.is_custom() {
        return Ok(());
    }
    let definition = core.store.get(CRDS, &Key::new("", &resource.storage));
    if definition.is_some_and(|definition| object::is_deleting(&definition.object)) {
        return Err(Status::forbidden(
            &resource.group,
            &resource.plural,
            name,
            "create not allowed while custom resource definition is terminating",
        ));
    }
    Ok(())
}

/// Serves the resource a definition describes, as it now describes it.
pub fn serve(core: &Core, crd: &Value) -> Result<(), Status> {
    let resource = custom::resource(crd).map_err(|errors| {
        Status::invalid(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            object::name(crd),
            &errors,
        )
    })?;
    core.change_registry(|registry| registry.with(resource));
    Ok(())
}

/// Stops serving the resource of a definition that is gone, and forgets its objects.
pub fn withdraw(core: &Core, crd: &Value) {
    let group = object::text(crd, &["spec", "group"]);
    let plural = object::text(crd, &["spec", "names", "plural"]);
    core.change_registry(|registry| registry.without(group, plural));
    core.store.forget(&format!("{plural}.{group}"));
}
