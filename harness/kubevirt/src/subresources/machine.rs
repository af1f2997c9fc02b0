//! What is done to running instances.

use http::{Response, StatusCode};
use kubeapi::{Body, Status};

use super::find::{has_condition, instance_conflict, machine_conflict, phase, reference};
use super::options::{self, decode};
use super::route::Act;
use super::server::Place;
use super::{Backend, answer};
use crate::MachineError;
use crate::types::{Conditions, VirtualMachineInstance, VmiPhase};

const NOT_RUNNING: &str = "VM is not running";
const INSTANCE_NOT_RUNNING: &str = "VMI is not running";

/// Why something cannot be done to an instance in this state.
fn refusal(act: Act, vmi: &VirtualMachineInstance, name: &str) -> Option<Status> {
    let running = phase(vmi) == Some(VmiPhase::Running);
    let conflict = |why: &str| Some(instance_conflict(name, why));
    match act {
        Act::Reset => None,
        Act::Unpause | Act::Unfreeze if !running => conflict(INSTANCE_NOT_RUNNING),
        _ if !running => conflict(NOT_RUNNING),
        Act::Pause => {
            let probe = vmi.spec.liveness_probe.as_ref();
            if probe.is_some_and(|probe| probe.guest_agent_ping.is_none()) {
                return Some(Status::forbidden(
                    "kubevirt.io",
                    "virtualmachineinstance",
                    name,
                    "Pausing VMIs with a non-GuestAgentPing LivenessProbe is not supported",
                ));
            }
            has_condition(vmi, "Paused").then(|| instance_conflict(name, "VMI is already paused"))
        }
        Act::Unpause if !has_condition(vmi, "Paused") => conflict("VMI is not paused"),
        Act::SoftReboot if paused(vmi) => conflict("VMI is paused"),
        Act::SoftReboot if !has_condition(vmi, "AgentConnected") && !has_power_button(vmi) => {
            conflict("VMI neither have the agent connected nor the ACPI feature enabled")
        }
        _ => None,
    }
}

fn paused(vmi: &VirtualMachineInstance) -> bool {
    let status = vmi.status.as_ref();
    status.is_some_and(|status| status.conditions.holds("Paused"))
}

fn has_power_button(vmi: &VirtualMachineInstance) -> bool {
    let features = vmi.spec.domain.features.as_ref();
    features.is_none_or(|features| features.acpi.enabled != Some(false))
}

/// An instance can be reached once it is on a node.
pub(super) fn reachable(vmi: &VirtualMachineInstance) -> Result<(), Status> {
    let phase = phase(vmi);
    if matches!(phase, Some(VmiPhase::Running | VmiPhase::Scheduled)) {
        return Ok(());
    }
    let phase = phase.map(VmiPhase::as_str).unwrap_or_default();
    Err(Status::bad_request(format!(
        "Unable to connect to VirtualMachineInstance because phase is {phase} instead of Running or Scheduled"
    )))
}

/// How virt-api tells what virt-handler answered.
pub(super) fn handled(code: StatusCode, error: &MachineError) -> String {
    format!(
        "unexpected return code {} ({code}), message: {error}",
        code.as_u16()
    )
}

impl Backend {
    pub(super) async fn act(
        &self,
        act: Act,
        place: Place<'_>,
        body: &[u8],
    ) -> Result<Response<Body>, Status> {
        if act == Act::Unpause {
            self.check_snapshot(place).await?;
        }
        let options: options::Pause = match act {
            Act::Pause | Act::Unpause => decode(body)?,
            _ => options::Pause::default(),
        };
        let vmi = self.instance(place).await?;
        if let Some(refusal) = refusal(act, &vmi, place.name) {
            return Err(refusal);
        }
        let explained = |mut status: Status| {
            if act == Act::Reset && phase(&vmi) != Some(VmiPhase::Running) {
                let phase = phase(&vmi).map(VmiPhase::as_str).unwrap_or_default();
                let why = &status.message;
                status.message =
                    format!("Failed to reset non-running VMI with phase {phase}: {why}");
            }
            status
        };
        reachable(&vmi).map_err(explained)?;
        if options.dry_run.first().is_some_and(|run| run == "All") {
            return Ok(answer::empty(StatusCode::OK));
        }
        let reference = reference(&vmi);
        let done = match act {
            Act::Pause => self.machines.pause(&reference).await,
            Act::Unpause => self.machines.unpause(&reference).await,
            Act::Freeze => {
                check_timeout(body)?;
                self.machines.freeze(&reference).await
            }
            Act::Unfreeze => self.machines.unfreeze(&reference).await,
            Act::Reset => self.machines.reset(&reference).await,
            Act::SoftReboot => self.machines.soft_reboot(&reference).await,
            Act::Backup => Err(MachineError::Failed(
                "backups of machines are not made here".to_owned(),
            )),
        };
        let code = match act {
            Act::Freeze | Act::Unfreeze | Act::Backup => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        done.map_err(|error| Status::internal(&handled(code, &error)))?;
        Ok(answer::empty(StatusCode::OK))
    }

    /// A machine that is being copied stays paused.
    async fn check_snapshot(&self, place: Place<'_>) -> Result<(), Status> {
        match self.machine(place).await {
            Err(status) if status.is_not_found() => Ok(()),
            Err(status) => Err(status),
            Ok(vm) => {
                let status = vm.status.unwrap_or_default();
                if status.other.contains_key("snapshotInProgress") {
                    return Err(machine_conflict(place.name, "VM snapshot is in progress"));
                }
                Ok(())
            }
        }
    }

    /// Changed blocks are not tracked here, so there is no checkpoint that could be described anew.
    pub(super) async fn redefine_checkpoint(
        &self,
        place: Place<'_>,
    ) -> Result<Response<Body>, Status> {
        self.instance(place).await?;
        Err(instance_conflict(
            place.name,
            "ChangedBlockTracking is not enabled",
        ))
    }
}

/// Whoever freezes must say when it is over.
fn check_timeout(body: &[u8]) -> Result<(), Status> {
    let refused = |why: &str| {
        let error = MachineError::Failed(why.to_owned());
        Err(Status::internal(&handled(StatusCode::BAD_REQUEST, &error)))
    };
    match decode::<options::Freeze>(body) {
        Err(_) => refused("failed to unmarshal unfreeze timeout"),
        Ok(options) if options.unfreeze_timeout.is_none() => {
            refused("Unfreeze timeout in freeze request is not set")
        }
        Ok(_) => Ok(()),
    }
}
