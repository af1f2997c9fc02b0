//! What a scenario requires of a site.

use trunkline_scenario::model::Requires;

use crate::site::Capabilities;

/// Why the scenario cannot run on this site; `None` when it can.
pub fn missing(requires: &Requires, site: &str, has: &Capabilities) -> Option<String> {
    let mut lacks = Vec::new();
    if let Some(sdn) = &requires.sdn
        && has.sdn.as_deref() != Some(sdn.as_str())
    {
        let instead = has
            .sdn
            .as_deref()
            .map(|sdn| format!(" (it has {sdn})"))
            .unwrap_or_default();
        lacks.push(format!("{}{instead}", sdn.value));
    }
    if let Some(workers) = &requires.workers
        && has.workers < workers.value
    {
        lacks.push(format!(
            "{} nodes for ordinary pods (it has {})",
            workers.value, has.workers
        ));
    }
    let features = [
        (&requires.vms, has.vms, "virtual machines"),
        (&requires.nmstate, has.nmstate, "nmstate"),
        (&requires.storage, has.storage, "a default storage class"),
        (
            &requires.network_segmentation,
            has.network_segmentation,
            "primary user defined networks",
        ),
        (
            &requires.multi_network_policy,
            has.multi_network_policy,
            "MultiNetworkPolicy",
        ),
    ];
    for (required, has, name) in features {
        if required.as_ref().is_some_and(|required| required.value) && !has {
            lacks.push(name.into());
        }
    }
    (!lacks.is_empty()).then(|| format!("the site {site} lacks {}", lacks.join(", ")))
}
