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
    pub fn parse(query: &Query, watch: bool) -> Result<Self, Status> {
        let bad = |e: crate::selector::SelectorError| Status::bad_request(e.to_string());
        let limit = integer(query, "limit")?;
        let timeout_seconds = integer(query, "timeoutSeconds")?;
        let resource_version = match query.get("resourceVersion") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| invalid_version(text, watch))?),
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
            limit: limit
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0),
            continue_token: query.get("continue").map(str::to_owned),
            resource_version,
            version_match,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.maybe("sendInitialEvents"),
            timeout_seconds: timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()),
        };
        options.check(watch)?;
        Ok(options)
    }

    fn check(&self, watch: bool) -> Result<(), Status> {
        let refuse = |path: &str, why: &str| Err(invalid_options(&field::forbidden(path, why)));
        if watch {
            return self.check_watch();
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

    fn check_watch(&self) -> Result<(), Status> {
        const PATH: &str = "resourceVersionMatch";
        let mut errors = Vec::new();
        let newer = self.version_match == Some(VersionMatch::NotOlderThan);
        if self.initial_events.is_some() && !newer {
            errors.push(field::forbidden(
                PATH,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if self.initial_events.is_none() && self.version_match.is_some() {
            errors.push(field::forbidden(
                PATH,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if self.version_match == Some(VersionMatch::Exact) {
            errors.push(field::not_supported(PATH, "Exact", &["NotOlderThan"]));
        }
        if self.continue_token.is_some() {
            errors.push(field::forbidden(
                PATH,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors))
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    pub fn selects_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

/// A number in the query, as upstream decodes it before anything else is looked at.
fn integer(query: &Query, key: &str) -> Result<Option<i64>, Status> {
    let number = query.get(key).map(|text| {
        text.parse().map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })
    });
    number.transpose()
}

fn invalid_options(error: &crate::schema::FieldError) -> Status {
    Status::invalid(
        "meta.k8s.io",
        "ListOptions",
        "",
        std::slice::from_ref(error),
    )
}

fn invalid_version(text: &str, watch: bool) -> Status {
    let status = unclassified_version(text);
    if watch {
        return status;
    }
    Status::bad_request(format!("invalid resource version: {}", status.message))
}

/// What is no version. Upstream classifies this error only in lists.
pub fn unclassified_version(text: &str) -> Status {
    let why = format!(
        "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
    );
    Status::new(500, Reason::Unknown, why)
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
    /// Without a `fieldManager` the manager is the user agent up to its first slash. `kind` is what errors call the
    /// options.
    pub fn parse(query: &Query, user_agent: &str, kind: &str) -> Result<Self, Status> {
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
                return Err(Status::invalid("meta.k8s.io", kind, "", &[error]));
            }
        };
        check_manager(query.text("fieldManager"), kind)?;
        let manager = match query.text("fieldManager") {
            "" => user_agent.split('/').next().unwrap_or_default(),
            manager => manager,
        };
        Ok(Self {
            dry_run: dry_run(query.all("dryRun"), kind)?,
            manager: manager.chars().take(128).collect(),
            anonymous: query.text("fieldManager").is_empty(),
            validation,
            force: query.flag("force"),
        })
    }
}

/// The longest name of a field manager.
const MANAGER_LIMIT: usize = 128;

fn check_manager(manager: &str, kind: &str) -> Result<(), Status> {
    let error = if manager.len() > MANAGER_LIMIT {
        crate::schema::FieldError::too_long("fieldManager", MANAGER_LIMIT as u64)
    } else if let Some((at, c)) = manager.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!(
            "invalid character U+{:04X} (at position {at})",
            u32::from(c)
        );
        field::invalid("fieldManager", manager, &why)
    } else {
        return Ok(());
    };
    Err(Status::invalid("meta.k8s.io", kind, "", &[error]))
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, kind: &str) -> Result<bool, Status> {
    let mut dry = false;
    for value in values.filter(|v| !v.is_empty()) {
        if value != "All" {
            let error = field::not_supported("dryRun", vec![value], &["All"]);
            return Err(Status::invalid("meta.k8s.io", kind, "", &[error]));
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
    /// The old way to ask for it: `orphanDependents: false`.
    pub cascades: bool,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// A body that says something replaces the query.
    pub fn parse(query: &Query, body: &Value) -> Result<Self, Status> {
        let kind = object::text(body, &["kind"]);
        if !matches!(kind, "" | "DeleteOptions") {
            // Upstream does not classify this error.
            let version = object::text(body, &["apiVersion"]);
            return Err(Status::new(
                500,
                Reason::Unknown,
                format!(
                    "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\""
                ),
            ));
        }
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
                dry_run(dry.into_iter().chain(query.all("dryRun")), "DeleteOptions")?,
            )
        } else {
            (
                integer(query, "gracePeriodSeconds")?,
                query.text("propagationPolicy"),
                query.maybe("orphanDependents"),
                dry_run(query.all("dryRun"), "DeleteOptions")?,
            )
        };
        if orphan.is_some() && !propagation.is_empty() {
            let error = field::invalid(
                "propagationPolicy",
                propagation,
                "orphanDependents and deletionPropagation cannot be both set",
            );
            return Err(Status::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                &[error],
            ));
        }
        let cascades = orphan == Some(false);
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
            cascades,
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
