//! Writes of clients are shown to whoever wants to see them: to be changed first, and then to be refused or not.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::Write;
use crate::admission::hook::{Admission, AdmissionRequest, AdmissionTarget, Operation};
use crate::convert;
use crate::object;
use crate::status::Status;
use crate::user::User;

/// The client behind a write. The server's own writes have none.
#[derive(Debug, Clone, Copy)]
pub struct Requester<'a> {
    pub user: &'a User,
    /// What is said to the client besides the answer.
    pub warnings: &'a Mutex<Vec<String>>,
}

/// A write that may be seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub operation: Operation,
    pub subresource: Option<&'a str>,
    pub name: &'a str,
    pub old: &'a Value,
    pub dry_run: bool,
}

impl Write<'_> {
    /// The object as it shall be written. `renew` brings a changed object (the second is as it was) into the form it
    /// may be stored in, `check` says whether it may.
    pub(super) async fn admit(
        &self,
        seen: Seen<'_>,
        object: Value,
        renew: impl Fn(&mut Value, &Value) -> Result<(), Status> + Send + Sync,
        check: impl Fn(&Value) -> Result<(), Status> + Send + Sync,
    ) -> Result<Value, Status> {
        let Some((requester, hooks)) = self.hooks(&seen) else {
            return Ok(object);
        };
        let mut request = self.admission_request(requester, seen, object);
        if request.operation != Operation::Delete {
            for hook in &hooks {
                let mutated = hook.mutate(&request).await?;
                if mutated != request.object {
                    let before = std::mem::replace(&mut request.object, mutated);
                    renew(&mut request.object, &before)?;
                }
            }
            check(&request.object)?;
        }
        for hook in &hooks {
            let said = hook.validate(&request).await?;
            requester
                .warnings
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(said);
        }
        Ok(request.object)
    }

    /// What is posted to a subresource, like an eviction, is a creation of its own.
    pub(super) async fn admit_posted(
        &self,
        subresource: &str,
        name: &str,
        posted: &Value,
        dry_run: bool,
    ) -> Result<(), Status> {
        let seen = Seen {
            operation: Operation::Create,
            subresource: Some(subresource),
            name,
            old: &Value::Null,
            dry_run,
        };
        self.admit(seen, posted.clone(), |_, _| Ok(()), |_| Ok(()))
            .await
            .map(drop)
    }

    /// Asks whether an object may be deleted. One that is not there may be: its deletion fails by itself.
    pub async fn admit_deletion(&self, name: &str, dry_run: bool) -> Result<(), Status> {
        let Ok(entry) = self.core.entry(self.served, self.namespace, name) else {
            return Ok(());
        };
        let old = convert::from_stored(self.served, &entry.object);
        let seen = Seen {
            operation: Operation::Delete,
            subresource: None,
            name,
            old: &old,
            dry_run,
        };
        self.admit(seen, Value::Null, |_, _| Ok(()), |_| Ok(()))
            .await
            .map(drop)
    }

    /// Who wants to see a write, if anybody does.
    fn hooks(&self, seen: &Seen<'_>) -> Option<(Requester<'_>, Vec<Arc<dyn Admission>>)> {
        let requester = self.requester?;
        let target = AdmissionTarget {
            group: self.group(),
            version: &self.served.version().name,
            resource: self.plural(),
            subresource: seen.subresource,
            operation: seen.operation,
        };
        let hooks: Vec<_> = self
            .core
            .admissions
            .iter()
            .filter(|hook| hook.matches(&target))
            .cloned()
            .collect();
        (!hooks.is_empty()).then_some((requester, hooks))
    }

    fn admission_request(
        &self,
        requester: Requester<'_>,
        seen: Seen<'_>,
        object: Value,
    ) -> AdmissionRequest {
        AdmissionRequest {
            operation: seen.operation,
            group: self.group().to_owned(),
            version: self.served.version().name.clone(),
            resource: self.plural().to_owned(),
            kind: self.served.resource.kind.clone(),
            subresource: seen.subresource.map(str::to_owned),
            namespace: self.own_namespace().map(str::to_owned),
            name: seen.name.to_owned(),
            object,
            old_object: seen.old.clone(),
            user: requester.user.clone(),
            dry_run: seen.dry_run,
        }
    }

    /// Drops what the schema does not know and fills in what has a default.
    pub(super) fn tidy(&self, object: &mut Value) {
        if let Some(schema) = &self.served.version().schema {
            schema.prune(object);
        }
        self.default(object);
    }
}

/// What no admission can change.
const SYSTEM_FIELDS: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Puts back what only the server sets.
pub(super) fn keep_system_fields(object: &mut Value, before: &Value) {
    for key in SYSTEM_FIELDS {
        match object::at(before, &["metadata", key]) {
            Value::Null => drop(object::remove(object, &["metadata", key])),
            value => object::set(object, &["metadata", key], value.clone()),
        }
    }
}
