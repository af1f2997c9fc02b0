//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, USER_AGENT, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};

use super::core::Core;
use super::open_api::Documents;
use super::{aggregated, resource, respond};
use crate::auth::{impersonate, rbac, tokens};
use crate::body::Body;
use crate::discovery::{self, Style};
use crate::openapi;
use crate::request::path::is_broken;
use crate::request::{Accept, Query, Target};
use crate::status::Status;
use crate::user::User;

/// A request with its body read.
#[derive(Debug)]
pub struct Call {
    pub parts: Parts,
    pub body: Bytes,
    pub user: User,
    pub upgrade: Option<OnUpgrade>,
    pub query: Query,
    pub accept: Accept,
}

impl Call {
    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE)
    }

    pub fn user_agent(&self) -> &str {
        self.header(USER_AGENT).unwrap_or_default()
    }
}

/// Answers a request; refusals are answers too.
pub async fn answer(
    core: &Arc<Core>,
    documents: &Documents,
    parts: Parts,
    body: Bytes,
    user: User,
    upgrade: Option<OnUpgrade>,
) -> Response<Body> {
    let accept = parts.headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    let path = parts.uri.path();
    // One path has a form of its own, and some are for others to answer.
    let other = || path == "/openapi/v2" || aggregated::answers(core, path);
    let parsed = Accept::parse(accept);
    let Some(accept) = parsed.or_else(|| other().then(Accept::default)) else {
        return respond::refusal(&crate::request::accept::refusal(accept, path));
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let call = Call {
        parts,
        body,
        user,
        upgrade,
        query,
        accept,
    };
    match try_answer(core, documents, call).await {
        Ok(response) => response,
        Err(status) => respond::refusal(&status),
    }
}

async fn try_answer(
    core: &Arc<Core>,
    documents: &Documents,
    mut call: Call,
) -> Result<Response<Body>, Status> {
    call.user = impersonate::effective(core, call.user, &call.parts.headers)?;
    if is_broken(call.parts.uri.path()) {
        return Err(Status::no_such_path());
    }
    let target = Target::parse(call.parts.uri.path());
    if let Target::Resource(path) = target {
        if let Some(api) = aggregated::find(core, &path.group, &path.version) {
            return aggregated::answer(core, &api, call, path).await;
        }
        return resource::answer(core, call, path).await;
    }
    let path = call.parts.uri.path();
    rbac::authorize(
        core,
        &call.user,
        &rbac::Action {
            verb: match call.parts.method {
                Method::GET | Method::HEAD => "get",
                Method::POST => "post",
                Method::PUT => "put",
                Method::DELETE => "delete",
                _ => "patch",
            },
            path: Some(path),
            ..rbac::Action::default()
        },
    )?;
    // Upstream's OpenAPI does not look at the method.
    let any = matches!(target, Target::OpenApiIndex | Target::OpenApi { .. });
    let asks_health = target == Target::Health && call.parts.method == Method::HEAD;
    if call.parts.method != Method::GET && !any && !asks_health {
        return Err(Status::method_not_allowed());
    }
    Ok(match target {
        Target::Health => health(&call),
        Target::Version => respond::value(200, &version(&core.settings.version), false),
        Target::Issuer => respond::value(200, &tokens::discovery(), false),
        Target::IssuerKeys => respond::value(200, &core.signer.key_set(), false),
        Target::Root => respond::value(200, &paths(core), false),
        Target::Discovery(path) => discover(core, &call, &path),
        // Upstream leaves the type to be guessed, and so it is this one.
        Target::OpenApiIndex => respond::text(200, documents.index(&core.registry()).to_string()),
        Target::OpenApiV2
            if call
                .header(ACCEPT)
                .is_some_and(|accept| accept.contains("proto-openapi")) =>
        {
            respond::openapi_v2(openapi::v2_protobuf())
        }
        Target::OpenApiV2 => respond::value(200, &openapi::v2(), call.accept.yaml),
        Target::OpenApi { group, version } => {
            let Some(document) = documents.get(&core.registry(), &group, &version) else {
                return Ok(respond::empty(404));
            };
            let mut response = respond::json(200, document.json);
            tag(&call, &mut response, &document.hash);
            response
                .headers_mut()
                .insert(VARY, HeaderValue::from_static("Accept"));
            response
        }
        Target::Nothing | Target::Resource(_) => respond::text(404, "404 page not found\n"),
    })
}

fn discover(core: &Core, call: &Call, path: &crate::request::Discovery) -> Response<Body> {
    let server = match core.settings.advertised {
        Some(address) => address.to_string(),
        None => call.header(HOST).unwrap_or_default().to_owned(),
    };
    let answer = discovery::answer(core, path, call.accept, &server);
    let Some((value, style)) = answer else {
        // Of a group that is built in, upstream knows that it has no such version.
        let built_in = |group: &str| {
            let registry = core.registry();
            let mut resources = registry.resources().iter();
            resources.any(|resource| resource.group == group && !resource.is_custom())
        };
        return match path {
            crate::request::Discovery::GroupVersion { group, .. } if built_in(group) => {
                respond::refusal(&Status::no_such_path())
            }
            _ => respond::text(404, "404 page not found\n"),
        };
    };
    let mut response = respond::value(200, &value, call.accept.yaml);
    if style == Style::Aggregated {
        let media = if call.accept.yaml {
            "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        } else {
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        };
        tag(call, &mut response, &openapi::hash(&value));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        headers.insert(VARY, HeaderValue::from_static("Accept"));
    }
    response
}

/// Names an answer by its hash; a client that has it already gets no body.
fn tag(call: &Call, response: &mut Response<Body>, hash: &str) {
    let tag = format!("{hash:?}");
    if call.header(IF_NONE_MATCH) == Some(tag.as_str()) {
        *response = respond::json(304, Bytes::new());
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
}

fn health(call: &Call) -> Response<Body> {
    // The only check there is.
    let mut parts = call
        .parts
        .uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty());
    if parts.nth(1).is_some_and(|check| check != "ping") {
        return respond::text(404, "404 page not found\n");
    }
    if !call.query.flag("verbose") {
        return respond::text(200, "ok");
    }
    let name = call.parts.uri.path().trim_matches('/').to_owned();
    respond::text(200, format!("[+]ping ok\n{name} check passed\n"))
}

/// The minor version before.
fn before(minor: &str) -> String {
    let minor: u32 = minor.parse().unwrap_or_default();
    minor.saturating_sub(1).to_string()
}

fn version(git_version: &str) -> Value {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    json!({
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": before(minor), "gitVersion": git_version,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "",
        "platform": "linux/amd64",
    })
}

fn paths(core: &Core) -> Value {
    let registry = core.registry();
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in registry.groups() {
        if group.is_empty() {
            continue;
        }
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    for api in &core.aggregated {
        paths.push(format!("/apis/{}", api.group));
        let versions = api.versions.iter();
        paths.extend(versions.map(|v| format!("/apis/{}/{}", api.group, v.name)));
    }
    for path in ["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] {
        paths.push(path.to_owned());
    }
    json!({"paths": paths})
}
