//! Quality-of-service classes.

use k8s_openapi::api::core::v1::Pod;

use crate::quantity::Milli;

/// `BestEffort`, `Burstable` or `Guaranteed`, from CPU and memory of all containers.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else {
        return "BestEffort";
    };
    let mut any = false;
    let mut guaranteed = true;
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        let resources = container.resources.clone().unwrap_or_default();
        for name in ["cpu", "memory"] {
            let value = |list: &Option<std::collections::BTreeMap<_, _>>| {
                list.as_ref()
                    .and_then(|l| l.get(name))
                    .map(Milli::of)
                    .filter(|v| v.0 > 0)
            };
            let limit = value(&resources.limits);
            let request = value(&resources.requests);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(json!({}), "BestEffort")]
    #[case(json!({"requests": {"cpu": "1"}}), "Burstable")]
    #[case(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed")]
    #[case(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), "Burstable")]
    fn classes(#[case] resources: Value, #[case] class: &str) {
        let pod = serde_json::from_value(
            json!({"spec": {"containers": [{"name": "c", "resources": resources}]}}),
        );
        assert_eq!(super::qos_class(&pod.unwrap()), class);
    }
}
