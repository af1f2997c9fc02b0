//! The four kinds of patches.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::create::Ownership;
use super::{Outcome, Part, Write};
use crate::decode;
use crate::go_json;
use crate::object;
use crate::patch::{self, ApplyError, ApplyRequest, PatchError};
use crate::request::WriteOptions;
use crate::schema::{FieldError, Gvk, go};
use crate::status::{Cause, Reason, Status};

/// The format of a patch, by its Content-Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// Formats of patches that need no schema with merge keys.
const CUSTOM_FORMATS: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

impl Format {
    pub fn of(media: &str, custom: bool) -> Result<Self, Status> {
        match media {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            "application/strategic-merge-patch+json" => {
                Err(Status::unsupported_media_type(CUSTOM_FORMATS))
            }
            _ => Err(Status::new(
                415,
                Reason::UnsupportedMediaType,
                "415: Unsupported Media Type",
            )
            .about("", "", "")),
        }
    }

    /// Options that only some formats have.
    pub fn check(self, options: &WriteOptions) -> Result<(), Status> {
        if self == Self::Apply && options.anonymous {
            return Err(invalid_options(FieldError::required(
                "fieldManager",
                "is required for apply patch",
            )));
        }
        if self != Self::Apply && options.force {
            return Err(invalid_options(FieldError::forbidden(
                "force",
                "may not be specified for non-apply patch",
            )));
        }
        Ok(())
    }

    /// Reads the patch itself.
    pub fn parse(self, body: &[u8]) -> Result<Value, Status> {
        match self {
            Self::Apply => decode::parse(body, "application/yaml").or_else(|refusal| {
                let message = format!("error decoding YAML: {}", refusal.message);
                decode::parse(body, "application/json").map_err(|_| Status::bad_request(message))
            }),
            Self::Strategic => go_json::parse(body).map_err(Status::bad_request),
            Self::Json | Self::Merge => {
                let patch = go_json::parse(body);
                let wrong = |patch: &Value| {
                    let operations = patch.as_array().filter(|_| self == Self::Json)?;
                    let wrong = operations.iter().find(|o| !o.is_object() && !o.is_null())?;
                    Some(go_json::wrong_type(wrong, "handlers.jsonPatchOp"))
                };
                patch
                    .and_then(|patch| wrong(&patch).map_or(Ok(patch), Err))
                    .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))
            }
        }
    }
}

fn invalid_options(error: FieldError) -> Status {
    Status::invalid("meta.k8s.io", "PatchOptions", "", &[error])
}

/// Fields of a JSON patch that no operation has.
fn unknown_operation_fields(patch: &Value) -> Vec<String> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    operations
        .flat_map(|(at, operation)| {
            let fields = operation.as_object().into_iter().flat_map(|o| o.keys());
            fields
                .filter(|f| !matches!(f.as_str(), "op" | "path" | "from" | "value"))
                .map(move |field| format!("json patch unknown field \"[{at}].{field}\""))
        })
        .collect()
}

