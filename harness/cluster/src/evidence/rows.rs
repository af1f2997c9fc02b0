//! Northbound rows as `ovn-nbctl --format=json` prints them, and whom an ACL belongs to. Pure.

use serde::Deserialize;
use serde_json::Value;
use trunkline_engine::events::ObjectRef;

use super::trace::AclFlow;

#[derive(Debug, Deserialize)]
pub(super) struct Table {
    headings: Vec<String>,
    data: Vec<Vec<Value>>,
}

impl Table {
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("ovn-nbctl prints no table: {error}"))
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.data.iter().map(|cells| Row {
            headings: &self.headings,
            cells,
        })
    }
}

struct Row<'t> {
    headings: &'t [String],
    cells: &'t [Value],
}

impl<'t> Row<'t> {
    fn cell(&self, name: &str) -> Option<&'t Value> {
        let index = self.headings.iter().position(|heading| heading == name)?;
        self.cells.get(index)
    }

    fn text(&self, name: &str) -> Option<&'t str> {
        self.cell(name)?.as_str()
    }

    /// `["uuid", "…"]`
    fn uuid(&self) -> Option<&'t str> {
        uuid(self.cell("_uuid")?)
    }

    fn external_id(&self, key: &str) -> Option<&'t str> {
        let pairs = self.cell("external_ids")?.get(1)?.as_array()?;
        pairs
            .iter()
            .find(|pair| pair[0].as_str() == Some(key))
            .and_then(|pair| pair[1].as_str())
    }

    /// One uuid, or `["set", [uuid, …]]`.
    fn has_port(&self, port: &str) -> bool {
        let Some(ports) = self.cell("ports") else {
            return false;
        };
        match ports.get(0).and_then(Value::as_str) {
            Some("set") => ports[1]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| uuid(one) == Some(port))),
            _ => uuid(ports) == Some(port),
        }
    }
}

fn uuid(cell: &Value) -> Option<&str> {
    (cell.get(0)?.as_str()? == "uuid").then(|| cell.get(1)?.as_str())?
}

/// Whom a drop is owed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Responsible {
    /// The ACL as its owner calls it.
    pub acl: String,
    /// The objects that made it; several where any of them would do.
    pub objects: Vec<ObjectRef>,
}

/// Finds the ACL a logical flow was made of, and its owner. A default deny belongs to a namespace and to all its policies
/// that select the port; `groups` are the port groups of policies, `ports` is the port itself.
pub(super) fn responsible(
    flow: &AclFlow,
    acls: &Table,
    groups: &Table,
    ports: &Table,
    secondary: bool,
) -> Option<Responsible> {
    let acl = acls.rows().find(|acl| {
        let priority = acl.cell("priority").and_then(Value::as_u64);
        let matched = acl.text("match").unwrap_or_default();
        acl.text("direction") == Some(flow.direction.as_str())
            && priority.map(|priority| priority + 1000) == Some(u64::from(flow.priority))
            && (flow.matched == matched || flow.matched.ends_with(&format!("({matched})")))
    })?;
    let name = acl.external_id("k8s.ovn.org/name").unwrap_or_default();
    let id = acl.external_id("k8s.ovn.org/id").unwrap_or_default();
    let kind = if secondary {
        "multinetworkpolicy"
    } else {
        "networkpolicy"
    };
    let object = |kind: &str, namespace: Option<&str>, name: &str| ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    let objects = match acl
        .external_id("k8s.ovn.org/owner-type")
        .unwrap_or_default()
    {
        "NetpolNamespace" => {
            let port = ports.rows().find_map(|port| port.uuid())?;
            let controller = acl.external_id("k8s.ovn.org/owner-controller");
            let mut policies: Vec<_> = groups
                .rows()
                .filter(|group| {
                    group.external_id("k8s.ovn.org/owner-type") == Some("NetworkPolicy")
                        && group.external_id("k8s.ovn.org/owner-controller") == controller
                        && group.has_port(port)
                })
                .filter_map(|group| group.external_id("k8s.ovn.org/name")?.split_once(':'))
                .filter(|(namespace, _)| *namespace == name)
                .map(|(namespace, policy)| object(kind, Some(namespace), policy))
                .collect();
            policies.sort();
            policies
        }
        "NetworkPolicy" => name
            .split_once(':')
            .map(|(namespace, policy)| object(kind, Some(namespace), policy))
            .into_iter()
            .collect(),
        "EgressFirewall" => vec![object("egressfirewall", Some(name), "default")],
        "AdminNetworkPolicy" => vec![object("adminnetworkpolicy", None, name)],
        "BaselineAdminNetworkPolicy" => vec![object("baselineadminnetworkpolicy", None, name)],
        _ => Vec::new(),
    };
    Some(Responsible {
        acl: id.to_owned(),
        objects,
    })
}
