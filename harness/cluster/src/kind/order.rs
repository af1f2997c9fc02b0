//! The order in which components are brought.

use std::{collections::BTreeSet, future::Future};

use futures::{StreamExt, stream::FuturesUnordered};

use crate::component::{Component, ComponentName};

/// Each as soon as those that it requires are done; the first failure ends it.
pub(super) async fn in_order<'c, F, E>(
    components: &'c [Component],
    bring: impl Fn(&'c Component) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut done: BTreeSet<&ComponentName> = BTreeSet::new();
    let mut waiting: Vec<&Component> = components.iter().collect();
    let mut running = FuturesUnordered::new();
    loop {
        let (can, cannot): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|component| component.requires.iter().all(|name| done.contains(name)));
        waiting = cannot;
        for component in can {
            let bringing = bring(component);
            running.push(async move { bringing.await.map(|()| &component.name) });
        }
        match running.next().await {
            Some(name) => {
                done.insert(name?);
            }
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap};

    use futures::FutureExt;
    use tokio::sync::Notify;

    use super::*;
    use crate::component::{Needs, Plan, Profile, plan};

    fn ovn() -> Plan {
        plan(
            Profile::OvnKubernetes,
            &Needs::everything(Profile::OvnKubernetes),
            2,
            None,
        )
        .unwrap()
    }

    #[tokio::test]
    async fn what_does_not_wait_for_each_other_runs_side_by_side() {
        let plan = ovn();
        let gates: BTreeMap<String, Notify> = plan
            .components
            .iter()
            .map(|component| (component.name.to_string(), Notify::new()))
            .collect();
        let begun = RefCell::new(BTreeSet::new());
        let mut running = Box::pin(in_order(&plan.components, |component| {
            begun.borrow_mut().insert(component.name.to_string());
            let gate = &gates[component.name.as_str()];
            async move {
                gate.notified().await;
                Ok::<_, String>(())
            }
        }));
        let mut step = |open: &[&str]| {
            for name in open {
                gates[*name].notify_one();
            }
            let finished = running.as_mut().now_or_never();
            (
                finished,
                begun.borrow().iter().cloned().collect::<Vec<_>>().join(" "),
            )
        };
        assert_eq!(step(&[]), (None, "node-image".into()));
        assert_eq!(
            step(&["node-image"]).1,
            "ipam-claim multi-network-policy multus node-image node-network-manager"
        );
        assert_eq!(
            step(&["ipam-claim", "multi-network-policy"]).1,
            "ipam-claim multi-network-policy multus node-image node-network-manager ovn-kubernetes"
        );
        step(&["multus", "node-network-manager"]);
        assert!(step(&["ovn-kubernetes"]).1.contains("cert-manager"));
        assert!(!step(&[]).1.contains("ipam-extensions"));
        assert!(step(&["cert-manager"]).1.contains("ipam-extensions"));
        assert!(step(&["ipam-extensions"]).1.contains("kubevirt"));
        assert_eq!(step(&["kubevirt", "nmstate"]).0, Some(Ok(())));
    }

    #[tokio::test]
    async fn nothing_begins_after_a_failure() {
        let plan = ovn();
        let begun = RefCell::new(Vec::new());
        let ended = in_order(&plan.components, |component| {
            begun.borrow_mut().push(component.name.to_string());
            let fails = component.name.as_str() == "ipam-claim";
            async move { if fails { Err("refused") } else { Ok(()) } }
        })
        .await;
        assert_eq!(ended, Err("refused"));
        assert!(!begun.borrow().contains(&"ovn-kubernetes".to_owned()));
    }
}