impl Write<'_> {
    /// Patches an object. Returns whether it was created (apply only).
    pub async fn patch(
        &self,
        name: &str,
        part: Part,
        format: Format,
        patch: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<(Outcome, bool), Status> {
        if format == Format::Apply {
            return self.apply(name, part, patch).await;
        }
        let said = Mutex::new(Vec::new());
        let outcome = self.change(name, part, Ownership::Note, |current| {
            let mut new = self.patched(format, current, patch)?;
            let shown = match format {
                Format::Strategic => go::plain(patch),
                _ => new.to_string(),
            };
            let noticed = match format {
                Format::Json => unknown_operation_fields(patch),
                _ => Vec::new(),
            };
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            self.checked(&mut new, name, &shown, noticed, &mut said)?;
            Ok(new)
        });
        let outcome = outcome.await?;
        warnings.append(&mut said.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok((outcome, false))
    }

    fn patched(&self, format: Format, current: &Value, patch: &Value) -> Result<Value, Status> {
        let result = match format {
            Format::Json => patch::json(current, patch),
            Format::Strategic => match &self.served.version().schema {
                Some(schema) => patch::strategic(schema, current, patch),
                None => patch::merge(current, patch),
            },
            Format::Merge | Format::Apply => patch::merge(current, patch),
        };
        result.map_err(|error| match error {
            PatchError::BadRequest(message) => Status::bad_request(message),
            // Upstream keeps what is wrong to itself.
            PatchError::Unprocessable(_) => Status::new(
                422,
                Reason::Invalid,
                "the server rejected our request due to an error in our request",
            )
            .about("", "", ""),
            PatchError::TooLarge(message) => {
                Status::new(413, Reason::RequestEntityTooLarge, message)
            }
            PatchError::Failed(message) => Status::new(500, Reason::Unknown, message),
        })
    }

    /// A patched object must still be an object of its kind and name.
    fn checked(
        &self,
        new: &mut Value,
        name: &str,
        shown: &str,
        noticed: Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        warnings.clear();
        decode::expect_kind(new, &self.served.gvk())?;
        if let Some(schema) = &self.served.version().schema {
            decode::fit(new, schema, self.options.validation, noticed, warnings).map_err(
                |why| {
                    let error = FieldError::invalid("patch", &shown.into(), &why);
                    Status::invalid("", "", "", &[error])
                },
            )?;
        }
        super::metadata::require_name(new, name)?;
        super::metadata::match_namespace(new, self.own_namespace())
    }

    async fn apply(
        &self,
        name: &str,
        part: Part,
        applied: &Value,
    ) -> Result<(Outcome, bool), Status> {
        let mut applied = applied.clone();
        let gvk = Gvk::from_api_version(
            object::text(&applied, &["apiVersion"]),
            object::text(&applied, &["kind"]),
        );
        if gvk != self.served.gvk() {
            return Err(Status::bad_request(format!(
                "invalid object type: {}/{}, Kind={}",
                gvk.group, gvk.version, gvk.kind
            )));
        }
        super::metadata::match_name(&mut applied, name)?;
        super::metadata::check_namespace(&applied, self.own_namespace())?;
        let changed = self.change(name, part, Ownership::Noted, |current| {
            self.applied(Some(current), &applied, part)
        });
        match changed.await {
            Err(status)
                if status.is_not_found()
                    && part == Part::Main
                    && status.details.as_ref().is_some_and(|d| d.name == name) =>
            {
                if !object::uid(&applied).is_empty() {
                    return Err(Status::conflict(
                        self.group(),
                        self.plural(),
                        name,
                        &format!(
                            "uid mismatch: the provided object specified uid {}, and no existing object was found",
                            object::uid(&applied)
                        ),
                    ));
                }
                let new = self.applied(None, &applied, part)?;
                match self.create_owned(new, Ownership::Noted).await {
                    // Somebody created it meanwhile: apply to that.
                    Err(status) if status.reason == Reason::AlreadyExists => {
                        let outcome = self.change(name, part, Ownership::Noted, |current| {
                            self.applied(Some(current), &applied, part)
                        });
                        Ok((outcome.await?, false))
                    }
                    created => Ok((created?, true)),
                }
            }
            changed => Ok((changed?, false)),
        }
    }

    fn applied(&self, live: Option<&Value>, applied: &Value, part: Part) -> Result<Value, Status> {
        let request = ApplyRequest {
            live,
            applied,
            force: self.options.force,
            writer: self.writer(part, self.reset(part)),
        };
        match patch::apply(&request) {
            Ok(applied) => Ok(applied.object),
            Err(ApplyError::Conflicts { message, causes }) => {
                let causes = causes
                    .into_iter()
                    .map(|conflict| Cause {
                        reason: "FieldManagerConflict".to_owned(),
                        message: conflict.message,
                        field: conflict.field,
                    })
                    .collect();
                Err(Status::new(409, Reason::Conflict, message).with_causes(causes))
            }
            Err(ApplyError::BadRequest(message)) => Err(Status::bad_request(message)),
            Err(ApplyError::Invalid(message)) => Err(Status::new(500, Reason::Unknown, message)),
        }
    }
}
