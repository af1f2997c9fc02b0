//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};

use super::core::Core;
use super::open_api::Documents;
use super::{resource, respond};
use crate::auth::{impersonate, rbac};
use crate::body::Body;
use crate::discovery;
use crate::openapi;
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
    // The one path with a form of its own.
    let other = parts.uri.path() == "/openapi/v2";
    let Some(accept) = Accept::parse(accept).or_else(|| other.then(Accept::default)) else {
        return respond::refusal(&Status::not_acceptable(crate::request::accept::SUPPORTED));
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
    let target = Target::parse(call.parts.uri.path());
    if let Target::Resource(path) = target {
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
    if !matches!(call.parts.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    Ok(match target {
        Target::Health => health(&call),
        Target::Version => respond::value(200, &version(&core.version), false),
        Target::Root => respond::value(200, &paths(core), false),
        Target::Discovery(path) => {
            let (value, media) = discovery::answer(&core.registry(), &path, call.accept)?;
            let mut response = respond::value(200, &value, call.accept.yaml);
            if !call.accept.yaml {
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(media));
            }
            response
        }
        Target::OpenApiIndex => respond::value(200, &documents.index(&core.registry()), false),
        Target::OpenApiV2
            if call
                .header(ACCEPT)
                .is_some_and(|accept| accept.contains("proto-openapi")) =>
        {
            respond::openapi_v2(openapi::v2_protobuf())
        }
        Target::OpenApiV2 => respond::value(200, &openapi::v2(), call.accept.yaml),
        Target::OpenApi { group, version } => {
            let document = documents
                .get(&core.registry(), &group, &version)
                .ok_or_else(Status::no_such_path)?;
            let tag = format!("{:?}", document.hash);
            let mut response = respond::json(200, document.json);
            if call.header(IF_NONE_MATCH) == Some(tag.as_str()) {
                response = respond::json(304, Bytes::new());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
            }
            if let Ok(tag) = HeaderValue::from_str(&tag) {
                response.headers_mut().insert(ETAG, tag);
            }
            response
        }
        Target::Nothing | Target::Resource(_) => respond::text(404, "404 page not found\n"),
    })
}

fn health(call: &Call) -> Response<Body> {
    if !call.query.flag("verbose") {
        return respond::text(200, "ok");
    }
    let name = call.parts.uri.path().trim_matches('/').to_owned();
    respond::text(200, format!("[+]ping ok\n{name} check passed\n"))
}

fn version(git_version: &str) -> Value {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    json!({
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor, "gitVersion": git_version,
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
    for path in ["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] {
        paths.push(path.to_owned());
    }
    json!({"paths": paths})
}
