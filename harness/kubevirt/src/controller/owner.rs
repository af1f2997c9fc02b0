//! Who belongs to whom.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

/// The reference that makes `owner` the controller of something.
pub(super) fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

pub(super) fn is_controlled_by<K: Resource, O: Resource>(object: &K, owner: &O) -> bool {
    let references = object.meta().owner_references.iter().flatten();
    references
        .filter(|reference| reference.controller == Some(true))
        .any(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
}

pub(super) fn is_deleted<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}
