//! Starting, stopping, restarting and migrating VirtualMachines.

use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kubeapi::{Body, Status};
use serde_json::Value;

use super::find::{machine_conflict, message, phase};
use super::options::{self, decode};
use super::route::Switch;
use super::server::Place;
use super::{Backend, answer, changes};
use crate::types::{
    Conditions, RunStrategy, StateChangeRequest, VirtualMachine, VirtualMachineInstance,
    VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationSpec, VmiPhase,
};

const NOT_RUNNING: &str = "VM is not running";
const RECOVERY: &str = "VM recovery required: Volume migration failed, leaving some volumes pointing to non-consistent \
                        targets; manual intervention is needed to reassign them to their original volumes.";
/// What Go's JSON patch says when the object is not what was expected.
const STALE: &str = "jsonpatch test operation does not apply";
/// The shortest time in which a pod can be told to go.
const FORCED_GRACE: u32 = 1;

/// What is written where.
enum Written {
    Spec(Value),
    Status(Value),
    Nothing,
}

fn strategy(vm: &VirtualMachine) -> Result<RunStrategy, Status> {
    if vm.spec.running.is_some() && vm.spec.run_strategy.is_some() {
        return Err(Status::internal(
            "running and runstrategy are mutually exclusive",
        ));
    }
    Ok(vm.spec.strategy())
}

fn asked(vm: &VirtualMachine, changes: &[StateChangeRequest]) -> Result<Written, Status> {
    changes::requests(vm, changes)
        .map(Written::Status)
        .map_err(Status::internal)
}

fn is_final(vmi: &VirtualMachineInstance) -> bool {
    phase(vmi).is_some_and(VmiPhase::is_final)
}

impl Backend {
    pub(super) async fn switch(
        &self,
        switch: Switch,
        place: Place<'_>,
        body: &[u8],
    ) -> Result<Response<Body>, Status> {
        match switch {
            Switch::Start => self.start(place, body).await?,
            Switch::Stop => self.stop(place, body).await?,
            Switch::Restart => self.restart(place, body).await?,
            Switch::Migrate => self.migrate(place, body).await?,
        }
        Ok(answer::empty(StatusCode::ACCEPTED))
    }

    async fn write(
        &self,
        place: Place<'_>,
        written: Written,
        dry_run: &[String],
    ) -> Result<(), Status> {
        let done = match written {
            Written::Spec(patch) => self.patch_machine(place, patch, dry_run).await,
            Written::Status(patch) => self.patch_machine_status(place, patch, dry_run).await,
            Written::Nothing => Ok(()),
        };
        done.map_err(|error| {
            if error.contains(STALE) {
                machine_conflict(place.name, &error)
            } else {
                Status::internal(&error)
            }
        })
    }

    async fn start(&self, place: Place<'_>, body: &[u8]) -> Result<(), Status> {
        let vm = self.machine(place).await?;
        let vmi = self.maybe_instance(place).await?;
        let phase = vmi.as_ref().and_then(phase);
        if phase.is_some_and(|phase| !phase.is_final() && phase != VmiPhase::Unknown) {
            return Err(machine_conflict(place.name, "VM is already running"));
        }
        let status = vm.status.clone().unwrap_or_default();
        if status.conditions.holds("ManualRecoveryRequired") {
            return Err(machine_conflict(place.name, RECOVERY));
        }
        let options: options::Start = decode(body)?;
        let start = changes::start(options.paused);
        let written = match strategy(&vm)? {
            RunStrategy::Halted if options.paused => asked(&vm, &[start])?,
            RunStrategy::Halted => Written::Spec(changes::running(&vm, true)),
            RunStrategy::RerunOnFailure if phase == Some(VmiPhase::Failed) => {
                return Err(machine_conflict(
                    place.name,
                    "RerunOnFailure does not support starting VM from failed state",
                ));
            }
            RunStrategy::RerunOnFailure | RunStrategy::Manual => {
                let ended = vmi
                    .filter(is_final)
                    .map(|vmi| changes::stop(vmi.metadata.uid));
                let requests: Vec<_> = ended.into_iter().chain([start]).collect();
                asked(&vm, &requests)?
            }
            strategy @ (RunStrategy::Always | RunStrategy::Once) => {
                let why = format!("{strategy} does not support manual start requests");
                return Err(machine_conflict(place.name, &why));
            }
            RunStrategy::WaitAsReceiver => Written::Nothing,
        };
        self.write(place, written, &options.dry_run).await
    }

