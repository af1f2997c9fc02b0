//! Derives `data/kubernetes-1.34.json.zst` from the public OpenAPI v3 documents of Kubernetes.
//!
//! ```sh
//! for m in kubernetes@v1.34.4 api@v0.34.4 apimachinery@v0.34.4 apiextensions-apiserver@v0.34.4 \
//!     kube-aggregator@v0.34.4; do
//!   go mod download k8s.io/$m
//! done
//! modules=$(go env GOMODCACHE)/k8s.io
//! cargo run -p kubeapi --example derive-schemas -- $modules/kubernetes@v1.34.4/api/openapi-spec/v3 $modules v0.34.4 \
//!   harness/kubeapi/data/kubernetes-1.34.json.zst
//! ```
//!
//! Only facts are taken over (types, properties, required, enums, formats, defaults, list and patch semantics, kinds);
//! descriptions are dropped, references are shortened to the type's name, and types of group versions that this
//! server does not serve are left out. What the documents do not say comes from the Go types: which scalars Go leaves
//! out when they are zero (`x-omit-zero`), what it writes as null when there is nothing
//! (`x-write-null`), and the values of enumerations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Map, Value, json};

/// The documents read, in the spelling of the specification's file names.
const DOCUMENTS: &[&str] = &[
    "api__v1",
    "apis__admissionregistration.k8s.io__v1",
    "apis__apiextensions.k8s.io__v1",
    "apis__apiregistration.k8s.io__v1",
    "apis__apps__v1",
    "apis__authentication.k8s.io__v1",
    "apis__authorization.k8s.io__v1",
    "apis__autoscaling__v1",
    "apis__autoscaling__v2",
    "apis__batch__v1",
    "apis__certificates.k8s.io__v1",
    "apis__coordination.k8s.io__v1",
    "apis__discovery.k8s.io__v1",
    "apis__events.k8s.io__v1",
    "apis__flowcontrol.apiserver.k8s.io__v1",
    "apis__networking.k8s.io__v1",
    "apis__node.k8s.io__v1",
    "apis__policy__v1",
    "apis__rbac.authorization.k8s.io__v1",
    "apis__resource.k8s.io__v1",
    "apis__scheduling.k8s.io__v1",
    "apis__storage.k8s.io__v1",
];

/// What a type keeps besides its structure (`properties`, `items`, `additionalProperties`, references).
const FACTS: &[&str] = &[
    "type",
    "format",
    "required",
    "enum",
    "default",
    "nullable",
    "oneOf",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-patch-strategy",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-unions",
];

const PREFIX: &str = "#/components/schemas/";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or("usage: derive-schemas SPECS MODULES VERSION OUTPUT")
    };
    let (specs, modules, version, output) = (next()?, next()?, next()?, next()?);
    let mut types = BTreeMap::new();
    for document in DOCUMENTS {
        let path = Path::new(&specs).join(format!("{document}_openapi.json"));
        let text = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let value: Value = serde_json::from_slice(&text)?;
        let schemas = value["components"]["schemas"]
            .as_object()
            .ok_or_else(|| format!("{}: no components.schemas", path.display()))?;
        for (name, schema) in schemas {
            types.insert(name.clone(), facts(schema, Place::Type));
        }
    }
    let mut packages = HashMap::new();
    for (name, schema) in &mut types {
        add_go_facts(name, schema, &mut packages, Path::new(&modules), &version)?;
    }
    let json = serde_json::to_vec(&types)?;
    let compressed = zstd::bulk::compress(&json, 19)?;
    println!(
        "{} types, {} bytes of JSON, {} compressed",
        types.len(),
        json.len(),
        compressed.len()
    );
    std::fs::write(output, compressed)?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Type,
    Property,
    Element,
}

