//! The list itself, read once.

use std::sync::LazyLock;

use serde::Deserialize;
use trunkline_engine::Capabilities;

use super::{Component, ComponentName, Feature, Profile};

const TEXT: &str = include_str!("../../../../manifests/platform/components.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    profiles: Vec<ProfileEntry>,
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileEntry {
    name: Profile,
    title: String,
}

struct Lists {
    all: Vec<Component>,
    plain: Vec<Component>,
    ovn_kubernetes: Vec<Component>,
    titles: Vec<(Profile, String)>,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let options = serde_yaml::options! { legacy_octal_numbers: true };
    let catalogue: Catalogue = serde_yaml::from_str_with_options(TEXT, options)
        .unwrap_or_else(|error| panic!("the embedded components.yaml is wrong: {error}"));
    let of = |profile| {
        let in_it = |component: &&Component| component.profiles.contains(&profile);
        catalogue.components.iter().filter(in_it).cloned().collect()
    };
    Lists {
        plain: of(Profile::Plain),
        ovn_kubernetes: of(Profile::OvnKubernetes),
        titles: catalogue
            .profiles
            .into_iter()
            .map(|entry| (entry.name, entry.title))
            .collect(),
        all: catalogue.components,
    }
});

/// Every component there is.
pub fn all() -> &'static [Component] {
    &LISTS.all
}

/// Every component that a cluster of this profile can have.
pub fn profile(profile: Profile) -> &'static [Component] {
    match profile {
        Profile::Plain => &LISTS.plain,
        Profile::OvnKubernetes => &LISTS.ovn_kubernetes,
    }
}

pub fn component(name: &ComponentName) -> Option<&'static Component> {
    LISTS.all.iter().find(|component| component.name == *name)
}

impl Profile {
    /// What it is, for people.
    pub fn title(self) -> &'static str {
        LISTS
            .titles
            .iter()
            .find(|(profile, _)| *profile == self)
            .map_or("", |(_, title)| title)
    }
}

/// What a cluster of this profile has when everything it can have is installed; `workers` is what `up` makes by default.
pub fn provides(name: Profile) -> Capabilities {
    let has = |feature| {
        profile(name)
            .iter()
            .any(|component| component.provides.contains(&feature))
    };
    Capabilities {
        sdn: has(Feature::OvnKubernetes).then(|| Profile::OvnKubernetes.as_str().to_owned()),
        vms: has(Feature::Vms),
        nmstate: has(Feature::Nmstate),
        storage: has(Feature::Storage),
        network_segmentation: has(Feature::NetworkSegmentation),
        multi_network_policy: has(Feature::MultiNetworkPolicy),
        workers: crate::kind::DEFAULT_WORKERS.into(),
    }
}
