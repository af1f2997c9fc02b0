//! From the bytes of a request's body to an object of the expected kind.

use serde_json::Value;

use crate::object;
use crate::protobuf;
use crate::registry::Served;
use crate::request::Validation;
use crate::schema::{self, Gvk, Schema};
use crate::status::Status;

/// Media types of bodies that are objects.
pub const OBJECTS: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The media type of a Content-Type header; JSON where there is none.
pub fn media_type(header: Option<&str>) -> &str {
    let media = header
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if media.is_empty() {
        "application/json"
    } else {
        media
    }
}

/// Parses a body of this media type.
pub fn parse(body: &[u8], media: &str) -> Result<Value, Status> {
    match media {
        "application/json" => serde_json::from_slice(body).map_err(|e| {
            Status::bad_request(format!("couldn't get version/kind; json parse error: {e}"))
        }),
        "application/yaml" => yaml(body),
        protobuf::MEDIA_TYPE => protobuf::parse(body),
        _ => Err(Status::unsupported_media_type(OBJECTS)),
    }
}

fn yaml(body: &[u8]) -> Result<Value, Status> {
    let text = std::str::from_utf8(body)
        .map_err(|e| Status::bad_request(format!("error converting YAML to JSON: {e}")))?;
    let options = serde_yaml::options! { legacy_octal_numbers: true };
    serde_yaml::from_str_with_options(text, options)
        .map_err(|e| Status::bad_request(format!("error converting YAML to JSON: {e}")))
}

/// Checks that a body is an object of this kind; a missing apiVersion or kind is filled in.
pub fn expect_kind(object: &mut Value, expected: &Gvk) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: \
             json: cannot unmarshal into Go value of type struct",
            expected.kind
        )));
    }
    let kind = object::text(object, &["kind"]).to_owned();
    let api_version = object::text(object, &["apiVersion"]).to_owned();
    if kind.is_empty() || api_version.is_empty() {
        object["apiVersion"] = expected.api_version().into();
        object["kind"] = expected.kind.as_str().into();
        return Ok(());
    }
    let got = Gvk::from_api_version(&api_version, &kind);
    if got.kind != expected.kind {
        let why = if schema::builtin(&got).is_some() {
            format!(
                "converting ({}) to ({}): unknown conversion",
                go_type(&got, &got.version),
                go_type(expected, "")
            )
        } else {
            format!(
                "no kind {:?} is registered for version {api_version:?}",
                got.kind
            )
        };
        return Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {why}",
            got.kind, got.version, expected.kind
        )));
    }
    if api_version != expected.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            expected.api_version()
        )));
    }
    Ok(())
}

/// A type as Go names it: `v1.Service`, or `core.Pod` within the server.
fn go_type(gvk: &Gvk, version: &str) -> String {
    let package = match gvk.group.split('.').next().unwrap_or_default() {
        _ if !version.is_empty() => version,
        "" => "core",
        first => first,
    };
    format!("{package}.{}", gvk.kind)
}

/// Checks types, drops unknown fields as asked, and says which there were as warnings.
pub fn against_schema(
    object: &mut Value,
    schema: Option<&Schema>,
    validation: Validation,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let Some(schema) = schema else {
        return Ok(());
    };
    fit(object, schema, validation, warnings).map_err(|why| {
        let kind = object::text(object, &["kind"]);
        let (_, version) = crate::gvk::split_api_version(object::text(object, &["apiVersion"]));
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        ))
    })
}

/// What [`against_schema`] does; the error is only what is wrong.
pub fn fit(
    object: &mut Value,
    schema: &Schema,
    validation: Validation,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    schema.decode(object).map_err(|e| e.to_string())?;
    let unknown: Vec<String> = schema
        .prune(object)
        .into_iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    match validation {
        Validation::Strict if !unknown.is_empty() => {
            Err(format!("strict decoding error: {}", unknown.join(", ")))
        }
        Validation::Warn => {
            warnings.extend(unknown);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// An object in the body of a create or update request.
pub fn body(
    bytes: &[u8],
    media: &str,
    served: &Served,
    validation: Validation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let mut object = parse(bytes, media).map_err(|mut status| {
        if status.code == 400 {
            status.message = format!(
                "the object provided is unrecognized (must be of type {}): {} ({})",
                served.resource.kind,
                status.message,
                summary(bytes)
            );
        }
        status
    })?;
    expect_kind(&mut object, &served.gvk())?;
    against_schema(
        &mut object,
        served.version().schema.as_deref(),
        validation,
        warnings,
    )?;
    Ok(object)
}

/// The beginning of a body, for an error.
fn summary(body: &[u8]) -> String {
    const LENGTH: usize = 30;
    let text = String::from_utf8_lossy(body);
    let mut short: String = text.chars().take(LENGTH).collect();
    if text.chars().count() > LENGTH {
        short.push_str(" ...");
    }
    short
}
