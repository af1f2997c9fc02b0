//! Manifests: plain Kubernetes YAML, every object and field with its place.

use std::collections::HashMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use indexmap::IndexMap;
use serde_json::Value;

use crate::diagnostic::{Code, Diagnostic};
use crate::node::{self, Kind, Node};
use crate::span::{Located, SourceFile, Span};
use crate::traps;

/// The manifests of a scenario by the path its steps use.
#[derive(Debug, Default)]
pub struct Manifests {
    files: IndexMap<Utf8PathBuf, Arc<Manifest>>,
}

impl Manifests {
    pub(crate) fn insert(&mut self, path: Utf8PathBuf, manifest: Arc<Manifest>) {
        self.files.insert(path, manifest);
    }

    pub fn get(&self, path: &Utf8Path) -> Option<&Arc<Manifest>> {
        self.files.get(path)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Utf8Path, &Arc<Manifest>)> {
        self.files.iter().map(|(path, file)| (path.as_path(), file))
    }
}

/// One file of objects.
#[derive(Debug)]
pub struct Manifest {
    pub source: Arc<SourceFile>,
    pub objects: Vec<ManifestObject>,
}

/// One object of a manifest.
#[derive(Debug)]
pub struct ManifestObject {
    /// As it goes to the API.
    pub value: Value,
    pub(crate) node: Node,
}

impl ManifestObject {
    /// Where the object begins.
    pub fn at(&self) -> &Span {
        &self.node.at
    }

    /// Where a field is written, or the closest parent that is: `spec.containers[0].image`.
    pub fn locate(&self, path: &str) -> Span {
        self.node.locate(path)
    }

    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or("")
    }

    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or("")
    }

    /// As the manifest says it.
    pub fn namespace(&self) -> Option<&str> {
        self.value["metadata"]["namespace"].as_str()
    }
}

type Outcome = (Option<Arc<Manifest>>, Vec<Diagnostic>);

/// Reads each manifest once, however many scenarios use it.
#[derive(Debug, Default)]
pub(crate) struct Library {
    read: HashMap<Utf8PathBuf, Outcome>,
}

impl Library {
    /// The manifest that a step calls `path`, and what is wrong with it.
    pub(crate) fn manifest(&mut self, path: &Located<Utf8PathBuf>) -> Outcome {
        let Some(file) = find(path.at.path(), path) else {
            return (None, vec![missing(path)]);
        };
        self.read
            .entry(file.clone())
            .or_insert_with(|| read(&file, &path.at))
            .clone()
    }
}

/// Beside the scenario, else below the `manifests` directory next to the scenario or further up.
fn find(scenario: &Utf8Path, path: &Utf8Path) -> Option<Utf8PathBuf> {
    let beside = scenario.parent().unwrap_or(Utf8Path::new("")).join(path);
    if beside.is_file() {
        return Some(beside);
    }
    roots(scenario)
        .map(|root| root.join(path))
        .find(|candidate| candidate.is_file())
}

/// Directories called `manifests`, the closest first.
fn roots(scenario: &Utf8Path) -> impl Iterator<Item = Utf8PathBuf> {
    let written: Vec<Utf8PathBuf> = scenario
        .ancestors()
        .skip(1)
        .map(Utf8Path::to_owned)
        .collect();
    // a relative path ends at the working directory; the project may begin further up
    let above = match camino::absolute_utf8(".") {
        Ok(here) if !scenario.is_absolute() => (1..here.components().count())
            .map(|levels| Utf8PathBuf::from(vec![".."; levels].join("/")))
            .collect(),
        _ => Vec::new(),
    };
    written
        .into_iter()
        .chain(above)
        .map(|directory| directory.join("manifests"))
        .filter(|directory| directory.is_dir())
}

fn missing(path: &Located<Utf8PathBuf>) -> Diagnostic {
    let scenario = path.at.path();
    let beside = scenario
        .parent()
        .unwrap_or(Utf8Path::new(""))
        .join(&path.value);
    let below = roots(scenario).next().map(|root| root.join(&path.value));
    let name = path.file_name().unwrap_or("");
    let near = [Some(beside.clone()), below.clone()]
        .into_iter()
        .flatten()
        .find_map(|place| similar(place.parent()?, name));
    let error = Diagnostic::error(
        Code::MissingManifest,
        &path.at,
        format!("there is no manifest `{}`", path.value),
    );
    match (near, below) {
        (Some(near), _) => error.help(format!("did you mean `{near}`?")),
        (None, Some(below)) => error.help(format!("put it at {beside} or {below}")),
        (None, None) => error.help(format!(
            "put it at {beside}, or into a directory `manifests` above it"
        )),
    }
}

