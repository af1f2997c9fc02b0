//! Readable, unique names for rows, computed from what the rows say. Rows that come from a
//! database have UUIDs, recorded rows have the recorder's names; both end up with these.

use std::collections::BTreeMap;

use super::{Northbound, Row, RowRef, Scalar, Table};

/// Names of rows that have none of their own. The owner comes first: different routers may have
/// the same route.
pub(crate) mod name {
    pub(crate) fn route(router: &str, prefix: &str, next_hop: &str) -> String {
        format!("{router} route {prefix} via {next_hop}")
    }

    pub(crate) fn policy(router: &str, priority: &str, matching: &str) -> String {
        format!("{router} policy {priority} {matching}")
    }

    pub(crate) fn nat(router: &str, kind: &str, logical_ip: &str) -> String {
        format!("{router} {kind} {logical_ip}")
    }

    pub(crate) fn qos(switch: &str, id: &str) -> String {
        format!("{switch} {id}")
    }

    pub(crate) fn mac_binding(port: &str, ip: &str) -> String {
        format!("{port} {ip}")
    }

    pub(crate) fn variables(chassis: &str) -> String {
        format!("chassis {chassis}")
    }

    pub(crate) fn band(meter: &str) -> String {
        format!("{meter} band")
    }
}

/// Gives every row its canonical name and rewrites the references. Rows that would get the name
/// of another keep both apart with a number. Returns where each row went.
pub(crate) fn canonicalise(raw: Northbound) -> (Northbound, BTreeMap<RowRef, RowRef>) {
    let mut owners: BTreeMap<RowRef, String> = BTreeMap::new();
    for (reference, row) in raw.rows() {
        let owner = row.str("name").unwrap_or(&reference.name).to_owned();
        for (_, value) in row.columns() {
            for child in value.references() {
                owners.entry(child.clone()).or_insert_with(|| owner.clone());
            }
        }
    }
    let mut renamed: BTreeMap<RowRef, RowRef> = BTreeMap::new();
    let mut taken: BTreeMap<RowRef, usize> = BTreeMap::new();
    for (reference, row) in raw.rows() {
        let owner = owners.get(reference).map_or("", String::as_str);
        let name = name_of(reference, row, owner);
        let mut target = RowRef::new(reference.table, name);
        let count = taken.entry(target.clone()).or_default();
        *count += 1;
        if *count > 1 {
            target.name = format!("{} #{count}", target.name);
        }
        renamed.insert(reference.clone(), target);
    }
    let rows = raw
        .into_iter()
        .map(|(reference, row)| {
            let row = row.map_values(|_, value| {
                value.map_scalars(|scalar| match scalar {
                    Scalar::Row(child) => {
                        Scalar::Row(renamed.get(&child).cloned().unwrap_or(child))
                    }
                    other => other,
                })
            });
            (renamed[&reference].clone(), row)
        })
        .collect();
    (rows, renamed)
}

fn name_of(reference: &RowRef, row: &Row, owner: &str) -> String {
    let text = |column: &str| row.str(column).unwrap_or_default();
    let number = |column: &str| match row.get(column) {
        Some(value) => value.to_string().trim_matches(['[', ']']).to_owned(),
        None => "0".to_owned(),
    };
    let id = row.key("external_ids", "k8s.ovn.org/id");
    match reference.table {
        Table::Acl => id.map_or_else(
            || {
                format!(
                    "{owner} {} {} {}",
                    text("direction"),
                    number("priority"),
                    text("match")
                )
            },
            str::to_owned,
        ),
        Table::Qos => name::qos(owner, id.unwrap_or(&reference.name)),
        Table::LogicalRouterStaticRoute => name::route(owner, text("ip_prefix"), text("nexthop")),
        Table::LogicalRouterPolicy => name::policy(owner, &number("priority"), text("match")),
        Table::Nat => name::nat(owner, text("type"), text("logical_ip")),
        Table::StaticMacBinding => name::mac_binding(text("logical_port"), text("ip")),
        Table::MeterBand => name::band(owner),
        Table::ChassisTemplateVar => name::variables(text("chassis")),
        _ => row.str("name").unwrap_or(&reference.name).to_owned(),
    }
}
