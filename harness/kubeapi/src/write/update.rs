//! Replacing objects, whole or in part.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::admit::{Seen, keep_system_fields};
use super::create::Ownership;
use super::metadata::{dedup_owners, match_namespace, require_name, same_content};
use super::{Outcome, Part, Write};
use crate::admission;
use crate::admission::hook::Operation;
use crate::convert;
use crate::kinds::{crds, restore};
use crate::object;
use crate::registry::builtin::{CRDS, NAMESPACES};
use crate::status::{Reason, Status};
use crate::storage::{Entry, Refused};
use crate::validation;

/// How often a change that does not insist on a resourceVersion is tried again when others write meanwhile.
const ATTEMPTS: usize = 64;

impl Write<'_> {
    /// Replaces an object by one a client sent (PUT). Returns whether it was created instead.
    pub async fn put(
        &self,
        name: &str,
        part: Part,
        object: &Value,
    ) -> Result<(Outcome, bool), Status> {
        let mut object = object.clone();
        require_name(&mut object, name)?;
        match_namespace(&mut object, self.own_namespace())?;
        check_version(&object)?;
        let changed = self.change(name, part, Ownership::Note, |current| {
            self.check_uid(&object, current)?;
            if object::resource_version(&object).is_empty()
                && !self.served.strategy().allows_unconditional_update()
            {
                let error = validation::field::invalid(
                    "metadata.resourceVersion",
                    0,
                    "must be specified for an update",
                );
                return Err(Status::invalid(
                    self.group(),
                    self.plural(),
                    object::name(&object),
                    &[error],
                ));
            }
            Ok(object.clone())
        });
        match changed.await {
            Err(status)
                if status.is_not_found()
                    && part == Part::Main
                    && self.served.strategy().allows_create_on_update() =>
            {
                Ok((self.create(object.clone()).await?, true))
            }
            changed => Ok((changed?, false)),
        }
    }

    /// An object with a uid must replace the object with that uid.
    pub(super) fn check_uid(&self, object: &Value, current: &Value) -> Result<(), Status> {
        let (wanted, found) = (object::uid(object), object::uid(current));
        if wanted.is_empty() || wanted == found {
            return Ok(());
        }
        Err(Status::conflict(
            self.group(),
            self.plural(),
            object::name(current),
            &format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: \
                 Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
                self.key(current)
            ),
        ))
    }

    /// Where upstream would store an object; its messages say so.
    pub(super) fn key(&self, object: &Value) -> String {
        let resource = &self.served.resource;
        let place = match (resource.group.as_str(), resource.plural.as_str()) {
            (group, plural) if resource.is_custom() => format!("{group}/{plural}"),
            ("", "nodes") => "minions".to_owned(),
            ("", "services") => "services/specs".to_owned(),
            ("", "endpoints") => "services/endpoints".to_owned(),
            ("", "replicationcontrollers") => "controllers".to_owned(),
            ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
            (_, plural) => plural.to_owned(),
        };
        let (namespace, name) = (object::namespace(object), object::name(object));
        if namespace.is_empty() {
            format!("/registry/{place}/{name}")
        } else {
            format!("/registry/{place}/{namespace}/{name}")
        }
    }

    /// Changes an object by a function of its current state (in the version of the request). A result with another
    /// resourceVersion than the current one is a conflict.
    pub async fn change(
        &self,
        name: &str,
        part: Part,
        ownership: Ownership,
        make: impl Fn(&Value) -> Result<Value, Status> + Send,
    ) -> Result<Outcome, Status> {
        for _ in 0..ATTEMPTS {
            let entry = self.core.entry(self.served, self.namespace, name)?;
            let current = convert::from_stored(self.served, &entry.object);
            let new = self.proposed(&current, name, part, ownership, &make)?;
            let seen = Seen {
                operation: Operation::Update,
                subresource: part.subresource(),
                name,
                old: &current,
                dry_run: self.options.dry_run,
            };
            let renew = |mutated: &mut Value, before: &Value| {
                keep_system_fields(mutated, before);
                self.tidy(mutated);
                self.finish(mutated, &current, part, Ownership::Noted)
            };
            let check = |object: &Value| self.check(object, &current, part);
            let new = self.admit(seen, new, renew, check).await?;
            if let Some(outcome) = self.settle(&entry, &current, part, new)? {
                return Ok(outcome);
            }
        }
        Err(Status::modified(self.group(), self.plural(), name))
    }

    /// Changes an object like [`Write::change`], as the server itself does: nobody is asked for admission.
    pub fn change_unseen(
        &self,
        name: &str,
        part: Part,
        ownership: Ownership,
        make: impl Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Outcome, Status> {
        for _ in 0..ATTEMPTS {
            let entry = self.core.entry(self.served, self.namespace, name)?;
            let current = convert::from_stored(self.served, &entry.object);
            let new = self.proposed(&current, name, part, ownership, &make)?;
            if let Some(outcome) = self.settle(&entry, &current, part, new)? {
                return Ok(outcome);
            }
        }
        Err(Status::modified(self.group(), self.plural(), name))
    }

    /// What the client makes of the current state, in the form it may be stored in.
    fn proposed(
        &self,
        current: &Value,
        name: &str,
        part: Part,
        ownership: Ownership,
        make: &impl Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let mut new = make(current)?;
        let version = object::resource_version(&new);
        if !version.is_empty() && version != object::resource_version(current) {
            return Err(Status::modified(self.group(), self.plural(), name));
        }
        self.finish(&mut new, current, part, ownership)?;
        Ok(new)
    }

    /// Stores what has been admitted. None when somebody else wrote meanwhile.
    fn settle(
        &self,
        entry: &Arc<Entry>,
        current: &Value,
        part: Part,
        mut new: Value,
    ) -> Result<Option<Outcome>, Status> {
        // The address of a service stays reserved until it is stored.
        let _reserved = admission::service::needs_address(self.served).then(|| {
            self.core
                .service_allocation
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        });
        admission::service::allocate(self.core, self.served, &mut new, Some(current))?;
        self.check(&new, current, part)?;
        self.commit(entry, new)
    }

    fn check(&self, new: &Value, current: &Value, part: Part) -> Result<(), Status> {
        let mut errors = validation::metadata::on_update(new, current);
        if part == Part::Status {
            if let Some(schema) = &self.served.version().schema {
                let found = schema.validate(new, Some(current)).into_iter();
                // Upstream validates the status by itself.
                errors.extend(found.map(|mut error| {
                    error.message = error.message.replace(": status.", ": ");
                    error
                }));
            }
        } else if part == Part::Main {
            errors.extend(self.violations(new, Some(current)));
        } else if part == Part::View("ephemeralcontainers") {
            errors.extend(crate::kinds::pods::ephemeral_change(new, current));
        } else if part == Part::View("resize") {
            errors.extend(crate::kinds::pods::resize(new));
        }
        self.invalid(new, errors)
    }

    /// None when somebody else wrote meanwhile.
    fn commit(&self, entry: &Arc<Entry>, new: Value) -> Result<Option<Outcome>, Status> {
        let new = convert::to_stored(self.served, new);
        if self.options.dry_run {
            return Ok(Some(Outcome::Dry(new)));
        }
        let resource = &self.served.resource;
        let mut last = None;
        let stored = if removable(&new, &resource.storage) {
            // Watchers see the last state that was stored.
            last = Some(new);
            self.core.store.delete(&resource.storage, entry, None)
        } else if new == entry.object {
            return Ok(Some(Outcome::Stored(entry.clone())));
        } else {
            self.core.store.update(&resource.storage, entry, new)
        };
        match stored {
            // The last answer about an object that is gone has the version before.
            Ok(_) if last.is_some() => Ok(last.map(Outcome::Dry)),
            Ok(entry) => {
                admission::after_update(self.core, self.served, &entry.object)?;
                Ok(Some(Outcome::Stored(entry)))
            }
            Err(Refused::Stale | Refused::Exists) => Ok(None),
        }
    }

    /// Brings a client's new state into the form it may be stored in.
    fn finish(
        &self,
        new: &mut Value,
        old: &Value,
        part: Part,
        ownership: Ownership,
    ) -> Result<(), Status> {
        if !new.is_object() {
            return Err(Status::bad_request("the result is not an object"));
        }
        restore_system_fields(new, old);
        dedup_owners(new);
        self.isolate(new, old, part);
        self.default(new);
        let strategy = self.served.strategy();
        match part {
            Part::Main => strategy.prepare_update(new, old),
            Part::Status => strategy.prepare_status(new, old),
            Part::View(_) => {}
        }
        let ignore_status = self.served.version().has_status();
        let counts = strategy.counts_generation() && part != Part::View("binding");
        let changed = !same_content(new, old, ignore_status)
            || counted_metadata(&self.served.resource.storage).is_some_and(|path| {
                part == Part::Main && object::at(new, path) != object::at(old, path)
            });
        if counts && changed {
            let generation = object::integer(old, &["metadata", "generation"]).unwrap_or(0);
            object::set(new, &["metadata", "generation"], generation + 1);
        }
        if ownership == Ownership::Note {
            crate::patch::track_update(Some(old), new, &self.writer(part, self.reset(part)));
        }
        if &*self.served.resource.storage == CRDS && part == Part::Main {
            crds::established(new, Timestamp::now());
        } else if &*self.served.resource.storage == CRDS && part == Part::Status {
            crds::keep_stored(new);
        }
        Ok(())
    }

    /// Keeps every endpoint to its own part of the object.
    fn isolate(&self, new: &mut Value, old: &Value, part: Part) {
        match part {
            Part::Main => {
                if self.served.version().has_status() {
                    restore(new, old, &["status"]);
                }
            }
            Part::Status => {
                let mut kept = old.clone();
                restore(&mut kept, new, &["status"]);
                if self.served.resource.is_custom() {
                    restore(&mut kept, new, &["metadata", "managedFields"]);
                } else {
                    restore(&mut kept, new, &["metadata"]);
                }
                *new = kept;
            }
            Part::View("approval") => {
                let mut kept = old.clone();
                restore(&mut kept, new, &["status", "conditions"]);
                restore(&mut kept, new, &["metadata", "managedFields"]);
                *new = kept;
            }
            Part::View("ephemeralcontainers") => {
                let mut kept = old.clone();
                restore(&mut kept, new, &["spec", "ephemeralContainers"]);
                *new = kept;
            }
            // Made by the server itself from the current state.
            Part::View("binding") => {}
            Part::View(_) => restore(new, old, &["status"]),
        }
    }
}

