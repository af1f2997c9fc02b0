//! Making databases comparable that differ only in what was allocated: node numbers, addresses,
//! MACs, UUIDs, tunnel keys. Each becomes a placeholder that says what it is and whose.

use std::collections::BTreeMap;

use super::{Northbound, Row, RowRef, Scalar, Table, Value};
use crate::config::{nth, nth_of};
use crate::names::{
    DEFAULT_NETWORK, Key, TRANSIT_SWITCH, default_port, layer2_switch, mac_of, mac4, nad_port,
    prefix,
};
use crate::world::{Node, World};

/// What stands for what in the databases of one world.
#[derive(Debug, Clone, Default)]
pub struct Placeholders {
    /// Longest first, so that no needle hides in another.
    texts: Vec<(String, String)>,
    /// Values of `requested-tnl-key`, by row.
    tunnel_keys: BTreeMap<RowRef, String>,
}

impl Placeholders {
    /// Placeholders for all that was allocated in this world.
    pub fn new(world: &World) -> Placeholders {
        let mut placeholders = Placeholders::default();
        placeholders.nodes(world);
        placeholders.pods(world);
        placeholders.networks(world);
        placeholders
            .texts
            .sort_by_key(|(needle, _)| (std::cmp::Reverse(needle.len()), needle.clone()));
        placeholders
    }

    fn stands_for(&mut self, needle: &impl ToString, placeholder: String) {
        let needle = needle.to_string();
        if !needle.is_empty() {
            self.texts.push((needle, placeholder));
        }
    }

    fn nodes(&mut self, world: &World) {
        for node in world.nodes.values() {
            let name = &node.name;
            self.stands_for(&node.chassis, format!("<chassis {name}>"));
            self.stands_for(&node.subnet, format!("<subnet {name}>"));
            self.stands_for(&node.mac, format!("<mac {name}>"));
            let addresses = [
                ("node", node.address.addr()),
                ("gateway", node.gateway()),
                ("management", node.management()),
                ("transit", node.transit.addr()),
                ("join", world.config.join_address(node.id).addr()),
            ];
            for (what, address) in addresses {
                self.stands_for(&address, format!("<{what} {name}>"));
                if what != "node" {
                    self.stands_for(&mac4(address), format!("<{what} mac {name}>"));
                }
            }
            let networks = node.shares.keys().map(|network| prefix(network));
            for prefix in networks.chain([String::new()]) {
                let port = RowRef::new(Table::LogicalSwitchPort, format!("{prefix}tstor-{name}"));
                self.tunnel_keys.insert(port, format!("<id {name}>"));
            }
            self.shares(node);
        }
        // Never a node's, however they are numbered.
        let router = nth(world.config.join, 1);
        self.stands_for(&router, router.to_string());
        self.stands_for(&mac4(router), mac4(router));
    }

    fn shares(&mut self, node: &Node) {
        let name = &node.name;
        for (network, share) in &node.shares {
            for (net, at) in share.iter().zip(1..) {
                self.stands_for(net, format!("<subnet {at} {name} {network}>"));
                for (what, n) in [("gateway", 1), ("management", 2)] {
                    let address = nth_of(net, n);
                    self.stands_for(&address, format!("<{what} {at} {name} {network}>"));
                    let mac = format!("<{what} mac {at} {name} {network}>");
                    self.stands_for(&mac_of(address), mac);
                }
            }
        }
    }

    fn pods(&mut self, world: &World) {
        for (key, pod) in &world.pods {
            self.stands_for(&pod.uid, format!("<uid {key}>"));
            for (network, attachment) in &pod.networks {
                self.stands_for(&attachment.mac, format!("<mac {key} {network}>"));
                for net in &attachment.addresses {
                    self.stands_for(&net.addr(), format!("<ip {key} {network}>"));
                }
                let port = match Key::parse(network) {
                    Some(nad) => nad_port(&nad, key),
                    None if network == DEFAULT_NETWORK => default_port(key),
                    None => continue,
                };
                let port = RowRef::new(Table::LogicalSwitchPort, port);
                self.tunnel_keys
                    .insert(port, format!("<tunnel {key} {network}>"));
            }
        }
    }

