//! Writes statuses, and only those that differ from the last one.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Map, Value, json};
use tracing::warn;

/// One pod's.
#[derive(Debug, Default)]
pub(super) struct StatusWriter {
    written: Option<PodStatus>,
}

impl StatusWriter {
    /// What was written last.
    pub(super) fn written(&self) -> Option<&PodStatus> {
        self.written.as_ref()
    }

    /// Returns false if the pod is gone.
    pub(super) async fn write(&mut self, client: &Client, pod: &Pod, status: PodStatus) -> bool {
        if self.written.as_ref() == Some(&status) {
            return true;
        }
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let body = patch(self.written.as_ref(), &status, pod.metadata.uid.as_deref());
        match api
            .patch_status(
                &pod.name_any(),
                &PatchParams::default(),
                &Patch::Strategic(body),
            )
            .await
        {
            Ok(_) => {
                self.written = Some(status);
                true
            }
            // 409: another pod has this name by now
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => false,
            Err(error) => {
                warn!(%error, pod = pod.name_any(), "status not written");
                true
            }
        }
    }
}

/// Fields that a strategic merge patch would leave as they were must be taken away in so many words.
fn patch(before: Option<&PodStatus>, status: &PodStatus, uid: Option<&str>) -> Value {
    let value = |status: &PodStatus| serde_json::to_value(status).unwrap_or_default();
    let mut new = value(status);
    if let (Some(before), Value::Object(new)) = (before.map(value), &mut new) {
        for key in before.as_object().into_iter().flat_map(Map::keys) {
            new.entry(key.clone()).or_insert(Value::Null);
        }
    }
    for condition in new["conditions"].as_array_mut().into_iter().flatten() {
        if let Value::Object(condition) = condition {
            for key in ["lastProbeTime", "reason", "message"] {
                condition.entry(key).or_insert(Value::Null);
            }
        }
    }
    json!({"metadata": {"uid": uid}, "status": new})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn takes_away_what_is_gone() {
        let before =
            serde_json::from_value(json!({"phase": "Failed", "reason": "Evicted"})).unwrap();
        let after = serde_json::from_value(
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
        )
        .unwrap();
        assert_eq!(
            super::patch(Some(&before), &after, Some("u")),
            json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running", "reason": null,
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null, "reason": null, "message": null}],
            }})
        );
    }
}
