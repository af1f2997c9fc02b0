//! Answers: objects, lists, streams, and refusals.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use crate::status::Status;

const WARNING: HeaderName = HeaderName::from_static("warning");

fn start(code: u16, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// JSON that is already serialised.
pub fn json(code: u16, body: impl Into<Bytes>) -> Response<Body> {
    start(code, "application/json", Body::from(body.into()))
}

/// An object, as JSON or YAML.
pub fn value(code: u16, value: &Value, yaml: bool) -> Response<Body> {
    if yaml && let Ok(text) = serde_yaml::to_string(value) {
        return start(code, "application/yaml", Body::from(text));
    }
    json(code, value.to_string())
}

/// Nothing but a code.
pub fn empty(code: u16) -> Response<Body> {
    let mut response = json(code, Bytes::new());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

pub fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    start(code, "text/plain; charset=utf-8", Body::from(text.into()))
}

/// A version 2 document as Go clients read it.
pub fn openapi_v2(body: Vec<u8>) -> Response<Body> {
    start(
        200,
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        Body::from(body),
    )
}

/// Chunks as they come.
pub fn stream(media: &'static str, body: Body) -> Response<Body> {
    start(200, media, body)
}

pub fn refusal(status: &Status) -> Response<Body> {
    let mut response = json(status.code, status.to_value().to_string());
    let retry = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if retry > 0 {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, retry.into());
    }
    response
}

/// Adds `Warning: 299 - "…"` headers.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let text: String = warning
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}
