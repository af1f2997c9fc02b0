//! `metadata.managedFields`: who owns which fields, and since when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fields_v1;
use super::fieldset::Set;
use crate::schema::go;

/// Update managers an object may have before the oldest are put together.
const MAX_UPDATERS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells managers apart. Appliers are the same manager whatever version they apply at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for appliers.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    pub(super) fn new(
        name: &str,
        operation: Operation,
        api_version: &str,
        subresource: Option<&str>,
    ) -> Self {
        Self {
            name: if name.is_empty() { "unknown" } else { name }.to_owned(),
            operation,
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => api_version.to_owned(),
            },
            subresource: subresource.unwrap_or_default().to_owned(),
        }
    }

    /// As conflicts name it: `"kubectl" with subresource "status" using v1`.
    pub(super) fn shown(&self) -> String {
        let mut text = go::quoted(&self.name);
        if !self.subresource.is_empty() {
            text.push_str(" with subresource ");
            text.push_str(&go::quoted(&self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(" using ");
            text.push_str(&self.api_version);
        }
        text
    }
}

#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub(super) fields: Set,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
}

pub(super) type Managers = BTreeMap<Manager, Owned>;

/// The time of an entry: seconds, UTC.
pub(super) fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn seconds(time: Option<&String>) -> i64 {
    time.and_then(|t| t.parse::<Timestamp>().ok())
        .map_or(0, Timestamp::as_second)
}

/// The managedFields of an object, if it has any.
pub(super) fn entries(object: &Value) -> Option<&Value> {
    object.pointer("/metadata/managedFields")
}

/// An empty list, or a list of one empty entry, asks for all ownership to be forgotten.
pub(super) fn asks_for_reset(object: &Value) -> bool {
    match entries(object) {
        Some(Value::Array(entries)) => match entries.as_slice() {
            [] => true,
            [Value::Object(only)] => only.is_empty(),
            _ => false,
        },
        _ => false,
    }
}

pub(super) fn decode(object: &Value) -> Result<Managers, String> {
    let mut managers = Managers::new();
    let Some(Value::Array(entries)) = entries(object) else {
        return Ok(managers);
    };
    for (i, entry) in entries.iter().enumerate() {
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {i}")),
            other => {
                return Err(format!(
                    "invalid fieldsType {} in managed fields entry {i}",
                    go::quoted(other)
                ));
            }
        }
        let manager = Manager {
            // Names are taken as they are: an entry without one keeps none.
            name: text("manager").to_owned(),
            ..Manager::new(
                "",
                operation,
                text("apiVersion"),
                entry["subresource"].as_str(),
            )
        };
        let owned = Owned {
            fields: fields_v1::decode(&entry["fieldsV1"])
                .map_err(|e| format!("error decoding set: {e}"))?,
            api_version: text("apiVersion").to_owned(),
            time: entry["time"].as_str().map(str::to_owned),
        };
        managers.insert(manager, owned);
    }
    Ok(managers)
}

/// Writes managedFields: appliers first, then by time and name.
pub(super) fn encode(object: &mut Value, managers: &Managers) {
    let Some(metadata) = object
        .as_object_mut()
        .map(|o| o.entry("metadata").or_insert_with(|| json!({})))
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    metadata.shift_remove("managedFields");
    if managers.is_empty() {
        return;
    }
    let mut sorted: Vec<(&Manager, &Owned)> = managers.iter().collect();
    sorted.sort_by_key(|(manager, owned)| {
        (
            manager.operation,
            seconds(owned.time.as_ref()),
            manager.name.clone(),
            owned.api_version.clone(),
            manager.subresource.clone(),
        )
    });
    let entries: Vec<Value> = sorted.into_iter().map(|(m, o)| entry(m, o)).collect();
    metadata.insert("managedFields".to_owned(), entries.into());
}

fn entry(manager: &Manager, owned: &Owned) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    if !manager.name.is_empty() {
        put("manager", manager.name.clone().into());
    }
    put("operation", manager.operation.name().into());
    put("apiVersion", owned.api_version.clone().into());
    if let Some(time) = &owned.time {
        put("time", time.clone().into());
    }
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", fields_v1::encode(&owned.fields));
    if !manager.subresource.is_empty() {
        put("subresource", manager.subresource.clone().into());
    }
    out.into()
}

/// Puts the oldest updaters of a version together once there are too many.
pub(super) fn cap_updaters(managers: &mut Managers) {
    let mut updaters: Vec<Manager> = managers
        .keys()
        .filter(|m| m.operation == Operation::Update)
        .cloned()
        .collect();
    let mut count = updaters.len();
    updaters.sort_by_key(|m| (seconds(managers[m].time.as_ref()), m.clone()));
    let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
    for updater in updaters {
        if count <= MAX_UPDATERS {
            return;
        }
        let version = managers[&updater].api_version.clone();
        let bucket = Manager::new("ancient-changes", Operation::Update, &version, None);
        let Some(first) = first_of_version.get(&version) else {
            first_of_version.insert(version, updater);
            continue;
        };
        if !managers.contains_key(&bucket)
            && let Some(owned) = managers.remove(first)
        {
            managers.insert(bucket.clone(), owned);
        }
        if let Some(owned) = managers.remove(&updater) {
            let older = managers.entry(bucket).or_insert_with(|| Owned {
                fields: Set::default(),
                api_version: version,
                time: None,
            });
            older.fields = older.fields.union(&owned.fields);
            older.time = owned.time;
            count -= 1;
        }
    }
}
