//! VirtualMachineInstanceMigrations: nothing moves a machine here yet, which each of them says at once.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use serde_json::json;

use super::context::{Context, Failure, drive, precondition};
use super::events::Severity;
use super::owner::is_deleted;
use crate::types::{MigrationPhase, VirtualMachineInstanceMigration};

pub(super) async fn run(context: Arc<Context>) {
    let all = Api::<VirtualMachineInstanceMigration>::all(context.client.clone());
    let controller = Controller::new(all, watcher::Config::default());
    drive(controller, context, reconcile).await;
}

async fn reconcile(
    migration: Arc<VirtualMachineInstanceMigration>,
    context: Arc<Context>,
) -> Result<Action, Failure> {
    let api: Api<VirtualMachineInstanceMigration> = context.api(migration.namespace().as_deref());
    let params = PatchParams::default();
    let name = migration.name_any();
    let mut patch = precondition(migration.as_ref());
    let phase = migration.status.as_ref().and_then(|status| status.phase);
    if is_deleted(migration.as_ref()) {
        if migration.metadata.finalizers.is_some() {
            patch["metadata"]["finalizers"] = json!(null);
            api.patch(&name, &params, &Patch::Merge(patch)).await?;
        }
    } else if phase != Some(MigrationPhase::Failed) {
        patch["status"] = json!({"phase": MigrationPhase::Failed});
        api.patch_status(&name, &params, &Patch::Merge(patch))
            .await?;
        context.event(
            migration.as_ref(),
            Severity::Warning,
            "FailedMigration",
            "this cluster does not move virtual machines from node to node",
        );
    }
    Ok(Action::await_change())
}