    fn networks(&mut self, world: &World) {
        for name in world.networks().into_keys() {
            let transit = format!("{}{TRANSIT_SWITCH}", prefix(&name));
            for switch in [layer2_switch(&name), transit] {
                let switch = RowRef::new(Table::LogicalSwitch, switch);
                self.tunnel_keys.insert(switch, format!("<key {name}>"));
            }
        }
    }

    /// The rows with placeholders instead of what was allocated.
    pub fn normalise(&self, rows: Northbound) -> Northbound {
        rows.into_iter()
            .map(|(reference, row)| {
                let row = self.row(&reference, row);
                (self.reference(&reference), row)
            })
            .collect()
    }

    /// Any text with placeholders instead of what was allocated.
    pub fn text(&self, text: &str) -> String {
        self.replace(text)
    }

    fn row(&self, reference: &RowRef, row: Row) -> Row {
        row.map_values(|column, value| match value {
            Value::Map(map) if column == "vips" => Value::Map(
                map.into_iter()
                    .map(|(vip, targets)| (self.replace(&vip), self.targets(targets)))
                    .collect(),
            ),
            Value::Map(mut map) => {
                if let (Some(key), Some(placeholder)) = (
                    map.get_mut("requested-tnl-key"),
                    self.tunnel_keys.get(reference),
                ) {
                    *key = Scalar::String(placeholder.clone());
                }
                Value::Map(map).map_scalars(|scalar| self.scalar(scalar))
            }
            set @ Value::Set(_) => set.map_scalars(|scalar| self.scalar(scalar)),
        })
    }

    fn scalar(&self, scalar: Scalar) -> Scalar {
        match scalar {
            Scalar::String(text) => Scalar::String(self.replace(&text)),
            Scalar::Row(reference) => Scalar::Row(self.reference(&reference)),
            other => other,
        }
    }

    /// Addresses are in the order of their text, placeholders in the order of theirs.
    fn targets(&self, targets: Scalar) -> Scalar {
        match self.scalar(targets) {
            Scalar::String(text) => {
                let mut targets: Vec<_> = text.split(',').collect();
                targets.sort_unstable();
                Scalar::String(targets.join(","))
            }
            other => other,
        }
    }

    fn reference(&self, reference: &RowRef) -> RowRef {
        RowRef::new(reference.table, self.replace(&reference.name))
    }

    /// One pass from left to right, the longest needle wins; a needle counts only where it is
    /// not part of a longer word, number or address.
    fn replace(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(first) = rest.chars().next() {
            let found = self.texts.iter().find(|(needle, _)| {
                rest.strip_prefix(needle.as_str()).is_some_and(|after| {
                    !joins(before, needle.chars().next())
                        && !joins(needle.chars().next_back(), after.chars().next())
                })
            });
            if let Some((needle, placeholder)) = found {
                out.push_str(placeholder);
                rest = &rest[needle.len()..];
                before = needle.chars().next_back();
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                before = Some(first);
            }
        }
        out
    }
}

/// Whether two neighbouring characters belong to the same word.
fn joins(left: Option<char>, right: Option<char>) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    matches!((left, right), (Some(l), Some(r)) if part(l) && part(r))
}

#[cfg(test)]
mod tests {
    use super::Placeholders;

    #[test]
    fn whole_words_only_and_the_longest_first() {
        let placeholders = Placeholders {
            texts: vec![
                ("10.244.0.0/24".to_owned(), "<subnet>".to_owned()),
                ("10.244.0.2".to_owned(), "<two>".to_owned()),
            ],
            ..Placeholders::default()
        };
        assert_eq!(
            placeholders.replace(
                "10.244.0.2 10.244.0.21 10.244.0.2/24 110.244.0.2 10.244.0.0/24 x:10.244.0.2"
            ),
            "<two> 10.244.0.21 <two>/24 110.244.0.2 <subnet> x:<two>"
        );
    }
}