    async fn stop(&self, place: Place<'_>, body: &[u8]) -> Result<(), Status> {
        let options: options::Stop = decode(body)?;
        let vm = self.machine(place).await?;
        let strategy = strategy(&vm)?;
        let vmi = self.maybe_instance(place).await?;
        let running = vmi.filter(|vmi| !is_final(vmi));
        let grace = running
            .as_ref()
            .and_then(|vmi| vmi.spec.termination_grace_period_seconds);
        if let (Some(_), Some(wanted)) = (&running, options.grace_period) {
            let path = "/spec/terminationGracePeriodSeconds";
            let operations = serde_json::json!([
                {"op": "test", "path": path, "value": grace},
                {"op": "replace", "path": path, "value": wanted},
            ]);
            self.patch_instance(place, operations, &options.dry_run)
                .await
                .map_err(|error| Status::internal(&error))?;
        }
        let uid = running.as_ref().and_then(|vmi| vmi.metadata.uid.clone());
        let written = match strategy {
            RunStrategy::Always | RunStrategy::Once => Written::Spec(changes::running(&vm, false)),
            RunStrategy::WaitAsReceiver => Written::Nothing,
            _ if running.is_none() => return Err(machine_conflict(place.name, NOT_RUNNING)),
            RunStrategy::Halted if !is_shorter(options.grace_period, grace) => {
                return Err(machine_conflict(
                    place.name,
                    "Halted only supports manual stop requests with a shorter graceperiod",
                ));
            }
            _ => asked(&vm, &[changes::stop(uid)])?,
        };
        self.write(place, written, &options.dry_run).await
    }

    async fn restart(&self, place: Place<'_>, body: &[u8]) -> Result<(), Status> {
        let options: options::Restart = decode(body)?;
        let seconds = options.grace_period_seconds;
        if seconds.is_some_and(|seconds| seconds > 0) {
            return Err(Status::bad_request(
                "For force restart, only gracePeriod=0 is supported for now",
            ));
        }
        if seconds.is_some_and(|seconds| seconds < 0) {
            return Err(Status::bad_request(
                "gracePeriod has to be greater or equal to 0",
            ));
        }
        let vm = self.machine(place).await?;
        let status = vm.status.clone().unwrap_or_default();
        if status.conditions.holds("VolumesChange") {
            return Err(machine_conflict(place.name, RECOVERY));
        }
        let strategy = strategy(&vm)?;
        if matches!(strategy, RunStrategy::Halted | RunStrategy::Once) {
            // The slip is upstream's.
            let why = format!("RunStategy {strategy} does not support manual restart requests");
            return Err(machine_conflict(place.name, &why));
        }
        let Some(vmi) = self.maybe_instance(place).await? else {
            return Err(machine_conflict(place.name, "VM is not running: Halted"));
        };
        let requests = [
            changes::stop(vmi.metadata.uid.clone()),
            changes::start(false),
        ];
        self.write(place, asked(&vm, &requests)?, &options.dry_run)
            .await?;
        if seconds == Some(0) {
            self.delete_pod(place.namespace, &vmi).await?;
        }
        Ok(())
    }

    /// Ends the instance's pod as fast as it may.
    async fn delete_pod(
        &self,
        namespace: &str,
        vmi: &VirtualMachineInstance,
    ) -> Result<(), Status> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let uid = vmi.metadata.uid.as_deref().unwrap_or_default();
        let selection = ListParams::default()
            .fields("status.phase==Running")
            .labels(&format!(
                "kubevirt.io=virt-launcher,kubevirt.io/created-by={uid}"
            ));
        let found = pods.list(&selection).await;
        let found = found.map_err(|error| Status::internal(&message(&error)))?;
        let migrated = vmi
            .status
            .as_ref()
            .and_then(|status| status.migration_state.as_ref())
            .filter(|migration| migration.completed)
            .and_then(|migration| migration.target_pod.as_deref());
        let mut names = found
            .items
            .iter()
            .filter_map(|pod| pod.metadata.name.as_deref());
        let name = match (found.items.len(), migrated) {
            (2.., Some(target)) => names.find(|name| *name == target),
            _ => names.next(),
        };
        let Some(name) = name else {
            return Ok(());
        };
        let options = DeleteParams::default().grace_period(FORCED_GRACE);
        match pods.delete(name, &options).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Status::internal(&message(&error))),
            Ok(_) => Ok(()),
        }
    }

    async fn migrate(&self, place: Place<'_>, body: &[u8]) -> Result<(), Status> {
        let options: options::Migrate = decode(body)?;
        self.machine(place).await?;
        let vmi = self.instance(place).await?;
        if phase(&vmi) != Some(VmiPhase::Running) {
            return Err(machine_conflict(place.name, NOT_RUNNING));
        }
        let mut migration = VirtualMachineInstanceMigration::new(
            "",
            VirtualMachineInstanceMigrationSpec {
                vmi_name: Some(place.name.to_owned()),
                added_node_selector: options.added_node_selector,
                ..VirtualMachineInstanceMigrationSpec::default()
            },
        );
        migration.metadata.name = None;
        migration.metadata.generate_name = Some("kubevirt-migrate-vm-".to_owned());
        let migrations: Api<VirtualMachineInstanceMigration> =
            Api::namespaced(self.client.clone(), place.namespace);
        let parameters = PostParams {
            dry_run: !options.dry_run.is_empty(),
            field_manager: Some("virt-api".to_owned()),
        };
        let created = migrations.create(&parameters, &migration).await;
        created
            .map(drop)
            .map_err(|error| Status::internal(&message(&error)))
    }
}

/// Whether a machine would end sooner than it would anyway.
fn is_shorter(wanted: Option<i64>, grace: Option<i64>) -> bool {
    match (wanted, grace) {
        (None, _) => false,
        (Some(wanted), Some(grace)) => wanted < grace,
        (Some(_), None) => true,
    }
}