fn similar(directory: &Utf8Path, name: &str) -> Option<String> {
    let names: Vec<String> = directory
        .read_dir_utf8()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_owned()))
        .collect();
    crate::suggest::closest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

fn read(file: &Utf8Path, wanted_at: &Span) -> Outcome {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            return (
                None,
                vec![
                    Diagnostic::error(
                        Code::Unreadable,
                        wanted_at,
                        format!("cannot read {file}: {error}"),
                    )
                    .help("make it a readable file of UTF-8 text"),
                ],
            );
        }
    };
    parse(&SourceFile::new(file, text))
}

/// Every object of a manifest, and what is wrong with it. There is no manifest when there are errors.
pub(crate) fn parse(source: &Arc<SourceFile>) -> Outcome {
    let documents = match node::parse(source) {
        Ok(documents) => documents,
        Err(errors) => return (None, errors),
    };
    let mut found = traps::find(&documents);
    let objects: Vec<ManifestObject> = documents
        .into_iter()
        .flat_map(items)
        .filter_map(|node| object(node, &mut found))
        .collect();
    if objects.is_empty() && found.is_empty() {
        found.push(
            Diagnostic::error(
                Code::BadManifest,
                &Span::start_of(source),
                "this manifest holds no object",
            )
            .help("write at least one Kubernetes object"),
        );
    }
    let sound = !found.iter().any(Diagnostic::is_error);
    let manifest = Manifest {
        source: Arc::clone(source),
        objects,
    };
    (sound.then(|| Arc::new(manifest)), found)
}

/// The items of a `List`, else the document itself.
fn items(node: Node) -> Vec<Node> {
    let is_list =
        matches!(node.get("kind"), Some(Node { kind: Kind::Text(kind), .. }) if kind == "List");
    if is_list
        && let Some(Node {
            kind: Kind::List(items),
            ..
        }) = node.get("items")
    {
        return items.clone();
    }
    vec![node]
}

fn object(node: Node, found: &mut Vec<Diagnostic>) -> Option<ManifestObject> {
    let bad = |at: &Span, message: String| Diagnostic::error(Code::BadManifest, at, message);
    if !matches!(node.kind, Kind::Map(_)) {
        let message = format!(
            "this document is {}, not a Kubernetes object",
            node.describe()
        );
        found.push(bad(&node.at, message).help("begin with `apiVersion`, `kind` and `metadata`"));
        return None;
    }
    let first_line = node
        .at
        .part(0..node.at.text().find('\n').unwrap_or(usize::MAX / 2));
    for (key, example) in [
        ("apiVersion", "v1"),
        ("kind", "Pod"),
        ("metadata", "{name: …}"),
    ] {
        match node.get(key) {
            None => {
                let message = format!("this object has no `{key}`");
                found.push(bad(&first_line, message).help(format!("write `{key}: {example}`")));
                return None;
            }
            Some(value) if key != "metadata" && !matches!(value.kind, Kind::Text(_)) => {
                let message = format!("`{key}` is text, not {}", value.describe());
                found.push(bad(&value.at, message).help(format!("write `{key}: {example}`")));
                return None;
            }
            Some(_) => {}
        }
    }
    if let Some(Node {
        kind: Kind::Text(version),
        at,
    }) = node.get("apiVersion")
        && version.starts_with("trunkline.dev/")
    {
        found.push(
            bad(at, "this is a scenario, not a Kubernetes object".to_owned()).help(
                "name the manifest; one beside the scenario comes before one below `manifests/`",
            ),
        );
        return None;
    }
    let metadata = node.get("metadata")?;
    match metadata.get("name").map(|name| (&name.kind, &name.at)) {
        Some((Kind::Text(_), _)) => {}
        Some((_, at)) => {
            found.push(
                bad(at, "the name of an object is text".to_owned())
                    .help(format!("quote it: `\"{}\"`", at.text())),
            );
            return None;
        }
        None => {
            found.push(
                bad(&metadata.at, "this object has no name".to_owned())
                    .help("write `metadata: {name: …}`; what is applied cannot use `generateName`"),
            );
            return None;
        }
    }
    for key in ["resourceVersion", "uid", "creationTimestamp"] {
        if let Kind::Map(entries) = &metadata.kind
            && let Some(entry) = entries.iter().find(|entry| entry.key.value == key)
            && !matches!(entry.value.kind, Kind::Null)
        {
            found.push(
                Diagnostic::warning(
                    Code::BadManifest,
                    &entry.key.at,
                    format!("`{key}` belongs to one object of one cluster"),
                )
                .help("leave it out; creating the object elsewhere is refused or ignores it"),
            );
        }
    }
    Some(ManifestObject {
        value: node.to_json(),
        node,
    })
}
