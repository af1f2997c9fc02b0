//! The typed options of reads, writes and deletions.

use serde_json::Value;

use super::query::Query;
use crate::object;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{Reason, Status};
use crate::validation::field;

/// Options of list, watch and deletecollection.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    pub limit: Option<usize>,
    pub continue_token: Option<String>,
    pub resource_version: Option<u64>,
    pub version_match: Option<VersionMatch>,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
    pub timeout_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

impl ListOptions {
    pub fn parse(query: &Query) -> Result<Self, Status> {
        let bad = |e: crate::selector::SelectorError| Status::bad_request(e.to_string());
        let resource_version = match query.get("resourceVersion") {
            None => None,
            Some(text) => {
                let watch = query.flag("watch");
                Some(text.parse().map_err(|_| invalid_version(text, watch))?)
            }
        };
        let version_match = match query.get("resourceVersionMatch") {
            None => None,
            Some("Exact") => Some(VersionMatch::Exact),
            Some("NotOlderThan") => Some(VersionMatch::NotOlderThan),
            Some(other) => {
                return Err(invalid_options(&field::not_supported(
                    "resourceVersionMatch",
                    other,
                    &["Exact", "NotOlderThan", ""],
                )));
            }
        };
        let options = Self {
            labels: LabelSelector::parse(query.text("labelSelector")).map_err(bad)?,
            fields: FieldSelector::parse(query.text("fieldSelector")).map_err(bad)?,
            limit: query.number("limit").filter(|limit| *limit > 0),
            continue_token: query.get("continue").map(str::to_owned),
            resource_version,
            version_match,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.maybe("sendInitialEvents"),
            timeout_seconds: query.number("timeoutSeconds"),
        };
        options.check(query.flag("watch"))?;
        Ok(options)
    }

    fn check(&self, watch: bool) -> Result<(), Status> {
        let refuse = |path: &str, why: &str| Err(invalid_options(&field::forbidden(path, why)));
        if watch {
            if self.initial_events.is_some() && self.version_match.is_none() {
                return refuse(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            }
            if self.version_match.is_some() && self.initial_events.is_none() {
                return refuse(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            return Ok(());
        }
        if self.initial_events.is_some() {
            return refuse(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            );
        }
        if self.version_match.is_some() {
            if self.resource_version.is_none() {
                return refuse(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if self.continue_token.is_some() {
                return refuse(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if self.version_match == Some(VersionMatch::Exact) && self.resource_version == Some(0) {
                return refuse(
                    "resourceVersionMatch",
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                );
            }
        }
        Ok(())
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    pub fn selects_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

fn invalid_options(error: &crate::schema::FieldError) -> Status {
    Status::invalid(
        "meta.k8s.io",
        "ListOptions",
        "",
        std::slice::from_ref(error),
    )
}

/// Upstream's watch does not classify this error.
fn invalid_version(text: &str, watch: bool) -> Status {
    let why = format!(
        "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
    );
    if watch {
        Status::new(500, Reason::Unknown, why)
    } else {
        Status::bad_request(format!("invalid resource version: {why}"))
    }
}

/// What to do about unknown fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Validation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub manager: String,
    /// The manager is only the user agent, not a `fieldManager`.
    pub anonymous: bool,
    pub validation: Validation,
    pub force: bool,
}

impl WriteOptions {
    /// Without a `fieldManager` the manager is the user agent up to its first slash.
    pub fn parse(query: &Query, user_agent: &str) -> Result<Self, Status> {
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => Validation::Warn,
            "Ignore" => Validation::Ignore,
            "Strict" => Validation::Strict,
            other => {
                let error = field::not_supported(
                    "fieldValidation",
                    other,
                    &["", "Ignore", "Strict", "Warn"],
                );
                return Err(Status::invalid(
                    "meta.k8s.io",
                    "CreateOptions",
                    "",
                    &[error],
                ));
            }
        };
        let manager = match query.text("fieldManager") {
            "" => user_agent.split('/').next().unwrap_or_default(),
            manager => manager,
        };
        Ok(Self {
            dry_run: dry_run(query.all("dryRun"))?,
            manager: manager.chars().take(128).collect(),
            anonymous: query.text("fieldManager").is_empty(),
            validation,
            force: query.flag("force"),
        })
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut dry = false;
    for value in values.filter(|v| !v.is_empty()) {
        if value != "All" {
            let error = field::not_supported("dryRun", vec![value], &["All"]);
            return Err(Status::invalid(
                "meta.k8s.io",
                "CreateOptions",
                "",
                &[error],
            ));
        }
        dry = true;
    }
    Ok(dry)
}

/// What happens to an object's dependents when it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// Options of delete and deletecollection, from the query and from the body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    pub dry_run: bool,
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// A body that says something replaces the query.
    pub fn parse(query: &Query, body: &Value) -> Result<Self, Status> {
        let from_body = body.as_object().is_some_and(|body| !body.is_empty());
        let (grace, propagation, orphan, dry) = if from_body {
            let dry: Vec<&str> = object::list(body, &["dryRun"])
                .iter()
                .filter_map(Value::as_str)
                .collect();
            (
                object::integer(body, &["gracePeriodSeconds"]),
                object::text(body, &["propagationPolicy"]),
                object::at(body, &["orphanDependents"]).as_bool(),
                dry_run(dry.into_iter().chain(query.all("dryRun")))?,
            )
        } else {
            (
                query.number("gracePeriodSeconds"),
                query.text("propagationPolicy"),
                query.maybe("orphanDependents"),
                dry_run(query.all("dryRun"))?,
            )
        };
        let propagation = match (propagation, orphan) {
            ("", None) => None,
            ("Background", _) | ("", Some(false)) => Some(Propagation::Background),
            ("Foreground", _) => Some(Propagation::Foreground),
            ("Orphan", _) | ("", Some(true)) => Some(Propagation::Orphan),
            (other, _) => {
                let error = field::not_supported(
                    "propagationPolicy",
                    other,
                    &["Foreground", "Background", "Orphan", "nil"],
                );
                return Err(Status::invalid(
                    "meta.k8s.io",
                    "DeleteOptions",
                    "",
                    &[error],
                ));
            }
        };
        let precondition = |key: &str| {
            object::at(body, &["preconditions", key])
                .as_str()
                .map(str::to_owned)
        };
        Ok(Self {
            dry_run: dry,
            grace_period_seconds: grace,
            propagation,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
        })
    }

    /// Refuses when the object is not the one the client meant.
    pub fn check(&self, group: &str, kind: &str, object: &Value) -> Result<(), Status> {
        let refuse = |what: &str, wanted: &str, found: &str, why: &str| {
            Err(Status::conflict(
                group,
                kind,
                object::name(object),
                &format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). \
                     The object might have been {why}"
                ),
            ))
        };
        if let Some(uid) = &self.uid
            && uid != object::uid(object)
        {
            return refuse(
                "UID",
                uid,
                object::uid(object),
                "deleted and then recreated",
            );
        }
        if let Some(version) = &self.resource_version
            && version != object::resource_version(object)
        {
            let found = object::resource_version(object);
            return refuse("ResourceVersion", version, found, "modified");
        }
        Ok(())
    }
}
