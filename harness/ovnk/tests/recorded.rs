//! The rows that we make, held against the rows of a real cluster.
#![allow(clippy::unwrap_used)]

mod record;

use std::collections::BTreeSet;

use record::{NODES, baseline, baseline_world, case_world, empty_world, node, read, step};
use trunkline_ovnk::northbound::{Difference, Placeholders, RowRef, Table};
use trunkline_ovnk::{Northbound, World, compile, diff};

/// One line of the table in `docs/fidelity.md`.
#[derive(Debug)]
struct Known {
    table: String,
    /// What the row's id or name begins with.
    row: String,
    difference: String,
}

/// The section "OVN-Kubernetes rows".
fn known() -> Vec<Known> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fidelity.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("## OVN-Kubernetes rows").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let code = |cell: &str| cell.trim_matches('`').to_owned();
            Known {
                table: code(cells[0]),
                row: code(cells[1]),
                difference: cells[2].to_owned(),
            }
        })
        .collect()
}

impl Known {
    fn matches(&self, difference: &Difference, id: &str) -> bool {
        let what = match difference {
            Difference::Missing(_) => "missing".to_owned(),
            Difference::Unexpected(_) => "additional".to_owned(),
            Difference::Column { column, .. } => format!("column `{column}`"),
        };
        self.table == difference.row().table.as_str()
            && id.starts_with(&self.row)
            && self.difference == what
    }
}

/// The id that the owner gave the row, which says more than a hash.
fn id(difference: &Difference, rows: [&Northbound; 2]) -> String {
    let reference = difference.row();
    let row = rows.into_iter().find_map(|rows| rows.get(reference));
    row.and_then(|row| row.key("external_ids", "k8s.ovn.org/id"))
        .unwrap_or(&reference.name)
        .to_owned()
}

/// All differences of the baseline and of what the cases add to it.
fn differences() -> Vec<(String, Difference)> {
    let mut found = Vec::new();
    for name in NODES {
        let (expected, actual) = (baseline(name), compile(&baseline_world(), &node(name)));
        for difference in diff(&expected, &actual) {
            found.push((id(&difference, [&expected, &actual]), difference));
        }
        for (case, number) in [("01-overlay-ipam", 0), ("02-overlay-noipam-static", 0)] {
            let (expected, actual) = added(case, number, name);
            for difference in diff(&expected, &actual) {
                found.push((id(&difference, [&expected, &actual]), difference));
            }
        }
    }
    found
}

/// What a case added to a zone: as recorded, and as we make it.
fn added(case: &str, number: usize, name: &str) -> (Northbound, Northbound) {
    let before = compile(&empty_world(), &node(name));
    let mut after = compile(&case_world(case), &node(name));
    let recorded = step(case, number, name);
    // The recorder lists changed rows apart, by column.
    let mut expected = recorded.added;
    for (reference, columns) in recorded.changed {
        let kept = before
            .get(&reference)
            .or_else(|| after.get(&reference))
            .cloned();
        let mut row = kept.unwrap_or_default();
        for (column, value) in columns.columns() {
            row.set(column, value.clone());
        }
        expected.insert(reference.table, reference.name.clone(), row);
    }
    after.retain(|reference, row| {
        // The recorder left these out of the cases.
        !matches!(
            reference.table,
            Table::LoadBalancerGroup | Table::Meter | Table::MeterBand
        ) && before.get(reference) != Some(row)
    });
    (expected, after)
}

#[test]
fn differences_are_exactly_the_documented_ones() {
    let known = known();
    let mut seen = BTreeSet::new();
    let mut unknown = Vec::new();
    for (id, difference) in differences() {
        match known
            .iter()
            .position(|known| known.matches(&difference, &id))
        {
            Some(line) => {
                seen.insert(line);
            }
            None => unknown.push(format!("{difference}   [{id}]")),
        }
    }
    assert!(
        unknown.is_empty(),
        "not in docs/fidelity.md:\n{}",
        unknown.join("\n")
    );
    let stale: Vec<_> = known
        .iter()
        .enumerate()
        .filter(|(line, _)| !seen.contains(line))
        .collect();
    assert!(
        stale.is_empty(),
        "in docs/fidelity.md, but not so: {stale:?}"
    );
}

