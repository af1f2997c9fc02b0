//! Warning events about the objects that are waited for: the reason why they do not get there is often only told
//! in an event.

use std::collections::HashSet;

use futures::{FutureExt as _, future::select_all};
use kube::api::DynamicObject;
use serde_json::Value;
use trunkline_scenario::model::Subject;

use super::hopeless::{hopeless_warning, text};
use crate::{
    context::At,
    events::Failure,
    objects::watch::{Selection, Watch},
};

/// How many different warnings a failure repeats.
const TOLD: usize = 3;

pub(super) struct Warnings {
    namespaces: Vec<String>,
    watches: Vec<Watch>,
    /// Events as they were before the action: old news.
    before: HashSet<String>,
    /// Events are a help, not a need: when they cannot be watched, the wait goes on without.
    lost: bool,
}

impl Warnings {
    pub fn new(subject: &Subject) -> Self {
        let namespaces = match subject {
            Subject::One(object) => object.namespace.iter().cloned().collect(),
            Subject::All { namespaces, .. } => namespaces.clone(),
        };
        Self {
            namespaces,
            watches: Vec::new(),
            before: HashSet::new(),
            lost: false,
        }
    }

    pub async fn start(&mut self, at: At<'_, '_>) -> Result<(), Failure> {
        if !self.watches.is_empty() || self.lost {
            return Ok(());
        }
        let Some(resource) = at.case.catalogue.by_kind("v1", "Event").await? else {
            return Ok(());
        };
        let watch = |namespace: &String| {
            Watch::start(
                &resource,
                resource.objects(&at.case.client, Some(namespace)),
                &Selection::default(),
            )
        };
        self.watches = self.namespaces.iter().map(watch).collect();
        for watch in &mut self.watches {
            match watch.synced().await {
                Ok(events) => self.before.extend(events.values().filter_map(version)),
                Err(lost) => {
                    tracing::debug!(reason = lost.0, "events cannot be watched");
                    self.lost = true;
                }
            }
        }
        Ok(())
    }

    pub fn catch_up(&mut self) {
        self.lost |= self
            .watches
            .iter_mut()
            .any(|watch| watch.catch_up().is_err());
    }

    /// Waits for the next event; for ever when there is nothing to watch.
    pub async fn changed(&mut self) {
        if self.lost || self.watches.is_empty() {
            return std::future::pending().await;
        }
        let (result, _, _) =
            select_all(self.watches.iter_mut().map(|watch| watch.changed().boxed())).await;
        if result.is_err() {
            self.lost = true;
        }
    }

    /// The words of a new event that says that one of these objects will not get there.
    pub fn hopeless<'a>(&self, objects: impl Iterator<Item = &'a DynamicObject>) -> Option<String> {
        let uids: HashSet<_> = objects
            .filter_map(|object| object.metadata.uid.as_deref())
            .collect();
        self.warnings()
            .filter(|event| version(event).is_none_or(|version| !self.before.contains(&version)))
            .filter(|event| concerns(event, &uids))
            .find_map(|event| {
                let (reason, message) =
                    (text(&event.data, "reason")?, text(&event.data, "message")?);
                hopeless_warning(reason, message).then(|| format!("{reason}: {message}"))
            })
    }

    /// The latest different warnings about these objects.
    pub fn about<'a>(&self, objects: impl IntoIterator<Item = &'a DynamicObject>) -> Vec<String> {
        let uids: HashSet<_> = objects
            .into_iter()
            .filter_map(|object| object.metadata.uid.as_deref())
            .collect();
        let mut warnings: Vec<_> = self
            .warnings()
            .filter(|event| concerns(event, &uids))
            .collect();
        warnings.sort_by_key(|event| std::cmp::Reverse(when(event)));
        let mut told = Vec::new();
        for event in warnings {
            let reason = text(&event.data, "reason").unwrap_or("Warning");
            let words = format!(
                "{reason}: {}",
                text(&event.data, "message").unwrap_or_default()
            );
            if !told.contains(&words) {
                told.push(words);
            }
        }
        told.truncate(TOLD);
        told
    }

    fn warnings(&self) -> impl Iterator<Item = &DynamicObject> {
        let events = self
            .watches
            .iter()
            .flat_map(|watch| watch.objects().values());
        events.filter(|event| text(&event.data, "type") == Some("Warning"))
    }
}

fn concerns(event: &DynamicObject, uids: &HashSet<&str>) -> bool {
    event
        .data
        .pointer("/involvedObject/uid")
        .and_then(Value::as_str)
        .is_some_and(|uid| uids.contains(uid))
}

fn version(event: &DynamicObject) -> Option<String> {
    event.metadata.resource_version.clone()
}

fn when(event: &DynamicObject) -> String {
    let field = ["lastTimestamp", "eventTime"]
        .into_iter()
        .find_map(|field| text(&event.data, field));
    field.unwrap_or_default().to_owned()
}
