//! Creating objects.

use std::sync::PoisonError;

use jiff::Timestamp;
use serde_json::Value;

use super::admit::{Seen, keep_system_fields};
use super::metadata::{dedup_owners, generate_name, match_namespace, wipe_system_fields};
use super::{Outcome, Part, Write};
use crate::admission;
use crate::admission::hook::Operation;
use crate::convert;
use crate::kinds::crds;
use crate::object;
use crate::registry::builtin::CRDS;
use crate::status::{Reason, Status};
use crate::storage::{Key, Refused};
use crate::validation;

/// How often a generated name that is taken is replaced by another.
const NAME_ATTEMPTS: usize = 8;

/// Whether the object's managedFields are already there (apply) or are to be noted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    Note,
    Noted,
}

impl Write<'_> {
    /// Creates an object, checked and pruned, in the version of the request.
    pub async fn create(&self, object: Value) -> Result<Outcome, Status> {
        self.create_owned(object, Ownership::Note).await
    }

    /// Creates an object like [`Write::create`], as the server itself does: nobody is asked for admission.
    pub fn create_unseen(&self, object: Value) -> Result<Outcome, Status> {
        let ready = self.ready(object, Ownership::Note)?;
        self.place(ready)
    }

    pub async fn create_owned(
        &self,
        object: Value,
        ownership: Ownership,
    ) -> Result<Outcome, Status> {
        let generated =
            object::name(&object).is_empty() && !object::meta(&object, "generateName").is_empty();
        if !generated {
            return self.create_once(object, ownership).await;
        }
        let mut last = None;
        for _ in 0..NAME_ATTEMPTS {
            match self.create_once(object.clone(), ownership).await {
                Err(status) if status.reason == Reason::AlreadyExists => last = Some(status),
                result => return result,
            }
        }
        let mut status = last.unwrap_or_else(|| Status::internal("no name was tried"));
        status
            .message
            .push_str(", the server was not able to generate a unique name for the object");
        Err(status)
    }

    async fn create_once(&self, object: Value, ownership: Ownership) -> Result<Outcome, Status> {
        let object = self.ready(object, ownership)?;
        let name = object::name(&object).to_owned();
        let seen = Seen {
            operation: Operation::Create,
            subresource: None,
            name: &name,
            old: &Value::Null,
            dry_run: self.options.dry_run,
        };
        let renew = |mutated: &mut Value, before: &Value| {
            keep_system_fields(mutated, before);
            self.tidy(mutated);
            Ok(())
        };
        let check = |object: &Value| self.acceptable(object);
        let object = self.admit(seen, object, renew, check).await?;
        self.place(object)
    }

    /// The object a client sent, in the form it may be stored in.
    fn ready(&self, mut object: Value, ownership: Ownership) -> Result<Value, Status> {
        admission::namespace::check(self.core, self.served, self.namespace, &object)?;
        self.prepare(&mut object)?;
        if ownership == Ownership::Note {
            let writer = self.writer(Part::Main, self.reset(Part::Main));
            crate::patch::track_update(None, &mut object, &writer);
        }
        // What the server adds from here on is nobody's.
        self.served.strategy().prepare_create(&mut object);
        self.default(&mut object);
        admission::pod::admit(self.core, self.served, &mut object)?;
        admission::priority::check_class(self.core, self.served, &object)?;
        Ok(object)
    }

    fn acceptable(&self, object: &Value) -> Result<(), Status> {
        let resource = &self.served.resource;
        let mut errors = validation::metadata::on_create(
            object,
            resource.namespaced,
            resource.is_custom(),
            resource.name_rule,
        );
        errors.extend(self.violations(object, None));
        self.invalid(object, errors)
    }

    /// Stores what has been admitted.
    fn place(&self, mut object: Value) -> Result<Outcome, Status> {
        let resource = &self.served.resource;
        // Addresses stay reserved until the service that has them is stored.
        let _reserved = admission::service::needs_address(self.served).then(|| {
            self.core
                .service_allocation
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        });
        admission::service::allocate(self.core, self.served, &mut object, None)?;
        self.acceptable(&object)?;
        admission::crd::check_instance(self.core, self.served, object::name(&object))?;
        admission::crd::check_names(self.core, self.served, &object)?;
        if &*resource.storage == CRDS {
            crds::established(&mut object, Timestamp::now());
        }
        let object = convert::to_stored(self.served, object);
        let key = Key::of(&object);
        if self.options.dry_run {
            return match self.core.store.get(&resource.storage, &key) {
                Some(_) => Err(self.exists(object::name(&object), &key)),
                None => Ok(Outcome::Dry(object)),
            };
        }
        let name = object::name(&object).to_owned();
        let entry = self
            .core
            .store
            .create(&resource.storage, object)
            .map_err(|refused| match refused {
                Refused::Exists | Refused::Stale => self.exists(&name, &key),
            })?;
        admission::after_create(self.core, self.served, &entry.object);
        Ok(Outcome::Stored(entry))
    }

    fn exists(&self, name: &str, key: &Key) -> Status {
        let mut status = Status::already_exists(self.group(), self.plural(), name);
        let there = self.core.store.get(&self.served.resource.storage, key);
        if there.is_some_and(|entry| object::is_deleting(&entry.object)) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }

    /// Names, system metadata, what is not the client's to set, and defaults.
    fn prepare(&self, object: &mut Value) -> Result<(), Status> {
        match_namespace(object, self.own_namespace())?;
        if !object::resource_version(object).is_empty() {
            return Err(Status::new(
                500,
                Reason::Unknown,
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let prefix = object::meta(object, "generateName").to_owned();
        if object::name(object).is_empty() && !prefix.is_empty() {
            object::set(object, &["metadata", "name"], generate_name(&prefix));
        }
        wipe_system_fields(object);
        dedup_owners(object);
        let metadata = object::child(object, "metadata");
        metadata["uid"] = uuid::Uuid::new_v4().to_string().into();
        metadata["creationTimestamp"] = object::time(Timestamp::now()).into();
        let strategy = self.served.strategy();
        if strategy.counts_generation() {
            metadata["generation"] = 1.into();
        }
        if self.served.resource.is_custom() && self.served.version().has_status() {
            object::remove(object, &["status"]);
        }
        self.default(object);
        Ok(())
    }
}
