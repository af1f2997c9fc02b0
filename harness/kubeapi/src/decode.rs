//! From the bytes of a request's body to an object of the expected kind.

use serde_json::Value;

use crate::go_json;
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
        "application/json" => go_json::parse(body).map_err(|why| unreadable(&why)),
        "application/yaml" => Ok(yaml(body)?.0),
        protobuf::MEDIA_TYPE => protobuf::parse(body),
        _ => Err(Status::unsupported_media_type(OBJECTS)),
    }
}

fn unreadable(why: &str) -> Status {
    Status::bad_request(format!(
        "couldn't get version/kind; json parse error: {why}"
    ))
}

/// Parses a body, and says which of its fields occur more than once.
fn parse_noting(body: &[u8], media: &str) -> Result<(Value, Vec<String>), Status> {
    match media {
        "application/json" => go_json::parse_noting(body).map_err(|why| unreadable(&why)),
        "application/yaml" => yaml(body),
        _ => Ok((parse(body, media)?, Vec::new())),
    }
}

fn yaml(body: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let text = std::str::from_utf8(body)
        .map_err(|e| Status::bad_request(format!("error converting YAML to JSON: {e}")))?;
    // The last of several equal keys counts, as with upstream's parser.
    let options = serde_yaml::options! {
        legacy_octal_numbers: true,
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
    };
    serde_yaml::from_str_with_options(text, options)
        .map(|go_json::Noted(value, twice)| (value, twice))
        .map_err(|e| Status::bad_request(format!("error converting YAML to JSON: yaml: {e}")))
}

/// Where Go looks for the kind of an object.
const KIND_TYPE: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                         Kind string \"json:\\\"kind,omitempty\\\"\" }";

/// Checks that a body is an object of this kind; a missing apiVersion or kind is filled in.
pub fn expect_kind(object: &mut Value, expected: &Gvk) -> Result<(), Status> {
    if !object.is_object() {
        return Err(unreadable(&go_json::wrong_type(object, KIND_TYPE)));
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
pub fn go_type(gvk: &Gvk, version: &str) -> String {
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
    noticed: Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let Some(schema) = schema else {
        return Ok(());
    };
    fit(object, schema, validation, noticed, warnings).map_err(|why| {
        let kind = object::text(object, &["kind"]);
        let (_, version) = crate::gvk::split_api_version(object::text(object, &["apiVersion"]));
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        ))
    })
}

/// What [`against_schema`] does; the error is only what is wrong. What was noticed before counts like unknown fields.
pub fn fit(
    object: &mut Value,
    schema: &Schema,
    validation: Validation,
    noticed: Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    schema.decode(object).map_err(|e| e.to_string())?;
    let pruned = schema.prune(object).into_iter();
    let pruned = pruned.map(|path| format!("unknown field {path:?}"));
    let unknown: Vec<String> = noticed.into_iter().chain(pruned).collect();
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
    let unrecognised = |mut status: Status| {
        if status.code == 400 {
            status.message = format!(
                "the object provided is unrecognized (must be of type {}): {} ({})",
                served.resource.kind,
                status.message,
                summary(bytes)
            );
        }
        status
    };
    let (mut object, twice) = parse_noting(bytes, media).map_err(unrecognised)?;
    if object.is_null() {
        object = Value::Object(serde_json::Map::new());
    }
    if !object.is_object() {
        expect_kind(&mut object, &served.gvk()).map_err(unrecognised)?;
    }
    if served.resource.is_custom() {
        if object::text(&object, &["kind"]).is_empty() {
            let why = format!("Object 'Kind' is missing in '{object}'");
            return Err(unrecognised(Status::bad_request(why)));
        }
        custom_kind(&object, served)?;
    }
    expect_kind(&mut object, &served.gvk())?;
    let twice = twice.into_iter();
    let twice = twice.map(|path| format!("duplicate field {path:?}"));
    against_schema(
        &mut object,
        served.version().schema.as_deref(),
        validation,
        twice.collect(),
        warnings,
    )?;
    Ok(object)
}

/// Custom resources must say what they are.
fn custom_kind(object: &Value, served: &Served) -> Result<(), Status> {
    let (kind, version) = (
        object::text(object, &["kind"]),
        object::text(object, &["apiVersion"]),
    );
    let wanted = served.gvk();
    if version != wanted.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            wanted.api_version()
        )));
    }
    if kind != wanted.kind {
        let why = format!("must be {}", wanted.kind);
        let error = schema::FieldError::invalid("kind", &kind.into(), &why);
        return Err(Status::invalid(
            &wanted.group,
            kind,
            object::name(object),
            &[error],
        ));
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// The beginning of a body, for an error; in hexadecimal when it is no JSON object.
fn summary(body: &[u8]) -> String {
    const LENGTH: usize = 30;
    let start = &body[..body.len().min(LENGTH)];
    let mut short = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => hexadecimal(start),
    };
    if body.len() > LENGTH {
        short.push_str(" ...");
    }
    short
}
