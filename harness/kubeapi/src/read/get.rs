//! One object, in the form the client wants.

use http::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::list::too_large;
use super::metadata;
use crate::body::Body;
use crate::convert;
use crate::registry::Served;
use crate::request::{Accept, Form, Include};
use crate::server::core::Core;
use crate::server::respond;
use crate::status::Status;
use crate::storage::Entry;
use crate::table;

/// `GET` of one object, not older than a version.
pub fn get(
    core: &Core,
    served: &Served,
    namespace: Option<&str>,
    name: &str,
    version: Option<u64>,
    accept: Accept,
    include: Include,
) -> Result<Response<Body>, Status> {
    metadata::check(accept, served, false)?;
    if let Some(asked) = version {
        let now = core.store.revision();
        if asked > now {
            return Err(too_large(asked, now));
        }
    }
    let entry = core.entry(served, namespace, name)?;
    Ok(entry_answer(served, 200, &entry, accept, include))
}

/// A stored object; its serialisation is reused where the form allows it.
pub fn entry_answer(
    served: &Served,
    code: u16,
    entry: &Entry,
    accept: Accept,
    include: Include,
) -> Response<Body> {
    if accept == Accept::default() && served.is_storage_version() {
        return respond::json(code, entry.json().clone());
    }
    let shown = convert::from_stored(served, &entry.object);
    answer(served, code, &shown, accept, include)
}

/// An object in the version of the request.
pub fn answer(
    served: &Served,
    code: u16,
    object: &Value,
    accept: Accept,
    include: Include,
) -> Response<Body> {
    let value = match accept.form {
        Form::Whole | Form::Discovery => return respond::value(code, object, accept.yaml),
        Form::Metadata(partial) => metadata::in_version(object, partial.version),
        Form::Table(version) => {
            table::of_object(served, object, version, include, Timestamp::now())
        }
    };
    respond::value(code, &value, accept.yaml)
}
