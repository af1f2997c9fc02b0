//! On which nodes a machine can run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
};

use crate::types::{Cpu, VirtualMachineInstance};

const OBSOLETE_HOST_MODEL: &str = "node-labeller.kubevirt.io/obsolete-host-model";
/// Models that every node can be.
const HOST_MODEL: &str = "host-model";
const HOST_PASSTHROUGH: &str = "host-passthrough";

pub(super) fn node_selector(vmi: &VirtualMachineInstance) -> BTreeMap<String, String> {
    let mut selector = BTreeMap::from([("kubevirt.io/schedulable".to_owned(), "true".to_owned())]);
    if let Some(architecture) = &vmi.spec.architecture {
        selector.insert("kubernetes.io/arch".to_owned(), architecture.to_lowercase());
    }
    selector.extend(vmi.spec.node_selector.clone());
    let mut require = |label: String| {
        selector.insert(label, "true".to_owned());
    };
    if let Some(cpu) = &vmi.spec.domain.cpu {
        if cpu.dedicated_cpu_placement {
            require("cpumanager".to_owned());
        }
        if let Some(model) = cpu
            .model
            .as_deref()
            .filter(|m| !m.is_empty() && *m != HOST_MODEL && *m != HOST_PASSTHROUGH)
        {
            require(format!("cpu-model.node.kubevirt.io/{model}"));
        }
        for feature in &cpu.features {
            if matches!(feature.policy.as_deref(), None | Some("" | "require")) {
                require(format!("cpu-feature.node.kubevirt.io/{}", feature.name));
            }
        }
    }
    let running = vmi.status.as_ref().and_then(|s| s.machine.as_ref());
    let machine = running.or(vmi.spec.domain.machine.as_ref());
    if let Some(machine) = machine.filter(|m| !m.type_.is_empty()) {
        require(format!("machine-type.node.kubevirt.io/{}", machine.type_));
    }
    selector
}

/// The machine's own affinity, and no node that lacks what its processor needs.
pub(super) fn affinity(vmi: &VirtualMachineInstance) -> Option<Affinity> {
    let mut affinity = vmi.spec.affinity.clone();
    let cpu = vmi.spec.domain.cpu.as_ref();
    let model = cpu.and_then(|cpu| cpu.model.as_deref());
    if matches!(model, None | Some("" | HOST_MODEL)) {
        reject(&mut affinity, OBSOLETE_HOST_MODEL);
    }
    let features = cpu.map(|Cpu { features, .. }| features);
    for feature in features.into_iter().flatten() {
        if feature.policy.as_deref() == Some("forbid") {
            let label = format!("cpu-feature.node.kubevirt.io/{}", feature.name);
            reject(&mut affinity, &label);
        }
    }
    affinity
}

/// Excludes nodes with a label from every alternative.
fn reject(affinity: &mut Option<Affinity>, label: &str) {
    let node = affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default();
    let terms = &mut node
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default)
        .node_selector_terms;
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in terms {
        term.match_expressions
            .get_or_insert_default()
            .push(NodeSelectorRequirement {
                key: label.to_owned(),
                operator: "DoesNotExist".to_owned(),
                values: None,
            });
    }
}
