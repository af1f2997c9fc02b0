//! NetworkAttachmentDefinitions: a machine waits for those of its networks before it gets a pod.

use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store};

use super::Context;
use super::Failure;
use crate::types::VirtualMachineInstance;

pub(super) fn kind() -> ApiResource {
    let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
    // Its plural is not the one that rules of English give.
    ApiResource::from_gvk_with_plural(&kind, "network-attachment-definitions")
}

/// Namespaces and names of a machine's definitions, the pod's first network included.
fn wanted(vmi: &VirtualMachineInstance) -> impl Iterator<Item = (String, String)> + '_ {
    let networks = vmi.spec.networks.iter();
    let names = networks.filter_map(|network| Some(network.multus.as_ref()?.network_name.as_str()));
    names.map(|name| match name.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (vmi.namespace().unwrap_or_default(), name.to_owned()),
    })
}

/// The first definition that does not exist, as `NAMESPACE/NAME`.
pub(super) async fn missing(
    context: &Context,
    vmi: &VirtualMachineInstance,
) -> Result<Option<String>, Failure> {
    for (namespace, name) in wanted(vmi) {
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &namespace, &kind());
        if api.get_metadata_opt(&name).await?.is_none() {
            return Ok(Some(format!("{namespace}/{name}")));
        }
    }
    Ok(None)
}

/// The machines that name this definition.
pub(super) fn users(
    machines: &Store<VirtualMachineInstance>,
    definition: &PartialObjectMeta<DynamicObject>,
) -> Vec<ObjectRef<VirtualMachineInstance>> {
    let this = (
        definition.namespace().unwrap_or_default(),
        definition.name_any(),
    );
    let machines = machines.state().into_iter();
    machines
        .filter(|vmi| wanted(vmi).any(|wanted| wanted == this))
        .map(|vmi| ObjectRef::from_obj(&*vmi))
        .collect()
}
