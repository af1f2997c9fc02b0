//! Loading: files and directories in, scenarios and everything that is wrong with them out.

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::lint;
use crate::manifest::{Library, Manifests};
use crate::model::{Action, Scenario, Scope, Target};
use crate::node::{self, Kind, Node};
use crate::parameters;
use crate::read;
use crate::span::{Located, SourceFile, Span};

/// Every scenario of the given files and directories, each case by itself.
#[derive(Debug, Default)]
pub struct Suite {
    /// In the order of the paths, then of the file, then of the parameters. Scenarios with errors are
    /// not among them.
    pub scenarios: Vec<Arc<Scenario>>,
    /// In the order of their places.
    pub diagnostics: Vec<Diagnostic>,
    /// How many scenario files were read, sound or not.
    pub files: usize,
    seen: BTreeSet<Utf8PathBuf>,
}

impl Suite {
    /// Reads files, and directories with everything below them. In directories, documents that are not
    /// scenarios are passed over.
    pub fn load<P: AsRef<Utf8Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut suite = Self::default();
        let mut library = Library::default();
        for path in paths {
            let path = path.as_ref();
            if path.is_dir() {
                for file in yaml_files(path) {
                    suite.add_file(&file, Asked::Found, &mut library);
                }
            } else {
                suite.add_file(path, Asked::Named, &mut library);
            }
        }
        suite.finish();
        suite
    }

    /// One scenario file from memory; `path` is where it claims to be, for manifests and messages.
    pub fn from_text(path: impl Into<Utf8PathBuf>, text: impl Into<String>) -> Self {
        let mut suite = Self::default();
        suite.add(
            &SourceFile::new(path, text),
            Asked::Named,
            &mut Library::default(),
        );
        suite.finish();
        suite
    }

    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    fn add_file(&mut self, path: &Utf8Path, asked: Asked, library: &mut Library) {
        // a directory and a file in it may both be named
        if let Ok(real) = path.canonicalize_utf8()
            && !self.seen.insert(real)
        {
            return;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => self.add(&SourceFile::new(path, text), asked, library),
            Err(error) => {
                let source = SourceFile::new(path, "");
                self.diagnostics.push(
                    Diagnostic::error(
                        Code::Unreadable,
                        &Span::start_of(&source),
                        format!("cannot read the file: {}", reason(&error)),
                    )
                    .help("name a scenario file, or a directory with scenarios"),
                );
            }
        }
    }

    fn add(&mut self, source: &Arc<SourceFile>, asked: Asked, library: &mut Library) {
        let documents = match node::parse(source) {
            Ok(documents) => documents,
            Err(errors) => {
                self.files += 1;
                self.diagnostics.extend(errors);
                return;
            }
        };
        let scenarios: Vec<&Node> = documents
            .iter()
            .filter(|document| asked == Asked::Named || claims_to_be_scenario(document))
            .collect();
        if documents.is_empty() && asked == Asked::Named {
            self.diagnostics.push(
                Diagnostic::error(
                    Code::NotAScenario,
                    &Span::start_of(source),
                    "the file is empty",
                )
                .help("begin with `apiVersion: trunkline.dev/v1alpha1` and `kind: Scenario`"),
            );
        }
        self.files += usize::from(!scenarios.is_empty());
        for document in scenarios {
            self.add_document(document, library);
        }
    }

    fn add_document(&mut self, document: &Node, library: &mut Library) {
        let (cases, mut found) = parameters::cases(document);
        let mut scenarios = Vec::new();
        for case in cases {
            let (scenario, diagnostics) = read::scenario(&case.tree, &case.id);
            found.extend(diagnostics);
            let Some(mut scenario) = scenario else {
                continue;
            };
            scenario.parameters = Scope::from_iter(case.values);
            let (manifests, diagnostics) = manifests_of(&scenario, library);
            let complete = !diagnostics.iter().any(Diagnostic::is_error);
            found.extend(diagnostics);
            scenario.manifests = Arc::new(manifests);
            found.extend(lint::scenario(&scenario, complete));
            scenarios.push(Arc::new(scenario));
        }
        found.extend(lint::parameters(document, &scenarios));
        if !found.iter().any(Diagnostic::is_error) {
            self.scenarios.append(&mut scenarios);
        }
        self.diagnostics.extend(found);
    }

    /// Looks at all scenarios together, and puts what was found in order, once.
    fn finish(&mut self) {
        self.diagnostics
            .extend(lint::names_of_scenarios(&self.scenarios));
        let mut seen = Vec::new();
        self.diagnostics.retain(|diagnostic| {
            let key = (
                diagnostic.primary.at.clone(),
                diagnostic.code,
                diagnostic.message.clone(),
            );
            let new = !seen.contains(&key);
            seen.push(key);
            new
        });
        self.diagnostics.sort_by(|a, b| {
            let key = |one: &Diagnostic| {
                (
                    one.primary.at.path().to_owned(),
                    one.primary.at.range().start,
                )
            };
            key(a).cmp(&key(b)).then(b.severity.cmp(&a.severity))
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The user named the file: it must be a scenario.
    Named,
    /// It was found in a directory.
    Found,
}

fn claims_to_be_scenario(document: &Node) -> bool {
    let text = |key: &str| match document.get(key).map(|node| &node.kind) {
        Some(Kind::Text(text)) => text.clone(),
        _ => String::new(),
    };
    text("kind") == "Scenario" || text("apiVersion").starts_with("trunkline.dev/")
}

/// Every file that the steps name, read and checked.
fn manifests_of(scenario: &Scenario, library: &mut Library) -> (Manifests, Vec<Diagnostic>) {
    let mut manifests = Manifests::default();
    let mut found = Vec::new();
    for path in scenario.files() {
        let (manifest, diagnostics) = library.manifest(path);
        found.extend(diagnostics);
        if let Some(manifest) = manifest {
            manifests.insert(path.value.clone(), manifest);
        }
    }
    (manifests, found)
}

impl Scenario {
    /// Every manifest that a step names, in order.
    pub(crate) fn files(&self) -> Vec<&Located<Utf8PathBuf>> {
        let spec = &self.spec;
        let steps = spec.steps.iter().chain(&spec.catch).chain(&spec.finally);
        steps
            .flat_map(|step| match &step.action {
                Action::Apply(apply) => apply.files.iter().collect(),
                Action::Delete(delete) => delete
                    .targets
                    .iter()
                    .filter_map(|target| match target {
                        Target::File(path) => Some(path),
                        Target::Object(_) => None,
                    })
                    .collect(),
                Action::Run(..) | Action::Probe(_) | Action::Look => Vec::new(),
            })
            .collect()
    }
}

/// YAML files below a directory, sorted; hidden directories and build output are passed over.
fn yaml_files(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Ok(entries) = directory.read_dir_utf8() else {
        return Vec::new();
    };
    let mut paths: Vec<Utf8PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or("");
            !name.starts_with('.') && name != "target"
        })
        .collect();
    paths.sort();
    paths
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                yaml_files(&path)
            } else if matches!(path.extension(), Some("yaml" | "yml")) {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// Without the number that only a program needs.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

/// Which scenarios to take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names, parts of names, or with case: `overlay-ipam`, `overlay`, `placement[same-node]`. Any of them.
    pub names: Vec<String>,
    /// Tags. Any of them.
    pub tags: Vec<String>,
    /// Tags to leave out.
    pub without: Vec<String>,
    /// `parameter=value`. All of them.
    pub cases: Vec<(String, String)>,
}

impl Selection {
    pub fn takes(&self, scenario: &Scenario) -> bool {
        let full = scenario.full_name();
        let tagged = |tag: &String| scenario.tags.iter().any(|own| own.value == *tag);
        let named =
            self.names.is_empty() || self.names.iter().any(|name| full.contains(name.as_str()));
        let wanted = self.tags.is_empty() || self.tags.iter().any(tagged);
        let unwanted = self.without.iter().any(tagged);
        let in_case = self.cases.iter().all(|(parameter, value)| {
            scenario
                .case
                .0
                .iter()
                .any(|(own, chosen)| own == parameter && chosen == value)
        });
        named && wanted && !unwanted && in_case
    }

    /// The scenarios of a suite that it takes.
    pub fn of(&self, suite: &Suite) -> Vec<Arc<Scenario>> {
        suite
            .scenarios
            .iter()
            .filter(|scenario| self.takes(scenario))
            .cloned()
            .collect()
    }
}

/// How many errors and warnings there are.
pub fn count(diagnostics: &[Diagnostic]) -> (usize, usize) {
    let errors = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .count();
    (errors, diagnostics.len() - errors)
}
