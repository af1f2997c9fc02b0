//! Answers in the form in which virt-api's web framework writes them.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use kubeapi::{Body, Reason, Status};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const SOCKET_VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");

fn answer(code: u16, media: HeaderValue, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// JSON as Go indents and escapes it.
fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" "));
    if value.serialize(&mut writer).is_err() {
        return value.to_string();
    }
    // These stand in texts only, never between them.
    String::from_utf8_lossy(&text)
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// Nothing but a code.
pub fn empty(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

pub fn json(code: u16, value: &Value) -> Response<Body> {
    answer(code, JSON, pretty(value))
}

/// A refusal with a Status as its body.
pub fn refusal(status: &Status) -> Response<Body> {
    json(status.code, &status.to_value())
}

/// A refusal as bare text, as the reading subresources give it, whatever went wrong.
pub fn failure(status: &Status) -> Response<Body> {
    text(500, &status.message)
}

pub fn text(code: u16, text: &str) -> Response<Body> {
    answer(code, TEXT, text.to_owned())
}

/// The refusal of something that does not speak WebSocket: first in the words of HTTP, then as a Status.
pub fn no_websocket(code: u16, why: &str) -> Response<Body> {
    let reason = StatusCode::from_u16(code)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or_default();
    let status = pretty(&Status::bad_request(why).to_value());
    let mut response = answer(code, TEXT, format!("{reason}\n{status}"));
    let headers = response.headers_mut();
    headers.insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    headers.insert(SOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// Nobody is behind the API yet; in the words of the aggregator.
pub fn unavailable() -> Response<Body> {
    refusal(&Status::new(
        503,
        Reason::ServiceUnavailable,
        "service unavailable",
    ))
}
