//! Server-side apply and the tracking of all other writes, on top of the walks.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::fieldset::{Element, Set, display};
use super::managed::{self, Manager, Managers, Operation, Owned};
use super::typed::{TypeRef, with_named_fields};
use super::{Applied, ApplyError, ApplyRequest, Conflict, Writer, merging, walk};
use crate::schema::{Schema, go};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Fields nobody owns: the server sets them, or they name the object.
static NEVER_OWNED: LazyLock<Set> = LazyLock::new(|| {
    Set::of_fields(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
});

/// One conflicting field and who has it.
struct Clash {
    manager: Manager,
    path: Vec<Element>,
}

enum Failure {
    Clashes(Vec<Clash>),
    Invalid(String),
}

pub(super) fn apply(request: &ApplyRequest<'_>) -> Result<Applied, ApplyError> {
    let applied = request.applied;
    let api_version = text(applied, "apiVersion").to_owned();
    if managed::entries(applied).is_some_and(|m| !m.is_null()) {
        return Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    let ty = TypeRef::of(request.writer.schema);
    walk::check(ty, applied, false).map_err(|e| {
        ApplyError::Invalid(format!(
            "failed to create typed patch object ({}): {e}",
            name_of(applied)
        ))
    })?;
    let empty = empty_like(applied, request.writer.schema);
    let (live, mut managers) = match request.live {
        None => (empty.clone(), Managers::new()),
        Some(live) => {
            let managers = managed::decode(live).map_err(|e| {
                ApplyError::Invalid(format!("failed to decode managed fields: {e}"))
            })?;
            (without_managed_fields(live), managers)
        }
    };
    if managers.is_empty() && request.live.is_some() {
        let before = Writer {
            manager: "before-first-apply",
            ..request.writer
        };
        managers = update(&empty, &live, managers, &before, &api_version);
    }
    let session = Session {
        writer: &request.writer,
        ty,
        api_version: &api_version,
        reset: Set::of_fields(request.writer.reset),
        manager: Manager::new(
            request.writer.manager,
            Operation::Apply,
            &api_version,
            request.writer.subresource,
        ),
    };
    let result = session
        .apply(&live, applied, managers.clone(), request.force)
        .or_else(|failure| session.retry(failure, &live, applied, managers));
    let (object, managers) = result.map_err(|failure| match failure {
        Failure::Invalid(text) => ApplyError::Invalid(text),
        Failure::Clashes(clashes) => conflicts(&clashes),
    })?;
    let mut object = object.unwrap_or(live);
    if request.writer.manager == "kubectl" {
        refresh_last_applied(&mut object, applied);
    }
    managed::encode(&mut object, &managers);
    Ok(Applied { object })
}

struct Session<'a> {
    writer: &'a Writer<'a>,
    ty: TypeRef<'a>,
    api_version: &'a str,
    reset: Set,
    manager: Manager,
}

type Outcome = Result<(Option<Value>, Managers), Failure>;

impl Session<'_> {
    /// The merged object (None when nothing changes) and who owns what afterwards.
    fn apply(&self, live: &Value, applied: &Value, mut managers: Managers, force: bool) -> Outcome {
        let merged = merging::merge(self.ty, live, applied)
            .map_err(|e| Failure::Invalid(format!("failed to merge config: {e}")))?;
        let last = managers.get(&self.manager).cloned();
        let fields = walk::fields(self.ty, applied).recursive_difference(&self.reset);
        managers.insert(
            self.manager.clone(),
            Owned {
                fields,
                api_version: self.api_version.to_owned(),
                time: last.as_ref().and_then(|l| l.time.clone()),
            },
        );
        let merged = match &last {
            Some(last) if !last.fields.is_empty() => self.prune(&merged, &managers, &last.fields),
            _ => merged,
        };
        let comparison = walk::compare(self.ty, live, &merged).without(&self.reset);
        take_over(&mut managers, &self.manager, &comparison, force).map_err(Failure::Clashes)?;
        strip(&mut managers, &self.manager);
        if walk::equal(live, &merged) {
            return Ok((None, managers));
        }
        if let Some(owned) = managers.get_mut(&self.manager) {
            owned.time = Some(managed::time(self.writer.now));
        }
        Ok((Some(merged), managers))
    }

    /// `kubectl apply --server-side` may take over what `kubectl apply` had set before: those are no conflicts.
    fn retry(
        &self,
        failure: Failure,
        live: &Value,
        applied: &Value,
        managers: Managers,
    ) -> Outcome {
        let Failure::Clashes(clashes) = failure else {
            return Err(failure);
        };
        if self.writer.manager != "kubectl" {
            return Err(Failure::Clashes(clashes));
        }
        let Some(last) = self.last_applied(live) else {
            return Err(Failure::Clashes(clashes));
        };
        let rest: Vec<Clash> = clashes
            .into_iter()
            .filter(|clash| !last.has(&clash.path))
            .collect();
        if rest.is_empty() {
            self.apply(live, applied, managers, true)
        } else {
            Err(Failure::Clashes(rest))
        }
    }

    /// The fields client-side apply set and that still have its values.
    fn last_applied(&self, live: &Value) -> Option<Set> {
        let annotation = live.pointer("/metadata/annotations")?.get(LAST_APPLIED)?;
        let last: Value = serde_json::from_str(annotation.as_str()?).ok()?;
        if text(&last, "apiVersion") != self.api_version
            || walk::check(self.ty, &last, false).is_err()
        {
            return None;
        }
        let comparison = walk::compare(self.ty, &last, live);
        Some(
            walk::fields(self.ty, &last)
                .difference(&comparison.modified)
                .difference(&comparison.added)
                .difference(&comparison.removed),
        )
    }

    /// Removes what the manager applied last time, does not apply now, and nobody else owns.
    fn prune(&self, merged: &Value, managers: &Managers, last: &Set) -> Value {
        let named = |set: &Set| with_named_fields(set, self.ty);
        let fields = |value: &Value| named(&walk::fields(self.ty, value));
        let last = named(last);
        let pruned = walk::remove(self.ty, merged, &last);
        let owned = managers
            .values()
            .fold(Set::default(), |all, owned| all.union(&owned.fields));
        let merged_fields = fields(merged);
        // What anybody owns comes back …
        let unowned = merged_fields.difference(&fields(&pruned).union(&named(&owned)));
        let pruned = walk::remove(self.ty, merged, &unowned);
        // … and so does what went along without having been applied by this manager.
        let given_up = merged_fields
            .difference(&fields(&pruned))
            .intersection(&last);
        walk::remove(self.ty, merged, &given_up)
    }
}

