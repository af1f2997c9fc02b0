//! How every image that a scenario names is provided.

use std::collections::{BTreeMap, HashMap};

use oci_client::Reference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_yaml::Spanned;
use thiserror::Error;

use crate::images::ImageConfig;
use crate::rootfs::RootKind;
use crate::yaml::{self, Wrong};

/// The catalogue of images.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

#[derive(Debug, Error)]
#[error("{file}:{}:{}: {}", .wrong.line, .wrong.column, .wrong.message)]
pub struct CatalogueError {
    pub file: String,
    pub wrong: Wrong,
}

/// The file's text has this shape.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    images: Vec<Entry>,
}

/// One image under all its names.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called in messages and in the cache.
    #[schemars(with = "String")]
    name: Spanned<String>,
    /// Repositories, or repositories with a tag, that it stands for.
    #[schemars(with = "Vec<String>")]
    references: Vec<Spanned<String>>,
    /// The repository to pull from, where it is not the one that was asked for.
    #[schemars(with = "Option<String>")]
    pull: Option<Spanned<String>>,
    /// The tag it gets when nobody asks for another, `latest` where this is not given.
    tag: Option<String>,
    /// How it is made without a network.
    build: Option<Recipe>,
    /// Built even where images are pulled: nobody else's does what this one does.
    #[serde(default)]
    always_built: bool,
    /// What stands in for it without a network, where it is the disk of a virtual machine.
    machine: Option<Guest>,
}

/// What an image is built from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The root file system below it; none for an image that holds only programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootKind>,
    /// Absolute path to the program that lies there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, Program>,
    /// Absolute path to its text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Absolute path to what it points to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Absolute paths of directories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
    pub config: ImageConfig,
}

/// The programs of this repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    HttpServer,
    VirtLauncher,
}

/// The guests of this repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Guest {
    /// The one on the root file system `guest`.
    Debian,
}

impl Entry {
    pub fn name(&self) -> &str {
        &self.name.value
    }

    /// As the file has them.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.references
            .iter()
            .map(|reference| reference.value.as_str())
    }

    /// What it is called when nobody asks for another name: its first reference, with a tag.
    pub fn default_reference(&self) -> String {
        let first = self.references().next().unwrap_or(self.name());
        if names_a_tag(first) {
            return first.to_owned();
        }
        format!("{first}:{}", self.tag.as_deref().unwrap_or("latest"))
    }

    pub fn recipe(&self) -> Option<&Recipe> {
        self.build.as_ref()
    }

    pub fn is_always_built(&self) -> bool {
        self.always_built
    }

    pub fn guest(&self) -> Option<Guest> {
        self.machine
    }

    /// Where to pull a reference to this image from.
    pub fn source(&self, asked: &Reference) -> Option<Reference> {
        let repository: Reference = self.pull.as_ref()?.value.parse().ok()?;
        let (registry, repository) = (
            repository.registry().to_owned(),
            repository.repository().to_owned(),
        );
        Some(match (asked.tag(), asked.digest()) {
            (_, Some(digest)) => Reference::with_digest(registry, repository, digest.to_owned()),
            (Some(tag), None) => Reference::with_tag(registry, repository, tag.to_owned()),
            (None, None) => Reference::with_tag(registry, repository, "latest".to_owned()),
        })
    }

    fn covers(&self, asked: &Reference) -> bool {
        self.references.iter().any(|own| {
            let Ok(reference) = own.value.parse::<Reference>() else {
                return false;
            };
            let same_place = reference.registry() == asked.registry()
                && reference.repository() == asked.repository();
            same_place && (!names_a_tag(&own.value) || reference.tag() == asked.tag())
        })
    }
}

impl Catalogue {
    /// The one that trunkline carries inside itself.
    pub fn embedded() -> Result<Self, CatalogueError> {
        Self::parse(
            "fixtures/images.yaml",
            include_str!("../../../fixtures/images.yaml"),
        )
    }

    /// Parses a catalogue; `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, CatalogueError> {
        yaml::load::<File>(text)
            .and_then(|file| {
                check(&file.images)?;
                Ok(Self {
                    entries: file.images,
                })
            })
            .map_err(|wrong| CatalogueError {
                file: file.to_owned(),
                wrong,
            })
    }

    /// The JSON Schema of the file.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(File).to_value()
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn find(&self, reference: &Reference) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.covers(reference))
    }
}

/// What types cannot say.
fn check(entries: &[Entry]) -> Result<(), Wrong> {
    let mut names = HashMap::new();
    let mut references = HashMap::new();
    for entry in entries {
        unique(&mut names, &entry.name, "name")?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if entry.name().is_empty() || !entry.name().chars().all(plain) {
            return Err(at(
                &entry.name,
                format!(
                    "name `{}` has other characters than a-z, 0-9 and -",
                    entry.name()
                ),
            ));
        }
        for reference in entry.references.iter().chain(&entry.pull) {
            if let Err(error) = reference.value.parse::<Reference>() {
                let message = format!("`{}` is not an image reference: {error}", reference.value);
                return Err(at(reference, message));
            }
        }
        for reference in &entry.references {
            unique(&mut references, reference, "reference")?;
        }
        if let Some(pull) = entry.pull.as_ref().filter(|pull| names_a_tag(&pull.value)) {
            let message = format!("`{}` names a tag; give the repository alone", pull.value);
            return Err(at(pull, message));
        }
        if entry.build.is_none() && entry.pull.is_none() && entry.machine.is_none() {
            let message = format!(
                "image `{}` has neither `build` nor `pull` nor `machine`",
                entry.name()
            );
            return Err(at(&entry.name, message));
        }
        for path in entry.build.iter().flat_map(Recipe::paths) {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                let message = format!("path `{path}` of image `{}` is not absolute", entry.name());
                return Err(at(&entry.name, message));
            }
        }
    }
    Ok(())
}

