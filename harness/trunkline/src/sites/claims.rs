//! What cases on one cluster must not use at the same time: namespaces, and objects that live in none.
//!
//! They are claimed by name before a case begins and given back when it has cleaned up, so cases that share nothing run
//! side by side and the others one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;
use trunkline_scenario::{Action, Scenario};

/// Everything that this scenario calls its own on a cluster.
pub fn of(scenario: &Scenario) -> BTreeSet<String> {
    let spec = &scenario.spec;
    let mut claims: BTreeSet<String> = spec
        .namespaces
        .iter()
        .map(|namespace| in_namespace(namespace.name.value.as_str()))
        .collect();
    for step in spec.steps.iter().chain(&spec.catch).chain(&spec.finally) {
        let Action::Apply(apply) = &step.action else {
            continue;
        };
        let elsewhere = apply.namespace.as_ref().map(|name| name.value.as_str());
        let manifests = apply
            .files
            .iter()
            .filter_map(|file| scenario.manifests.get(&file.value));
        for object in manifests.flat_map(|manifest| &manifest.objects) {
            claims.insert(match (object.kind(), object.namespace().or(elsewhere)) {
                ("Namespace", _) => in_namespace(object.name()),
                (_, Some(namespace)) => in_namespace(namespace),
                // Without a namespace of its own or by the step: for the cluster, or in `default`.
                (kind, None) => format!("{}/{}", kind.to_ascii_lowercase(), object.name()),
            });
        }
    }
    claims
}

fn in_namespace(name: &str) -> String {
    format!("namespace/{name}")
}

/// Who holds what.
#[derive(Debug, Default)]
pub struct Claims(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Claims {
    /// Waits until all of it is free, and holds it until the result is dropped. Everybody asks in the order of the names,
    /// so nobody waits for somebody who waits for them.
    pub async fn hold(&self, names: BTreeSet<String>) -> Vec<OwnedMutexGuard<()>> {
        let mut held = Vec::with_capacity(names.len());
        for name in names {
            let one = {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(all.entry(name).or_default())
            };
            held.push(one.lock_owned().await);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt;

    use super::Claims;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn who_shares_a_name_waits_and_nobody_else() {
        let claims = Claims::default();
        let first = claims.hold(names(&["a", "b"])).await;
        assert!(claims.hold(names(&["c"])).now_or_never().is_some());
        assert!(claims.hold(names(&["b", "c"])).now_or_never().is_none());
        drop(first);
        assert!(claims.hold(names(&["b", "c"])).now_or_never().is_some());
    }

    #[tokio::test]
    async fn crossed_wishes_end() {
        let claims = std::sync::Arc::new(Claims::default());
        let one = |wanted: BTreeSet<String>| {
            let claims = claims.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let _held = claims.hold(wanted.clone()).await;
                    tokio::task::yield_now().await;
                }
            })
        };
        let both = futures::future::join(one(names(&["a", "b"])), one(names(&["b", "a"])));
        let (first, second) = both.await;
        assert!(first.is_ok() && second.is_ok());
    }
}
