//! Which old value a new one replaces. Fields go by name, items of a map list by their keys; items of other lists
//! have no identity.

use serde_json::Value;

use super::node::{Arena, ListType, Node};

pub(super) fn field<'v>(name: &str, old: Option<&'v Value>) -> Option<&'v Value> {
    old?.as_object()?.get(name)
}

pub(super) fn item<'v>(
    arena: &Arena,
    list: &Node,
    item: &Value,
    old: Option<&'v Value>,
) -> Option<&'v Value> {
    let Some(ListType::Map(keys)) = &list.list_type else {
        return None;
    };
    let default = |key: &str| {
        let element = &arena[list.items?];
        arena[*element.properties.get(key)?].default.as_ref()
    };
    let identity = |value: &Value| -> Option<Vec<Option<Value>>> {
        let map = value.as_object()?;
        Some(
            keys.iter()
                .map(|key| map.get(key).or_else(|| default(key)).cloned())
                .collect(),
        )
    };
    let wanted = identity(item)?;
    old?.as_array()?
        .iter()
        .find(|candidate| identity(candidate).as_ref() == Some(&wanted))
}
