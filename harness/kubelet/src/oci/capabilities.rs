//! Which capabilities a container gets.

use std::collections::BTreeSet;

use caps::{CapSet, Capability};
use k8s_openapi::api::core::v1::Capabilities as Requested;

use super::spec::CapabilitySets;

/// Names with their `CAP_`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Capabilities(BTreeSet<String>);

/// What container runtimes give to a container that asks for nothing.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What this process can give away: some machines lack CAP_SYS_RESOURCE, and runc refuses a container that asks
/// for it there.
pub(crate) fn available() -> Result<Capabilities, caps::errors::CapsError> {
    let bounding = caps::read(None, CapSet::Bounding)?;
    let permitted = caps::read(None, CapSet::Permitted)?;
    Ok(Capabilities(
        bounding
            .intersection(&permitted)
            .map(Capability::to_string)
            .collect(),
    ))
}

impl FromIterator<String> for Capabilities {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

/// Defaults, plus what is added, minus what is dropped; all of it for privileged containers.
pub(super) fn wanted(
    requested: Option<&Requested>,
    privileged: bool,
    available: &Capabilities,
) -> Capabilities {
    if privileged {
        return available.clone();
    }
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter()
            .flatten()
            .map(|name| {
                let name = name.to_uppercase();
                if name == "ALL" || name.starts_with("CAP_") {
                    name
                } else {
                    format!("CAP_{name}")
                }
            })
            .collect()
    };
    let add = names(requested.and_then(|r| r.add.as_ref()));
    let drop = names(requested.and_then(|r| r.drop.as_ref()));
    let mut set: BTreeSet<String> = if drop.iter().any(|n| n == "ALL") {
        BTreeSet::new()
    } else {
        DEFAULT.map(str::to_owned).into()
    };
    if add.iter().any(|n| n == "ALL") {
        set.clone_from(&available.0);
    }
    set.extend(add);
    set.retain(|name| available.0.contains(name) && !drop.contains(name));
    Capabilities(set)
}

impl From<Capabilities> for CapabilitySets {
    fn from(capabilities: Capabilities) -> Self {
        let names: Vec<String> = capabilities.0.into_iter().collect();
        Self {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
        }
    }
}
