//! Lists: filtered, paged, at a revision.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::token::Token;
use super::{check_fields, metadata, scope};
use crate::body::Body;
use crate::convert;
use crate::object;
use crate::registry::Served;
use crate::request::options::VersionMatch;
use crate::request::{Accept, Form, Include, ListOptions};
use crate::server::core::Core;
use crate::server::respond;
use crate::status::{Reason, Status};
use crate::storage::{Entry, Key, Snapshot};
use crate::table;

/// A page of entries.
#[derive(Debug)]
pub struct Page {
    pub revision: u64,
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page starts, and how many entries it and the following ones have (unknown with selectors).
    pub next: Option<(Token, Option<usize>)>,
}

impl Page {
    fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if let Some((token, remaining)) = &self.next {
            metadata["continue"] = token.encode().into();
            if let Some(remaining) = remaining {
                metadata["remainingItemCount"] = (*remaining).into();
            }
        }
        metadata
    }
}

/// The entries a list request selects.
pub fn page(
    core: &Core,
    served: &Served,
    namespace: Option<&str>,
    options: &ListOptions,
) -> Result<Page, Status> {
    check_fields(served, options)?;
    let (snapshot, after) = snapshot(core, served, scope(served, namespace), options)?;
    let selects_all = options.selects_all();
    let mut entries = Vec::new();
    let mut next = None;
    let mut candidates = snapshot
        .entries
        .into_iter()
        .filter(|entry| {
            after
                .as_ref()
                .is_none_or(|after| &Key::of(&entry.object) > after)
        })
        .filter(|entry| {
            selects_all || options.matches(&convert::from_stored(served, &entry.object))
        });
    // What may be of any age comes whole.
    let limited = options.resource_version != Some(0) || options.version_match.is_some();
    let limit = options.limit.filter(|_| limited).unwrap_or(usize::MAX);
    for entry in candidates.by_ref() {
        entries.push(entry);
        if entries.len() == limit {
            break;
        }
    }
    let remaining = candidates.count();
    if remaining > 0
        && let Some(last) = entries.last()
    {
        let token = Token {
            revision: snapshot.revision,
            after: Key::of(&last.object),
        };
        next = Some((token, selects_all.then_some(remaining)));
    }
    Ok(Page {
        revision: snapshot.revision,
        entries,
        next,
    })
}

fn snapshot(
    core: &Core,
    served: &Served,
    namespace: Option<&str>,
    options: &ListOptions,
) -> Result<(Snapshot, Option<Key>), Status> {
    let storage = &served.resource.storage;
    if let Some(text) = &options.continue_token {
        if options.resource_version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::decode(text)?;
        let snapshot = core
            .store
            .list_at(storage, namespace, token.revision)
            .map_err(|_| {
                Status::expired(
                    "The provided continue parameter is too old to display a consistent list result. You must start a new \
                     list without the continue parameter.",
                )
            })?;
        return Ok((snapshot, Some(token.after)));
    }
    let now = core.store.revision();
    // The oldest meaning of a version: with a limit it is exactly that one.
    let exactly = options.version_match.or_else(|| {
        let version = options.resource_version.is_some_and(|version| version != 0);
        (version && options.limit.is_some()).then_some(VersionMatch::Exact)
    });
    match (options.resource_version, exactly) {
        (Some(asked), _) if asked > now => Err(too_large(asked, now)),
        (Some(asked), Some(VersionMatch::Exact)) => core
            .store
            .list_at(storage, namespace, asked)
            .map(|snapshot| (snapshot, None))
            .map_err(|_| Status::expired("The resourceVersion for the provided list is too old.")),
        _ => Ok((core.store.list(storage, namespace), None)),
    }
}

/// The client asks for a state that does not exist yet.
pub fn too_large(asked: u64, now: u64) -> Status {
    Status::new(
        504,
        Reason::Timeout,
        format!("Timeout: Too large resource version: {asked}, current: {now}"),
    )
    .with_causes(vec![crate::status::Cause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    }])
    .retry_after(1)
}

/// `GET` of a collection.
pub fn list(
    core: &Core,
    served: &Served,
    namespace: Option<&str>,
    options: &ListOptions,
    accept: Accept,
    include: Include,
) -> Result<Response<Body>, Status> {
    metadata::check(accept, served, true)?;
    let page = page(core, served, namespace, options)?;
    Ok(answer(served, &page, accept, include))
}

/// A page in the form the client wants.
pub fn answer(served: &Served, page: &Page, accept: Accept, include: Include) -> Response<Body> {
    let shown = || {
        page.entries
            .iter()
            .map(|entry| convert::from_stored(served, &entry.object))
    };
    let value = match accept.form {
        Form::Whole | Form::Discovery if !accept.yaml => return whole(served, page),
        Form::Whole | Form::Discovery => json!({
            "kind": served.resource.list_kind, "apiVersion": served.api_version(), "metadata": page.metadata(),
            "items": shown().map(|object| item(served, object.into_owned())).collect::<Vec<_>>(),
        }),
        Form::Metadata(partial) => {
            let one = |object: &Value| metadata::in_version(object, partial.version);
            let items: Vec<Value> = shown().map(|object| one(&object)).collect();
            metadata::list(&page.metadata(), &items, partial.version)
        }
        Form::Table(version) => {
            let objects: Vec<_> = shown().collect();
            let objects = objects.iter().map(AsRef::as_ref);
            table::of_list(
                served,
                objects,
                &page.metadata(),
                version,
                include,
                Timestamp::now(),
            )
        }
    };
    respond::value(200, &value, accept.yaml)
}

/// An object within a list: the kind of built-in ones is said once, by the list.
fn item(served: &Served, mut object: Value) -> Value {
    if !served.resource.is_custom() {
        object::remove(&mut object, &["kind"]);
        object::remove(&mut object, &["apiVersion"]);
    }
    object
}

/// The list itself, glued together from serialised objects.
fn whole(served: &Served, page: &Page) -> Response<Body> {
    let mut metadata = page.metadata();
    // Lists of custom resources say so when there is no more.
    if served.resource.is_custom() {
        object::default(&mut metadata, "continue", "");
    }
    let head = json!({
        "kind": served.resource.list_kind, "apiVersion": served.api_version(), "metadata": metadata,
    })
    .to_string();
    // What serialised objects begin with.
    let kind = format!(
        "{{\"apiVersion\":\"{}\",\"kind\":\"{}\",",
        served.api_version(),
        served.resource.kind
    );
    let size: usize = page
        .entries
        .iter()
        .map(|entry| entry.json().len() + 1)
        .sum();
    let mut body = BytesMut::with_capacity(head.len() + size + 16);
    body.put_slice(&head.as_bytes()[..head.len() - 1]);
    body.put_slice(b",\"items\":[");
    for (index, entry) in page.entries.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        if served.resource.is_custom() && served.is_storage_version() {
            body.put_slice(entry.json());
        } else if served.is_storage_version()
            && let Some(rest) = entry.json().strip_prefix(kind.as_bytes())
        {
            body.put_u8(b'{');
            body.put_slice(rest);
        } else {
            let shown = convert::from_stored(served, &entry.object).into_owned();
            body.put_slice(item(served, shown).to_string().as_bytes());
        }
    }
    body.put_slice(b"]}\n");
    respond::json(200, body.freeze())
}