/// `workload and http-server`
impl std::fmt::Display for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let root = self
            .root
            .map(|root| format!("the root file system {}", root.name()));
        let programs = self.programs.values().map(|program| match program {
            Program::HttpServer => "http-server".to_owned(),
            Program::VirtLauncher => "virt-launcher".to_owned(),
        });
        let files = (!self.files.is_empty()).then(|| "files".to_owned());
        let parts: Vec<_> = root.into_iter().chain(programs).chain(files).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Recipe {
    fn paths(&self) -> impl Iterator<Item = &String> {
        let keys = self.programs.keys().chain(self.files.keys());
        keys.chain(self.links.keys()).chain(&self.directories)
    }
}

fn unique<'a>(
    seen: &mut HashMap<&'a str, u64>,
    value: &'a Spanned<String>,
    what: &str,
) -> Result<(), Wrong> {
    match seen.insert(&value.value, value.referenced.line()) {
        None => Ok(()),
        Some(line) => {
            let message = format!("{what} `{}` stands in line {line} already", value.value);
            Err(at(value, message))
        }
    }
}

fn at(value: &Spanned<String>, message: String) -> Wrong {
    Wrong {
        line: value.referenced.line(),
        column: value.referenced.column(),
        message,
    }
}

/// A colon behind the last slash; one before it belongs to a port.
fn names_a_tag(reference: &str) -> bool {
    reference
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains([':', '@']))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("registry.k8s.io/e2e-test-images/agnhost:2.53", Some("agnhost"))]
    #[case("k8s.gcr.io/e2e-test-images/agnhost:2.36", Some("agnhost"))]
    #[case("busybox", Some("busybox"))]
    #[case("docker.io/library/busybox:1.37", Some("busybox"))]
    #[case("registry.k8s.io/pause:3.10", Some("pause"))]
    #[case("registry.k8s.io/pausex:3.10", None)]
    #[case("quay.io/somebody/busybox", None)]
    fn references_are_found(#[case] reference: &str, #[case] expected: Option<&str>) {
        let catalogue = Catalogue::embedded().unwrap();
        let reference = reference.parse().unwrap();
        assert_eq!(catalogue.find(&reference).map(Entry::name), expected);
    }

    #[test]
    fn a_retired_registry_is_replaced() {
        let catalogue = Catalogue::embedded().unwrap();
        let asked = "k8s.gcr.io/e2e-test-images/agnhost:2.36".parse().unwrap();
        let source = catalogue.find(&asked).unwrap().source(&asked).unwrap();
        assert_eq!(
            source.whole(),
            "registry.k8s.io/e2e-test-images/agnhost:2.36"
        );
    }

    #[rstest]
    #[case("images:\n- name: a\n  refs: [x]\n", "c.yaml:3:3: ", "refs")]
    #[case(
        "images:\n- name: a\n  references: [x]\n",
        "c.yaml:2:9: ",
        "neither `build` nor `pull` nor `machine`"
    )]
    #[case(
        "images:\n- name: a\n  references: [x]\n  pull: y\n- name: b\n  references: [x]\n  pull: y\n",
        "c.yaml:6:16: ",
        "stands in line 3 already"
    )]
    #[case(
        "images:\n- name: a\n  references: ['UPPER:x:y']\n  pull: y\n",
        "c.yaml:3:16: ",
        "not an image reference"
    )]
    #[case(
        "images:\n- name: a\n  references: [x]\n  pull: y:1\n",
        "c.yaml:4:9: ",
        "names a tag"
    )]
    #[case(
        "images:\n- name: a\n  references: [x]\n  build: {programs: {agnhost: http-server}, config: {}}\n",
        "c.yaml:2:9: ",
        "is not absolute"
    )]
    #[case("images: [\n", "c.yaml:", "")]
    fn mistakes_are_located(#[case] text: &str, #[case] place: &str, #[case] expected: &str) {
        let message = Catalogue::parse("c.yaml", text).unwrap_err().to_string();
        assert!(message.starts_with(place), "{message}");
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn the_schema_is_the_one_in_the_repository() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fixtures/images.schema.json"
        );
        let mut schema = serde_json::to_string_pretty(&Catalogue::json_schema()).unwrap();
        schema.push('\n');
        if std::env::var_os("TRUNKLINE_UPDATE").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == schema,
            "{path} is out of date; run this test with TRUNKLINE_UPDATE=1"
        );
    }
}
