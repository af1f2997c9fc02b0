//! What the lab's API stores while nothing in the lab acts on it. Whoever creates such an object is warned; the list in
//! `docs/fidelity.md` says the same.

/// How the lab calls itself in those warnings.
pub const NAME: &str = "trunkline's lab";

/// Group and plural of each resource.
pub const RESOURCES: &[(&str, &str)] = &[
    ("", "limitranges"),
    ("", "replicationcontrollers"),
    ("", "resourcequotas"),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
    ("apiregistration.k8s.io", "apiservices"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("batch", "cronjobs"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
    ),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "ipaddresses"),
    ("networking.k8s.io", "networkpolicies"),
    ("networking.k8s.io", "servicecidrs"),
    ("node.k8s.io", "runtimeclasses"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::RESOURCES;

    const PAGE: &str = include_str!("../../../docs/fidelity.md");

    /// The table on the page and the list here are the same.
    #[test]
    fn the_page_says_what_the_warnings_say() {
        let (_, section) = PAGE.split_once("## Stored without effect").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section
            .lines()
            .filter_map(|line| {
                line.strip_prefix("| ")?
                    .strip_suffix(" |")?
                    .split_once(" | ")
            })
            .filter(|(group, _)| *group != "Group");
        let written: BTreeSet<(&str, &str)> = rows
            .flat_map(|(group, resources)| {
                let group = if group == "core" {
                    ""
                } else {
                    group.trim_matches('`')
                };
                resources
                    .split(", ")
                    .map(move |resource| (group, resource.trim_matches('`')))
            })
            .collect();
        assert_eq!(written, RESOURCES.iter().copied().collect());
    }
}
