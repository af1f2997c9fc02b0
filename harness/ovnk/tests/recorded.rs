//! The rows that we make, held against the rows of a real cluster.
#![allow(clippy::unwrap_used)]

mod record;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;
use record::cases::folders;
use record::{
    NODES, baseline, baseline_world, case_world, cases, fidelity, node, read, restore, rows,
    world_after,
};
use serde_json::Value;
use trunkline_ovnk::northbound::{Difference, Placeholders, RowRef, Table};
use trunkline_ovnk::{ClusterConfig, Node, Northbound, World, compile, diff};

/// One line of the table in `docs/fidelity.md`.
#[derive(Debug)]
struct Known {
    table: String,
    /// What the row's id or name begins with.
    row: String,
    difference: String,
}

fn known() -> Vec<Known> {
    let lines = fidelity::table("OVN-Kubernetes rows").into_iter();
    lines
        .map(|mut cells| Known {
            difference: cells.remove(2),
            row: cells.remove(1),
            table: cells.remove(0),
        })
        .collect()
}

impl Known {
    fn matches(&self, difference: &Difference, id: &str) -> bool {
        let what = match difference {
            Difference::Missing(_) => "missing".to_owned(),
            Difference::Unexpected(_) => "additional".to_owned(),
            Difference::Column { column, .. } => format!("column {column}"),
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
        for case in cases() {
            for number in case.compared_rows() {
                let (expected, actual) = rows::added(&case, number, name);
                for difference in diff(&expected, &actual) {
                    let id = id(&difference, [&expected, &actual]);
                    found.push((format!("{id}   in {} {number}", case.name), difference));
                }
            }
        }
    }
    found
}

#[test]
fn every_case_is_listed_once_and_waits_for_something_or_for_nothing() {
    let listed: Vec<_> = cases().into_iter().map(|case| case.name).collect();
    let folders: Vec<_> = folders().into_iter().collect();
    assert_eq!(listed, folders);
    for case in cases() {
        let steps = case.steps().len();
        let left = case.compared < steps;
        let name = &case.name;
        assert_eq!(case.waits.is_some(), left, "{name} has {steps} steps");
        if let Some(waits) = &case.waits {
            assert!(!waits.is_empty(), "{name}");
        }
    }
}

/// What a waiting step is about must not be there: else it could be compared.
#[test]
fn what_waits_is_not_there_yet() {
    for case in cases() {
        for number in case.compared..case.recorded_steps() {
            let world = world_after(&case, number + 1);
            for name in NODES {
                let made = rows::telling(&case, number, name, &compile(&world, &node(name)));
                assert!(
                    made.is_empty(),
                    "step {number} of {} waits for {:?}, but {name} has {made:#?}; compare it",
                    case.name,
                    case.waits
                );
            }
        }
    }
}

/// A case that is compared would not get through as one that waits.
#[test]
fn what_is_there_is_noticed() {
    for (name, number) in [("01-overlay-ipam", 0), ("12-udn-l2-secondary-dual", 1)] {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let rows = compile(&world_after(&case, number + 1), &node("lab-worker2"));
        assert!(!rows::telling(&case, number, "lab-worker2", &rows).is_empty());
    }
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

#[test]
fn nodes_are_annotated_as_recorded() {
    let objects = read("00-baseline", "objects.json");
    let ovn = |(key, value): (&str, &str)| {
        let json = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        key.starts_with("k8s.ovn.org/")
            .then(|| (key.to_owned(), json))
    };
    for recorded in objects["nodes"].as_array().unwrap() {
        let recorded: core::Node = serde_json::from_value(restore(recorded)).unwrap();
        let written = recorded.metadata.annotations.iter().flatten();
        let expected: BTreeMap<String, Value> = written
            .filter_map(|(key, value)| ovn((key, value)))
            .collect();
        let node = Node::observed(&recorded).unwrap();
        let made = node.annotate(&ClusterConfig::default());
        let actual: BTreeMap<String, Value> = made
            .iter()
            .filter_map(|(key, value)| ovn((key, value)))
            .collect();
        assert_eq!(actual, expected);
        let imitates = &made["lab.trunkline.dev/imitates"];
        assert_eq!(imitates, "OVN-Kubernetes 1.2.0, Multus 4.2.3");
    }
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
        // A virtual machine of another case; counters and options that OVN and the installation
        // write.
        assert_eq!(unknown, ["DHCP_Options", "NB_Global"]);
    }
}

#[test]
fn columns_that_are_not_compared() {
    let mut unknown = BTreeSet::new();
    for name in NODES {
        let mut files = vec![read("00-baseline", &format!("nb-{name}.json"))];
        for case in cases() {
            for number in case.compared_rows() {
                files.push(read(&case.name, &format!("step{number}-nb-{name}.json")));
            }
        }
        for json in files {
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
    // OVN's own.
    assert_eq!(
        unknown.into_iter().collect::<Vec<_>>(),
        ["Logical_Router_Port.status", "Logical_Switch_Port.up",]
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
