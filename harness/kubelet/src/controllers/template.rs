//! Pods from templates.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};

use super::common::{Context, Failure, owner_reference};
use crate::events::Severity;

/// A pod of the owner, named after it.
pub(super) fn pod<O: Resource<DynamicType = ()>>(owner: &O, template: &PodTemplateSpec) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let mut prefix = format!("{}-", owner.name_any());
    // room for the random part
    prefix.truncate(58);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: owner.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Creates a pod and says so.
pub(super) async fn create<O: Resource<DynamicType = ()>>(
    context: &Context,
    owner: &O,
    pod: &Pod,
) -> Result<Pod, Failure> {
    let api: Api<Pod> = Api::namespaced(
        context.client.clone(),
        &owner.namespace().unwrap_or_default(),
    );
    match api.create(&PostParams::default(), pod).await {
        Ok(made) => {
            context.event(
                owner,
                Severity::Normal,
                "SuccessfulCreate",
                format!("Created pod: {}", made.name_any()),
            );
            Ok(made)
        }
        Err(error) => {
            if let kube::Error::Api(status) = &error {
                context.event(
                    owner,
                    Severity::Warning,
                    "FailedCreate",
                    format!("Error creating: {}", status.message),
                );
            }
            Err(error.into())
        }
    }
}

/// Deletes a pod and says so.
pub(super) async fn delete<O: Resource<DynamicType = ()>>(
    context: &Context,
    owner: &O,
    pod: &Pod,
) -> Result<(), Failure> {
    let api: Api<Pod> = Api::namespaced(
        context.client.clone(),
        &owner.namespace().unwrap_or_default(),
    );
    let name = pod.name_any();
    match api.delete(&name, &kube::api::DeleteParams::default()).await {
        Ok(_) => {
            context.event(
                owner,
                Severity::Normal,
                "SuccessfulDelete",
                format!("Deleted pod: {name}"),
            );
            Ok(())
        }
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A short name for a template's content. The same content has the same name.
pub(super) fn hash(template: &PodTemplateSpec) -> String {
    // without vowels and look-alikes, as upstream's
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = serde_json::to_string(template).unwrap_or_default();
    // FNV-1a
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..10)
        .map(|_| {
            let digit = usize::try_from(hash % 27).unwrap_or_default();
            hash /= 27;
            char::from(ALPHABET[digit])
        })
        .collect()
}

/// The same template without a label that a controller added.
pub(super) fn without_label(template: &PodTemplateSpec, label: &str) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(label);
    }
    template
}

/// A template and its selector with one more label.
pub(super) fn with_label(
    template: &PodTemplateSpec,
    selector: &LabelSelector,
    label: &str,
    value: &str,
) -> (PodTemplateSpec, LabelSelector) {
    let mut template = template.clone();
    template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default()
        .insert(label.to_owned(), value.to_owned());
    let mut selector = selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(label.to_owned(), value.to_owned());
    (template, selector)
}