/// A version must be a number before it can be compared.
fn check_version(object: &Value) -> Result<(), Status> {
    let version = object::resource_version(object);
    if version.is_empty() || version.parse::<u64>().is_ok() {
        return Ok(());
    }
    let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
    Err(Status::new(500, Reason::Unknown, why))
}

/// What an update cannot change: identity, times, generation.
fn restore_system_fields(new: &mut Value, old: &Value) {
    if object::uid(new).is_empty() {
        restore(new, old, &["metadata", "uid"]);
    }
    for key in [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        restore(new, old, &["metadata", key]);
    }
    for key in ["apiVersion", "kind"] {
        restore(new, old, &[key]);
    }
    object::remove(new, &["metadata", "selfLink"]);
}

/// Metadata whose changes count as changes of what is desired.
fn counted_metadata(storage: &str) -> Option<&'static [&'static str]> {
    match storage {
        "deployments.apps" => Some(&["metadata", "annotations"]),
        "endpointslices.discovery.k8s.io" => Some(&["metadata", "labels"]),
        _ => None,
    }
}

/// Whether an object that is being deleted has nothing left to wait for.
pub fn removable(object: &Value, storage: &str) -> bool {
    object::is_deleting(object)
        && object::finalizers(object).is_empty()
        && object::integer(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
        && (storage != NAMESPACES || object::list(object, &["spec", "finalizers"]).is_empty())
}
