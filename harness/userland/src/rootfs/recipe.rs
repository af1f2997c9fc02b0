//! What a root file system is made of: data, embedded from `fixtures/rootfs/`.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{RootFsError, RootKind};
use crate::yaml;

/// Raised when the same recipe is to give a different tree.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Debian release, by code name.
    pub release: String,
    pub components: Vec<String>,
    pub packages: Vec<String>,
    /// Megabytes on disk while it is being built.
    pub needs_mb: u64,
    #[serde(default)]
    pub directories: Vec<String>,
    /// Patterns of paths below the root that are not wanted.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Path below the root to what it points to.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Path below the root to its text.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// A package to what else it counts as. When given, the list of what is installed is written
    /// as dpkg has it: unpacking leaves none.
    #[serde(default)]
    pub provides: BTreeMap<String, Vec<String>>,
    /// Shell lines run in the new root.
    #[serde(default)]
    pub run: Vec<String>,
    /// Shell lines that must succeed in the new root.
    #[serde(default)]
    pub check: Vec<String>,
}

impl RootKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Workload => "workload",
            Self::Launcher => "launcher",
            Self::Guest => "guest",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Lab => include_str!("../../../../fixtures/rootfs/lab.yaml"),
            Self::Workload => include_str!("../../../../fixtures/rootfs/workload.yaml"),
            Self::Launcher => include_str!("../../../../fixtures/rootfs/launcher.yaml"),
            Self::Guest => include_str!("../../../../fixtures/rootfs/guest.yaml"),
        }
    }

    /// The recipe, and the key that names everything it depends on.
    pub fn recipe(self) -> Result<(Recipe, String), RootFsError> {
        let recipe = yaml::load(self.text()).map_err(|wrong| RootFsError::Recipe {
            kind: self.name(),
            wrong,
        })?;
        Ok((recipe, key(self.text())))
    }
}

fn key(text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(FORMAT.to_be_bytes());
    hash.update(std::env::consts::ARCH);
    hash.update(text);
    let mut key = hex::encode(hash.finalize());
    key.truncate(16);
    key
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    fn recipes_are_in_order(
        #[values(RootKind::Lab, RootKind::Workload, RootKind::Launcher, RootKind::Guest)]
        kind: RootKind,
    ) {
        let (recipe, key) = kind.recipe().unwrap();
        assert!(recipe.packages.is_sorted(), "{:?}", recipe.packages);
        assert!(!recipe.check.is_empty());
        assert_eq!(key.len(), 16);
        let paths = recipe.directories.iter().chain(&recipe.remove);
        let paths = paths.chain(recipe.links.keys()).chain(recipe.files.keys());
        for path in paths {
            assert!(!path.starts_with('/') && !path.contains(".."), "{path}");
        }
    }

    #[test]
    fn the_key_follows_the_text() {
        assert_ne!(key("a"), key("b"));
        assert_eq!(key("a"), key("a"));
    }
}