/// The facts of one schema; types also keep the kinds they stand for.
fn facts(schema: &Value, place: Place) -> Value {
    let mut out = Map::new();
    if let Some(name) = reference(schema) {
        out.insert("$ref".into(), json!(name));
    }
    for fact in FACTS {
        if let Some(value) = schema.get(fact) {
            // {} stands for a Go struct that is not behind a pointer: it is always written. That says something of a
            // property only; elements of lists and maps exist or not.
            if *fact == "default" && *value == json!({}) && place != Place::Property {
                // Documents show it all the same.
                if place == Place::Element {
                    out.insert("x-struct".into(), true.into());
                }
                continue;
            }
            out.insert((*fact).into(), value.clone());
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let properties: Map<String, Value> = properties
            .iter()
            .map(|(name, p)| (name.clone(), facts(p, Place::Property)))
            .collect();
        out.insert("properties".into(), properties.into());
    }
    if let Some(items) = schema.get("items") {
        out.insert("items".into(), facts(items, Place::Element));
    }
    match schema.get("additionalProperties") {
        Some(Value::Object(_)) => {
            out.insert(
                "additionalProperties".into(),
                facts(&schema["additionalProperties"], Place::Element),
            );
        }
        Some(other) => {
            out.insert("additionalProperties".into(), other.clone());
        }
        None => {}
    }
    if place == Place::Type
        && let Some(kinds) = schema.get("x-kubernetes-group-version-kind")
    {
        out.insert("x-kubernetes-group-version-kind".into(), served(kinds));
    }
    Value::Object(out)
}

/// The type a schema refers to, directly or through the one-element `allOf` that carries a default beside it.
fn reference(schema: &Value) -> Option<&str> {
    schema
        .get("$ref")
        .or_else(|| schema.pointer("/allOf/0/$ref"))
        .and_then(Value::as_str)
        .map(|r| r.strip_prefix(PREFIX).unwrap_or(r))
}

/// `DeleteOptions` and `WatchEvent` are registered in every group; only those read above are kept.
fn served(kinds: &Value) -> Value {
    kinds
        .as_array()
        .into_iter()
        .flatten()
        .filter(|k| {
            let version = k["version"].as_str().unwrap_or_default();
            let document = match k["group"].as_str().unwrap_or_default() {
                "" => format!("api__{version}"),
                group => format!("apis__{group}__{version}"),
            };
            DOCUMENTS.contains(&document.as_str())
        })
        .cloned()
        .collect()
}

/// What a Go package says about its types.
#[derive(Default)]
struct Package {
    structs: HashMap<String, Vec<Field>>,
    /// Values of the types marked as enumerations, sorted.
    enums: HashMap<String, BTreeSet<String>>,
}

struct Field {
    /// Name in JSON; empty when the field's own fields stand in its place.
    name: String,
    go_type: String,
    /// `omitempty` or `omitzero`: scalars that are zero are left out.
    omit_zero: bool,
    /// `omitzero`: structs that are zero are left out, too.
    omit_struct: bool,
}

impl Package {
    /// A struct's fields with those of the structs embedded in it.
    fn fields(&self, structure: &str) -> Vec<&Field> {
        self.structs
            .get(structure)
            .into_iter()
            .flatten()
            .flat_map(|field| {
                if field.name.is_empty() {
                    self.fields(&field.go_type)
                } else {
                    vec![field]
                }
            })
            .collect()
    }

    fn read(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let structure = Regex::new(r"^type (\w+) struct \{")?;
        let field = Regex::new(r#"^\s+(?:\w+\s+)?(\S+)\s+`json:"([^",]*)((?:,\w+)*)""#)?;
        let named = Regex::new(r"^type (\w+) string")?;
        // `Name Type = "value"` and `Name = Type("value")`
        let value = Regex::new(r#"^\s+\w+\s+(?:=\s*)?(\w+)\s*(?:=\s*|\()"([^"]*)""#)?;
        let mut package = Self::default();
        let mut values: Vec<(String, String)> = Vec::new();
        for entry in
            std::fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?
        {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            if !file.ends_with(".go") || file.ends_with("_test.go") {
                continue;
            }
            let mut current: Option<(String, Vec<Field>)> = None;
            let mut marked = false;
            for line in std::fs::read_to_string(&path)?.lines() {
                if let Some(found) = structure.captures(line) {
                    current = Some((found[1].to_owned(), Vec::new()));
                } else if line == "}" {
                    package.structs.extend(current.take());
                } else if let (Some((_, fields)), Some(found)) =
                    (&mut current, field.captures(line))
                {
                    fields.push(Field {
                        name: found[2].to_owned(),
                        go_type: found[1].to_owned(),
                        omit_zero: found[3].contains("omitempty") || found[3].contains("omitzero"),
                        omit_struct: found[3].contains("omitzero"),
                    });
                } else if let Some(found) = named.captures(line) {
                    if marked {
                        package.enums.insert(found[1].to_owned(), BTreeSet::new());
                    }
                } else if let Some(found) = value.captures(line) {
                    values.push((found[1].to_owned(), found[2].to_owned()));
                }
                marked = line.trim() == "// +enum" || (marked && line.starts_with("//"));
            }
        }
        for (name, value) in values {
            if let Some(known) = package.enums.get_mut(&name) {
                known.insert(value);
            }
        }
        Ok(package)
    }
}

/// Adds to a type what only its Go struct says.
fn add_go_facts(
    name: &str,
    schema: &mut Value,
    packages: &mut HashMap<PathBuf, Package>,
    modules: &Path,
    version: &str,
) -> Result<(), Box<dyn Error>> {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let parts: Vec<&str> = name.trim_start_matches("io.k8s.").split('.').collect();
    let [module, package @ .., kind] = parts.as_slice() else {
        return Ok(());
    };
    let at = |module: &str, path: &str| modules.join(format!("{module}@{version}")).join(path);
    let own = at(module, &package.join("/"));
    // Types of other packages that fields refer to are those of the core group.
    let core = at("api", "core/v1");
    for directory in [&own, &core] {
        if !packages.contains_key(directory) {
            packages.insert(directory.clone(), Package::read(directory)?);
        }
    }
    for field in packages[&own].fields(kind) {
        let Some(property) = properties.get_mut(&field.name) else {
            continue;
        };
        let scalar = matches!(
            property["type"].as_str(),
            Some("string" | "integer" | "boolean" | "number")
        );
        let pointer = field.go_type.starts_with('*');
        if scalar && field.omit_zero && !pointer {
            property["x-omit-zero"] = true.into();
        }
        let time = matches!(
            field.go_type.trim_start_matches("metav1."),
            "Time" | "MicroTime"
        );
        let nil = pointer || field.go_type.starts_with('[') || field.go_type.starts_with("map[");
        if (time && !field.omit_struct) || (nil && !field.omit_zero) {
            property["x-write-null"] = true.into();
        }
        let element = field.go_type.trim_start_matches(['*', '[', ']']);
        let enums = match element.split_once('.') {
            Some((_, name)) => packages[&core].enums.get(name),
            None => packages[&own].enums.get(element),
        };
        if let Some(values) = enums {
            let place = if scalar {
                property
            } else {
                &mut property["items"]
            };
            place["enum"] = values.iter().cloned().collect();
        }
    }
    Ok(())
}
