//! Making databases comparable that differ only in what was allocated: node numbers, addresses,
//! MACs, UUIDs, tunnel keys. Each becomes a placeholder that says what it is and whose.

use std::collections::BTreeMap;

use super::{Northbound, Row, RowRef, Scalar, Table, Value};
use crate::config::nth;
use crate::names::{DEFAULT_NETWORK, Key, default_port, layer2_switch, mac4, nad_port};
use crate::world::World;

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

    fn text(&mut self, needle: &impl ToString, placeholder: String) {
        self.texts.push((needle.to_string(), placeholder));
    }

    fn nodes(&mut self, world: &World) {
        for node in world.nodes.values() {
            let name = &node.name;
            self.text(&node.chassis, format!("<chassis {name}>"));
            self.text(&node.subnet, format!("<subnet {name}>"));
            self.text(&node.mac, format!("<mac {name}>"));
            let addresses = [
                ("node", node.address.addr()),
                ("gateway", node.gateway()),
                ("management", node.management()),
                ("transit", node.transit.addr()),
                ("join", world.config.join_address(node.id).addr()),
            ];
            for (what, address) in addresses {
                self.text(&address, format!("<{what} {name}>"));
                if what != "node" {
                    self.text(&mac4(address), format!("<{what} mac {name}>"));
                }
            }
            let port = RowRef::new(Table::LogicalSwitchPort, format!("tstor-{name}"));
            self.tunnel_keys.insert(port, format!("<id {name}>"));
        }
        // Never a node's, however they are numbered.
        let router = nth(world.config.join, 1);
        self.text(&router, router.to_string());
        self.text(&mac4(router), mac4(router));
    }

    fn pods(&mut self, world: &World) {
        for (key, pod) in &world.pods {
            self.text(&pod.uid, format!("<uid {key}>"));
            for (network, attachment) in &pod.networks {
                self.text(&attachment.mac, format!("<mac {key} {network}>"));
                for net in &attachment.addresses {
                    self.text(&net.addr(), format!("<ip {key} {network}>"));
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
            let switch = RowRef::new(Table::LogicalSwitch, layer2_switch(&name));
            self.tunnel_keys.insert(switch, format!("<key {name}>"));
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

    fn row(&self, reference: &RowRef, row: Row) -> Row {
        row.map_values(|_, value| match value {
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