/// So that nothing is left out by not being known.
#[test]
fn tables_that_are_not_compared() {
    for name in NODES {
        let json = read("00-baseline", &format!("nb-{name}.json"));
        let unknown: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .filter(|table| Table::parse(table).is_none())
            .collect();
        // A virtual machine of another case; services, which are not programmed yet; counters and
        // options that OVN and the installation write.
        assert_eq!(unknown, ["DHCP_Options", "Load_Balancer", "NB_Global"]);
    }
}

#[test]
fn columns_that_are_not_compared() {
    let mut unknown = BTreeSet::new();
    for name in NODES {
        for file in [
            ("00-baseline", format!("nb-{name}.json")),
            ("01-overlay-ipam", format!("step0-nb-{name}.json")),
            ("02-overlay-noipam-static", format!("step0-nb-{name}.json")),
        ] {
            let json = read(file.0, &file.1);
            for (table, rows) in json.as_object().unwrap() {
                let Some(table) = Table::parse(table) else {
                    continue;
                };
                for row in rows.as_object().unwrap().values() {
                    let row = row.as_array().map_or(row, |rows| &rows[0]);
                    for column in row.as_object().unwrap().keys() {
                        if table.column(column).is_none() {
                            unknown.insert(format!("{}.{column}", table.as_str()));
                        }
                    }
                }
            }
        }
    }
    // The last two are OVN's own; the others belong to services.
    assert_eq!(
        unknown.into_iter().collect::<Vec<_>>(),
        [
            "Load_Balancer_Group.load_balancer",
            "Logical_Router.load_balancer",
            "Logical_Router_Port.status",
            "Logical_Switch.load_balancer",
            "Logical_Switch_Port.up",
        ]
    );
}

/// Worlds that differ only in what was allocated have the same rows after normalising.
#[test]
fn numbers_do_not_matter() {
    let world = case_world("01-overlay-ipam");
    let other = renumbered(&world);
    for name in NODES {
        let rows = |world: &World| {
            let rows = compile(world, &node(name));
            Placeholders::new(world).normalise(rows)
        };
        assert_ne!(compile(&world, &node(name)), compile(&other, &node(name)));
        let differences = diff(&rows(&world), &rows(&other));
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

fn renumbered(world: &World) -> World {
    let mut other = world.clone();
    for node in other.nodes.values_mut() {
        let node = std::sync::Arc::make_mut(node);
        node.id += 5;
        node.chassis = node.chassis.chars().rev().collect();
        let [a, b, c, d] = node.subnet.addr().octets();
        node.subnet = format!("{a}.{b}.{}.{d}/24", c + 7).parse().unwrap();
        node.transit = format!("100.88.0.{}/16", node.id).parse().unwrap();
        let [.., last] = node.address.addr().octets();
        node.address = format!("172.18.0.{}/16", last + 10).parse().unwrap();
        node.mac = format!("02:42:ac:12:00:{:02x}", last + 10).parse().unwrap();
    }
    for pod in other.pods.values_mut() {
        let pod = std::sync::Arc::make_mut(pod);
        pod.uid = pod.uid.chars().rev().collect();
        for attachment in pod.networks.values_mut() {
            for net in &mut attachment.addresses {
                let text = net.to_string();
                let (head, tail) = text.rsplit_once('.').unwrap();
                let (host, prefix) = tail.split_once('/').unwrap();
                let host: u8 = host.parse().unwrap();
                *net = format!("{head}.{}/{prefix}", host + 50).parse().unwrap();
                attachment.mac = trunkline_ovnk::mac_of(net.addr());
            }
            attachment.tunnel_id = attachment.tunnel_id.map(|id| id + 9);
        }
    }
    for nad in other.nads.values_mut() {
        let nad = std::sync::Arc::make_mut(nad);
        nad.network_id = nad.network_id.map(|id| id + 4);
    }
    other
}

#[test]
fn every_name_is_canonical_and_every_reference_leads_somewhere() {
    let world = case_world("01-overlay-ipam");
    let rows = compile(&world, &node("lab-worker"));
    for (reference, row) in rows.rows() {
        for (column, value) in row.columns() {
            assert!(
                reference.table.column(column).is_some(),
                "{reference} has a column {column} that is not written"
            );
            for child in value.references() {
                assert!(
                    rows.get(child).is_some(),
                    "{reference} {column} refers to {child}"
                );
            }
        }
    }
    assert!(
        rows.get(&RowRef::new(Table::LogicalSwitch, "lab-worker"))
            .is_some()
    );
}

#[test]
fn a_zone_without_annotations_has_no_rows() {
    assert!(compile(&World::default(), &node("lab-worker")).is_empty());
}
