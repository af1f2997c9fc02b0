//! Puts back what every namespace has when somebody removes it.

use crate::admission::namespace::{ROOT_CA, furnish};
use crate::object;
use crate::registry::builtin::{CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS};
use crate::server::core::Core;
use crate::storage::{Change, ChangeKind, Key};

pub fn changed(core: &Core, change: &Change) {
    let object = &change.entry.object;
    let ours = matches!(
        (&*change.resource, object::name(object)),
        (SERVICE_ACCOUNTS, "default") | (CONFIG_MAPS, ROOT_CA)
    );
    if change.kind != ChangeKind::Deleted || !ours {
        return;
    }
    let key = Key::new("", object::namespace(object));
    if let Some(namespace) = core.store.get(NAMESPACES, &key) {
        furnish(core, &namespace.object);
    }
}
