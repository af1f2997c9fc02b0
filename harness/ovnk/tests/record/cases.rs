//! Which of the recorded cases are held against the record, and what was applied in them.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{NODES, dir, read};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    #[serde(rename = "case")]
    pub name: String,
    /// The first so many steps.
    #[serde(default)]
    pub compared: usize,
    /// The title of the issue that will make the others comparable.
    #[serde(default)]
    pub waits: Option<String>,
}

impl Case {
    /// What was applied, step by step.
    pub fn steps(&self) -> Vec<Vec<Value>> {
        let Ok(text) = std::fs::read_to_string(dir().join(&self.name).join("manifests.yaml"))
        else {
            return Vec::new();
        };
        let mut steps = vec![String::new()];
        for line in text.lines() {
            if line.starts_with("# step") {
                steps.push(String::new());
            }
            let step = steps.last_mut().unwrap();
            step.push_str(line);
            step.push('\n');
        }
        steps.iter().map(|step| documents(step)).collect()
    }

    /// The objects as they were in the end, of all kinds that are recorded with a name.
    pub fn objects(&self) -> Vec<Value> {
        let recorded = read(&self.name, "objects.json");
        let objects = recorded["objects"].as_array().unwrap().iter();
        objects
            .filter(|object| object["kind"] != "Events")
            .map(super::restore)
            .collect()
    }

    /// The numbers of the steps to compare of which the recorder wrote down rows.
    pub fn compared_rows(&self) -> impl Iterator<Item = usize> {
        let written = |step: &usize| {
            let rows = |name| read(&self.name, &format!("step{step}-nb-{name}.json"));
            NODES.map(rows).iter().any(|rows| rows != &json!({}))
        };
        (0..self.compared.min(self.recorded_steps())).filter(written)
    }

    /// How many steps the recorder has seen.
    pub fn recorded_steps(&self) -> usize {
        let exists = |step: &usize| {
            let file = format!("step{step}-nb-{}.json", NODES[0]);
            dir().join(&self.name).join(file).exists()
        };
        (0..self.steps().len()).take_while(exists).count()
    }
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| serde_yaml::from_str::<Value>(document).unwrap())
        .filter(Value::is_object)
        .collect()
}

pub fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(dir().join("cases.yaml")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

/// The folders of the record.
pub fn folders() -> BTreeSet<String> {
    let entries = dir().read_dir().unwrap();
    let folders = entries.map(Result::unwrap).filter(|e| e.path().is_dir());
    folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}