/// Removes from all other managers what changed; without `force`, changing what somebody owns is a conflict.
fn take_over(
    managers: &mut Managers,
    writer: &Manager,
    comparison: &walk::Comparison,
    force: bool,
) -> Result<(), Vec<Clash>> {
    let changed = comparison.modified.union(&comparison.added);
    let conflicts: BTreeMap<Manager, Set> = managers
        .iter()
        .filter(|(manager, _)| *manager != writer)
        .map(|(manager, owned)| (manager.clone(), owned.fields.intersection(&changed)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(conflicts
            .into_iter()
            .flat_map(|(manager, set)| {
                set.paths().into_iter().map(move |path| Clash {
                    manager: manager.clone(),
                    path,
                })
            })
            .collect());
    }
    for (manager, owned) in &mut *managers {
        if let Some(conflict) = conflicts.get(manager) {
            owned.fields = owned.fields.difference(conflict);
        }
        if manager != writer {
            owned.fields = owned.fields.difference(&comparison.removed);
        }
    }
    managers.retain(|_, owned| !owned.fields.is_empty());
    Ok(())
}

fn strip(managers: &mut Managers, manager: &Manager) {
    if let Some(owned) = managers.get_mut(manager) {
        owned.fields = owned.fields.difference(&NEVER_OWNED);
        if owned.fields.is_empty() {
            managers.remove(manager);
        }
    }
}

pub(super) fn track(old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let api_version = text(new, "apiVersion").to_owned();
    let stored = || {
        old.and_then(|old| managed::decode(old).ok())
            .unwrap_or_default()
    };
    let managers = if writer.subresource.is_some() {
        stored()
    } else if managed::asks_for_reset(new) {
        Managers::new()
    } else {
        match managed::decode(new) {
            Ok(managers) if !managers.is_empty() => managers,
            _ => stored(),
        }
    };
    *new = without_managed_fields(new);
    if managers.is_empty() && old.is_some() {
        return;
    }
    let ty = TypeRef::of(writer.schema);
    if walk::check(ty, new, true).is_err() {
        return;
    }
    let live = match old {
        Some(old) => without_managed_fields(old),
        None => empty_like(new, writer.schema),
    };
    let mut managers = update(&live, new, managers, writer, &api_version);
    managed::cap_updaters(&mut managers);
    managed::encode(new, &managers);
}

/// Gives what changed to the writer.
fn update(
    live: &Value,
    new: &Value,
    mut managers: Managers,
    writer: &Writer<'_>,
    api_version: &str,
) -> Managers {
    let ty = TypeRef::of(writer.schema);
    let reset = Set::of_fields(writer.reset);
    let comparison = walk::compare(ty, live, new).without(&reset);
    // The writer's own entry is no exception while others lose what changed: it gets it back below.
    let nobody = Manager {
        name: String::new(),
        operation: Operation::Update,
        api_version: String::new(),
        subresource: String::new(),
    };
    // Forced, so there are no conflicts.
    let _ = take_over(&mut managers, &nobody, &comparison, true);
    let gained = comparison
        .modified
        .union(&comparison.added)
        .recursive_difference(&reset)
        .difference(&NEVER_OWNED);
    if gained.is_empty() {
        return managers;
    }
    let manager = Manager::new(
        writer.manager,
        Operation::Update,
        api_version,
        writer.subresource,
    );
    let owned = managers.entry(manager).or_insert_with(|| Owned {
        fields: Set::default(),
        api_version: api_version.to_owned(),
        time: None,
    });
    owned.fields = owned.fields.union(&gained);
    owned.time = Some(managed::time(writer.now));
    managers
}

fn conflicts(clashes: &[Clash]) -> ApplyError {
    let causes = clashes
        .iter()
        .map(|clash| Conflict {
            message: format!("conflict with {}", clash.manager.shown()),
            field: display(&clash.path),
        })
        .collect();
    let message = if let [only] = clashes {
        format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            only.manager.shown(),
            display(&only.path)
        )
    } else {
        let mut lines = Vec::new();
        let mut current = None;
        for clash in clashes {
            if current != Some(&clash.manager) {
                lines.push(format!("conflicts with {}:", clash.manager.shown()));
                current = Some(&clash.manager);
            }
            lines.push(format!("- {}", display(&clash.path)));
        }
        format!(
            "Apply failed with {} conflicts: {}",
            clashes.len(),
            lines.join("\n")
        )
    };
    ApplyError::Conflicts { message, causes }
}

