//! Words that are not among those a field may have. The types cannot hold them, so they are looked for before.

use serde_json::Value;

use super::causes::{Causes, Path};
use crate::types::{EvictionStrategy, RunStrategy};

/// Fields with a closed set of words, relative to the specification, that have another one.
pub(super) fn machine(spec: &Value) -> Vec<Foreign> {
    let mut found = Vec::new();
    let strategy = spec["runStrategy"].as_str();
    if let Some(word) =
        strategy.filter(|word| !RunStrategy::ALL.iter().any(|known| known.as_str() == *word))
    {
        found.push(Foreign {
            field: "runStrategy".to_owned(),
            message: format!("Invalid RunStrategy ({word})"),
        });
    }
    let template = instance(&spec["template"]["spec"]);
    found.extend(template.into_iter().map(|foreign| Foreign {
        field: format!("template.spec.{}", foreign.field),
        ..foreign
    }));
    found
}

pub(super) fn instance(spec: &Value) -> Vec<Foreign> {
    let mut found = Vec::new();
    let eviction = spec["evictionStrategy"].as_str();
    if let Some(word) = eviction.filter(|word| {
        !EvictionStrategy::ALL
            .iter()
            .any(|known| known.as_str() == *word)
    }) {
        found.push(Foreign {
            field: "evictionStrategy".to_owned(),
            message: format!("{{}} is set with an unrecognized option: {word}"),
        });
    }
    let interfaces = spec["domain"]["devices"]["interfaces"].as_array();
    for (index, interface) in interfaces.into_iter().flatten().enumerate() {
        let state = interface["state"].as_str().unwrap_or("up");
        if !["", "up", "down", "absent"].contains(&state) {
            let name = interface["name"].as_str().unwrap_or_default();
            found.push(Foreign {
                field: format!("domain.devices.interfaces[{index}].state"),
                message: format!("logical {name} interface state value is unsupported: {state}"),
            });
        }
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    field: String,
    /// `{}` stands for the whole path.
    message: String,
}

/// As causes, their paths below `spec`.
pub(super) fn causes(found: Vec<Foreign>) -> Causes {
    let mut causes = Causes::default();
    for foreign in found {
        let field = Path::new("spec").child(&foreign.field);
        let message = foreign.message.replacen("{}", &field.to_string(), 1);
        causes.invalid(&field, message);
    }
    causes
}
