//! The recorded cases once more, applied to a live cluster: rows, annotations and events held
//! against the record. What differs is listed in `docs/fidelity.md`, and nothing else is.

mod findings;
mod live;

use std::collections::BTreeSet;

use trunkline_ovnk::northbound::Placeholders;
use trunkline_ovnk::{Northbound, diff};

use crate::record::{Case, NODES, cases, fidelity, rows, world_after};
use crate::rig::Cluster;
use findings::Finding;
use live::Live;

/// Group and version, kind, plural, and whether it is namespaced: what the cases apply that the
/// lab does not know yet.
pub const KINDS: [((&str, &str), &str, &str, bool); 3] = [
    (
        ("k8s.cni.cncf.io", "v1beta1"),
        "MultiNetworkPolicy",
        "multi-networkpolicies",
        true,
    ),
    (
        ("k8s.ovn.org", "v1"),
        "UserDefinedNetwork",
        "userdefinednetworks",
        true,
    ),
    (
        ("k8s.ovn.org", "v1"),
        "ClusterUserDefinedNetwork",
        "clusteruserdefinednetworks",
        false,
    ),
];

pub async fn run(cluster: &Cluster) {
    let mut found = Vec::new();
    // The baseline is the cluster itself.
    for case in cases().into_iter().filter(|case| !case.steps().is_empty()) {
        let mut live = Live::new(cluster, &case);
        for (number, step) in case.steps().into_iter().enumerate() {
            let before = all_rows(cluster).await;
            live.apply(&step, number < case.compared).await;
            let after = all_rows(cluster).await;
            if case.compared_rows().any(|compared| compared == number) {
                held_against_the_record(cluster, &case, number, &before, &after);
            }
            if number >= case.compared {
                nothing_to_compare(&case, number, &after);
            }
        }
        found.extend(findings::all(&live).await);
        Box::pin(live.clean_up()).await;
    }
    exactly_the_documented_ones(&found);
}

async fn all_rows(cluster: &Cluster) -> Vec<Northbound> {
    futures::future::join_all(NODES.map(|name| cluster.rows(name))).await
}

fn held_against_the_record(
    cluster: &Cluster,
    case: &Case,
    number: usize,
    before: &[Northbound],
    after: &[Northbound],
) {
    let here = Placeholders::new(&cluster.ovnk.world());
    let there = Placeholders::new(&world_after(case, number + 1));
    for ((name, before), after) in NODES.into_iter().zip(before).zip(after) {
        let (expected, _) = rows::added(case, number, name);
        let mut actual = after.clone();
        actual.retain(|reference, row| {
            rows::is_recorded(reference.table) && before.get(reference) != Some(row)
        });
        let differences = diff(&there.normalise(expected), &here.normalise(actual));
        let step = format!("step {number} of {} in the zone of {name}", case.name);
        assert!(differences.is_empty(), "{step}: {differences:#?}");
    }
}

/// What is waited for must not be there, or it could be compared.
fn nothing_to_compare(case: &Case, number: usize, after: &[Northbound]) {
    if number >= case.recorded_steps() {
        return;
    }
    for (name, rows) in NODES.into_iter().zip(after) {
        let made = rows::telling(case, number, name, rows);
        let case = &case.name;
        assert!(
            made.is_empty(),
            "step {number} of {case} can be compared: {made:#?}"
        );
    }
}

fn exactly_the_documented_ones(found: &[Finding]) {
    let line = |finding: &Finding| {
        [
            finding.case.clone(),
            finding.object.clone(),
            finding.what.clone(),
            finding.difference.word().to_owned(),
        ]
    };
    let listed: BTreeSet<[String; 4]> = fidelity::table("OVN-Kubernetes annotations and events")
        .into_iter()
        .map(|cells| [0, 1, 2, 3].map(|at| cells[at].clone()))
        .collect();
    let unlisted: Vec<_> = found
        .iter()
        .filter(|f| !listed.contains(&line(f)))
        .collect();
    assert!(
        unlisted.is_empty(),
        "not in docs/fidelity.md: {unlisted:#?}"
    );
    let found: BTreeSet<_> = found.iter().map(line).collect();
    let stale: Vec<_> = listed.difference(&found).collect();
    assert!(
        stale.is_empty(),
        "in docs/fidelity.md, but not so: {stale:#?}"
    );
}