/// Keeps client-side apply's annotation, where there is one, in step with what is applied.
fn refresh_last_applied(object: &mut Value, applied: &Value) {
    let Some(annotation) = object
        .pointer_mut("/metadata/annotations")
        .and_then(|annotations| annotations.get_mut(LAST_APPLIED))
        .filter(|annotation| annotation.as_str().is_some_and(|text| !text.is_empty()))
    else {
        return;
    };
    let mut applied = applied.clone();
    if let Some(annotations) = applied
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(LAST_APPLIED);
    }
    *annotation = format!("{}\n", go::json(&applied)).into();
}

fn text<'v>(object: &'v Value, name: &str) -> &'v str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `namespace/name; group/version, Kind=Kind`
fn name_of(object: &Value) -> String {
    let meta = |name: &str| {
        object
            .pointer(&format!("/metadata/{name}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let api_version = text(object, "apiVersion");
    let version = if api_version.contains('/') {
        api_version.to_owned()
    } else {
        // The core group prints as an empty name.
        format!("/{api_version}")
    };
    format!(
        "{}/{}; {version}, Kind={}",
        meta("namespace"),
        meta("name"),
        text(object, "kind")
    )
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
    object
}

/// The object before it existed: for built-in kinds the empty Go struct, with its structs and required lists.
fn empty_like(object: &Value, schema: Option<&Schema>) -> Value {
    let mut empty = Map::new();
    for name in ["apiVersion", "kind"] {
        if let Some(value) = object.get(name) {
            empty.insert(name.to_owned(), value.clone());
        }
    }
    let mut empty = Value::from(empty);
    if let Some(schema) = schema {
        schema.fill_empty(&mut empty);
    }
    empty
}
