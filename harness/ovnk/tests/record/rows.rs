//! What steps of cases added to the Northbound databases.

use trunkline_ovnk::northbound::{Row, RowRef, Table};
use trunkline_ovnk::{Northbound, World, compile};

use super::{Case, node, step, world_after};

/// What a step of a case added to a zone: as recorded, and as we make it.
pub fn added(case: &Case, number: usize, name: &str) -> (Northbound, Northbound) {
    let before = compile(&world_after(case, number), &node(name));
    let world = world_after(case, number + 1);
    let mut after = compile(&world, &node(name));
    let recorded = step(&case.name, number, name);
    let mut expected = recorded.added;
    expected.retain(|_, row| concerns(&world, row));
    // The recorder lists changed rows apart, by column.
    for (reference, columns) in recorded.changed {
        let kept = after.get(&reference).or_else(|| before.get(&reference));
        let Some(mut row) = kept.cloned() else {
            // Another case's network again, as what is missing would have been so before.
            continue;
        };
        for (column, value) in columns.columns() {
            row.set(column, value.clone());
        }
        expected.insert(reference.table, reference.name.clone(), row);
    }
    after.retain(|reference, row| {
        is_recorded(reference.table) && before.get(reference) != Some(row)
    });
    (expected, after)
}

/// The recorder left the others out of the cases.
pub fn is_recorded(table: Table) -> bool {
    !matches!(
        table,
        Table::LoadBalancerGroup | Table::Meter | Table::MeterBand
    )
}

/// Whether a row is of a network of this case: controllers of other cases' networks reacted to
/// its namespaces too.
pub fn concerns(world: &World, row: &Row) -> bool {
    let Some(controller) = row.key("external_ids", "k8s.ovn.org/owner-controller") else {
        return true;
    };
    let network = controller.strip_suffix("-network-controller");
    network.is_none_or(|network| network == "default" || world.networks().contains_key(network))
}

/// A row that there is only because of what the case is about, not merely because there are
/// namespaces and pods on the default network.
fn is_telling(row: &RowRef, columns: &Row) -> bool {
    let key = |key: &str| columns.key("external_ids", key);
    let default = key("k8s.ovn.org/owner-controller") == Some("default-network-controller");
    let namespace = key("k8s.ovn.org/owner-type") == Some("Namespace");
    let pod = row.table == Table::LogicalSwitchPort
        && key("pod") == Some("true")
        && key("k8s.ovn.org/nad").is_none();
    !(pod || default && namespace)
}

/// The rows among these that are only there because of what a step is about.
pub fn telling(case: &Case, number: usize, name: &str, rows: &Northbound) -> Vec<String> {
    let world = world_after(case, number + 1);
    let recorded = step(&case.name, number, name).added;
    let telling = recorded
        .rows()
        .filter(|(row, columns)| is_telling(row, columns) && concerns(&world, columns));
    telling
        .filter(|(row, _)| rows.get(row).is_some())
        .map(|(row, _)| row.to_string())
        .collect()
}
