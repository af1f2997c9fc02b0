//! Network numbers: every NAD of a network gets the network's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::alloc::Ids;
use crate::events::{Happening, Severity, Source, Subject};
use crate::nad::{Nad, NadError, NetConf, Topology};
use crate::names::Key;
use crate::world::World;

use super::Action;

/// Number 0 is the default network's.
const FIRST_ID: u32 = 1;
const LAST_ID: u32 = 4095;

#[derive(Debug)]
pub(super) struct Networks {
    ids: Ids<String>,
    /// The configuration that each network was made with.
    confs: HashMap<String, NetConf>,
    written: HashMap<Key, u32>,
    /// Configurations that were complained about.
    told: HashMap<Key, String>,
}

impl Networks {
    pub(super) fn new() -> Networks {
        Networks {
            ids: Ids::new(FIRST_ID, LAST_ID),
            confs: HashMap::new(),
            written: HashMap::new(),
            told: HashMap::new(),
        }
    }

    pub(super) fn forget_write(&mut self, key: &Key) {
        self.written.remove(key);
    }

    pub(super) fn reconcile(&mut self, world: &World) -> Vec<Action> {
        self.forget_gone(world);
        let mut valid: BTreeMap<&Key, (&Nad, &NetConf)> = BTreeMap::new();
        let mut actions = Vec::new();
        for (key, nad) in &world.nads {
            match &nad.conf {
                Ok(conf) => {
                    valid.insert(key, (nad, conf));
                }
                Err(NadError::NotOurs) => {}
                Err(NadError::Invalid(error)) => {
                    let message = format!("Failed to parse network config: {error}");
                    actions.extend(self.tell(key, nad, "InvalidConfig", message));
                }
            }
        }
        // Networks that exist already keep number and configuration.
        for (nad, conf) in valid.values() {
            let reserve = |id| self.ids.reserve(conf.name.clone(), id);
            if nad.network_id.is_some_and(reserve) {
                let name = conf.name.clone();
                self.confs.entry(name).or_insert_with(|| (*conf).clone());
            }
        }
        for (key, (nad, conf)) in valid {
            actions.extend(self.assign(key, nad, conf));
            if let Some(missing) = unsupported(conf) {
                actions.extend(self.tell(key, nad, "NotProgrammed", missing));
            }
        }
        actions
    }

    fn assign(&mut self, key: &Key, nad: &Nad, conf: &NetConf) -> Option<Action> {
        let known = self.confs.entry(conf.name.clone());
        let known = known.or_insert_with(|| conf.clone());
        if !known.is_compatible(conf) {
            // Upstream only logs this, so whoever uses the NAD waits in vain.
            if self.told.get(key) != Some(&nad.config) {
                self.told.insert(key.clone(), nad.config.clone());
                let network = &conf.name;
                tracing::warn!("NAD {key} CNI config does not match that of network {network}");
            }
            return None;
        }
        let id = self.ids.allocate(conf.name.clone())?;
        let annotated = nad.network_id == Some(id)
            && nad.network_name.as_deref() == Some(&conf.name)
            && nad.tunnel_keys.is_some();
        if annotated {
            self.written.remove(key);
            return None;
        }
        if self.written.get(key) == Some(&id) {
            return None;
        }
        self.written.insert(key.clone(), id);
        Some(Action::AnnotateNad {
            key: key.clone(),
            network: conf.name.clone(),
            id,
        })
    }

    /// A network goes with its last NAD; its number is free again.
    fn forget_gone(&mut self, world: &World) {
        let named: BTreeSet<&str> = world
            .nads
            .values()
            .filter_map(|nad| nad.conf.as_ref().ok())
            .map(|conf| conf.name.as_str())
            .collect();
        let gone: Vec<String> = self
            .ids
            .owners()
            .filter(|name| !named.contains(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            self.ids.release(&name);
        }
        // The last user of a configuration may change it.
        self.confs.retain(|name, conf| {
            world.nads.values().any(|nad| {
                nad.conf
                    .as_ref()
                    .is_ok_and(|other| other.name == *name && other.is_compatible(conf))
            })
        });
        self.written.retain(|key, _| world.nads.contains_key(key));
        self.told.retain(|key, _| world.nads.contains_key(key));
    }

    /// Once for each text of the configuration.
    fn tell(
        &mut self,
        key: &Key,
        nad: &Nad,
        reason: &'static str,
        message: String,
    ) -> Option<Action> {
        if self.told.get(key) == Some(&nad.config) {
            return None;
        }
        self.told.insert(key.clone(), nad.config.clone());
        let subject = Subject::Nad { key: key.clone() };
        let happening = Happening {
            source: Source::ControlPlane,
            severity: Severity::Warning,
            reason,
            message,
        };
        Some(Action::Tell(subject, happening))
    }
}

/// The lab says so where it is behind the real thing.
fn unsupported(conf: &NetConf) -> Option<String> {
    let what = match conf.topology {
        Topology::Layer2 | Topology::Layer3 if !conf.primary => return None,
        Topology::Layer2 => "primary layer2",
        Topology::Layer3 => "primary layer3",
        Topology::Localnet => "localnet",
    };
    Some(format!(
        "the lab does not program {what} networks yet; pods that want {} will not start",
        conf.name
    ))
}
