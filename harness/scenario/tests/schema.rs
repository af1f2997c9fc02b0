//! The JSON Schema that editors use: checked in, up to date, and of one mind with the reader.

#![allow(clippy::unwrap_used, reason = "a test")]

use camino::Utf8Path;
use serde_json::Value;
use trunkline_scenario::{Suite, schema, schema_text};

fn root() -> &'static Utf8Path {
    Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// `TRUNKLINE_BLESS=1` writes it.
#[test]
fn checked_in_schema_is_current() {
    let path = root().join("docs/scenario.schema.json");
    if std::env::var_os("TRUNKLINE_BLESS").is_some() {
        std::fs::write(&path, schema_text()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == schema_text(),
        "docs/scenario.schema.json is not what the code says; write it with \
         `trunkline schema > docs/scenario.schema.json`"
    );
}

fn document(path: &Utf8Path) -> Value {
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn shipped_scenarios_follow_it() {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    let suite = Suite::load([root().join("scenarios")]);
    let mut files: Vec<&Utf8Path> = suite
        .scenarios
        .iter()
        .map(|one| one.source.path())
        .collect();
    files.dedup();
    assert!(!files.is_empty());
    for file in files {
        let document = document(file);
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{file}: {errors:#?}");
    }
}

/// What the schema alone can see of the bad files, it refuses.
#[test]
fn bad_files_do_not() {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    for name in [
        "conflicts",
        "expectations",
        "missing-fields",
        "planned",
        "sentences",
        "unknown-fields",
        "wrong-types",
        "wrong-version",
    ] {
        let document = document(Utf8Path::new(&format!("tests/bad/{name}.yaml")));
        assert!(!validator.is_valid(&document), "{name} is valid");
    }
}

#[test]
fn every_key_is_described() {
    fn visit(schema: &Value, path: &str) {
        if let Value::Object(fields) = schema {
            if let Some(Value::Object(properties)) = fields.get("properties") {
                for (key, property) in properties {
                    let described = property.get("description").is_some() || !property.is_object();
                    let inside_rule = path.contains("/allOf/");
                    assert!(described || inside_rule, "{path}/{key} has no description");
                }
            }
            fields
                .iter()
                .for_each(|(key, value)| visit(value, &format!("{path}/{key}")));
        }
        if let Value::Array(items) = schema {
            for item in items {
                visit(item, path);
            }
        }
    }
    visit(&schema(), "");
}
