//! The phase, and when it was reached.

use trunkline_kubevirt::types::{PhaseTransition, VirtualMachineInstanceStatus, VmiPhase};

use super::now;

pub fn phase(status: &mut VirtualMachineInstanceStatus, phase: VmiPhase) {
    if status.phase == Some(phase) {
        return;
    }
    status.phase = Some(phase);
    let known = status
        .phase_transition_timestamps
        .iter()
        .any(|transition| transition.phase == Some(phase));
    if !known {
        status.phase_transition_timestamps.push(PhaseTransition {
            phase: Some(phase),
            phase_transition_timestamp: Some(now()),
        });
    }
}
