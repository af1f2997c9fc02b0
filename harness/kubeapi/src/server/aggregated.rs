//! Requests for aggregated groups.

use std::sync::Arc;

use http::Response;

use super::core::Core;
use super::resource;
use super::route::Call;
use crate::aggregated::{AggregatedApi, AggregatedRequest};
use crate::body::Body;
use crate::request::{ResourcePath, Target, Verb};
use crate::status::Status;

/// Who answers for a group version, if that is not the server itself.
pub fn find(core: &Core, group: &str, version: &str) -> Option<Arc<AggregatedApi>> {
    let api = core.aggregated.iter().find(|api| api.group == group)?;
    let served = api.versions.iter().any(|served| served.name == version);
    served.then(|| api.clone())
}

/// Whether a path is one that somebody else answers.
pub fn answers(core: &Core, path: &str) -> bool {
    if core.aggregated.is_empty() {
        return false;
    }
    match Target::parse(path) {
        Target::Resource(path) => find(core, &path.group, &path.version).is_some(),
        _ => false,
    }
}

/// Lets the handler answer what the user may ask.
pub async fn answer(
    core: &Core,
    api: &AggregatedApi,
    call: Call,
    path: ResourcePath,
) -> Result<Response<Body>, Status> {
    let verb =
        Verb::of(&call.parts.method, &path, &call.query).ok_or_else(Status::method_not_allowed)?;
    resource::authorize(core, &call, &path, verb)?;
    let request = AggregatedRequest {
        verb: verb.as_str(),
        version: path.version,
        namespace: path.namespace,
        resource: path.plural,
        name: path.name,
        subresource: path.subresource,
        rest: path.rest,
        method: call.parts.method,
        uri: call.parts.uri,
        headers: call.parts.headers,
        body: call.body,
        user: call.user,
        query: call.query,
        upgrade: call.upgrade,
    };
    Ok(api.handler.handle(request).await)
}
