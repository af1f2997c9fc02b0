//! Which taints a pod bears.

use k8s_openapi::api::core::v1::PodSpec;

pub(crate) fn tolerates(spec: &PodSpec, key: &str, value: &str, effect: &str) -> bool {
    spec.tolerations.iter().flatten().any(|t| {
        let any_key = t.key.as_deref().unwrap_or_default().is_empty();
        let key_fits = any_key || t.key.as_deref() == Some(key);
        let effect_fits = t
            .effect
            .as_deref()
            .is_none_or(|e| e.is_empty() || e == effect);
        let value_fits = match t.operator.as_deref() {
            Some("Exists") => true,
            _ => !any_key && t.value.as_deref().unwrap_or_default() == value,
        };
        key_fits && effect_fits && value_fits
    })
}
