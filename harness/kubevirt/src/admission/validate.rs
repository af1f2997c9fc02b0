//! What KubeVirt refuses.

use std::collections::BTreeMap;

use kubeapi::Status;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::causes::{Causes, Path, failure};
use super::config::ClusterConfig;
use super::mutate::{self, MIGRATION_SELECTOR};
use super::{data_volumes, defaults, live_update, network, resources, spec, volumes, words};
use crate::types::{
    Condition, MigrationPhase, RunStrategy, VirtualMachine, VirtualMachineInstance,
    VirtualMachineInstanceMigration, VirtualMachineSpec,
};

/// A VirtualMachine that is created or changed. Returns warnings.
pub(super) fn virtual_machine(
    config: &ClusterConfig,
    object: &Value,
    old: Option<&Value>,
    ours: bool,
) -> Result<Vec<String>, Status> {
    if mutate::deleted(object) {
        return Ok(Vec::new());
    }
    words::causes(words::machine(&object["spec"])).refuse()?;
    let machine: VirtualMachine = read(object)?;
    let mut checked = machine.spec.clone();
    defaults::template(config, &mut checked.template.spec).map_err(failure)?;
    let field = Path::new("spec");
    let mut causes = Causes::default();
    if old.is_none() {
        network::discontinued(&mut causes, &field, &checked.template.spec);
    }
    causes.refuse()?;
    let mut causes = Causes::default();
    let labels = checked.template.metadata.labels.clone().unwrap_or_default();
    metadata(&mut causes, &field.child("template.metadata"), labels, ours);
    spec::validate(
        &mut causes,
        &field.child("template.spec"),
        &checked.template.spec,
        config,
    );
    data_volumes::validate(&mut causes, &field, &checked);
    run_strategy(&mut causes, &field, &machine.spec, config);
    live_update::validate(&mut causes, &field, &checked.template.spec, config);
    causes.refuse()?;
    let mut causes = Causes::default();
    data_volumes::namespaces(&mut causes, &machine);
    causes.refuse()?;
    let deprecated = machine.spec.running.is_some();
    Ok(deprecated
        .then(|| "spec.running is deprecated, please use spec.runStrategy instead.".to_owned())
        .into_iter()
        .collect())
}

fn run_strategy(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineSpec,
    config: &ClusterConfig,
) {
    match (spec.running, spec.run_strategy) {
        (Some(_), Some(_)) => causes.invalid(
            &field.child("running"),
            "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead",
        ),
        (None, None) => causes.invalid(&field.child("running"), "RunStrategy must be specified"),
        _ => {}
    }
    if spec.run_strategy == Some(RunStrategy::WaitAsReceiver)
        && !config.gate("DecentralizedLiveMigration")
    {
        causes.invalid(
            &field.child("runStrategy"),
            "Invalid RunStrategy (WaitAsReceiver), DecentralizedLiveMigration feature gate is not enabled in kubevirt resource",
        );
    }
}

/// A VirtualMachineInstance that is created.
pub(super) fn instance(config: &ClusterConfig, object: &Value, ours: bool) -> Result<(), Status> {
    words::causes(words::instance(&object["spec"])).refuse()?;
    let instance: VirtualMachineInstance = read(object)?;
    let field = Path::new("spec");
    let mut causes = Causes::default();
    network::discontinued(&mut causes, &field, &instance.spec);
    spec::validate(&mut causes, &field, &instance.spec, config);
    volumes::used(&mut causes, &field, &instance.spec);
    resources::mandatory(&mut causes, &field, &instance.spec);
    let labels = instance.metadata.labels.clone().unwrap_or_default();
    metadata(&mut causes, &Path::new("metadata"), labels, ours);
    let architecture = instance.spec.architecture.as_deref().unwrap_or_default();
    if !["amd64", "arm64", "s390x"].contains(&architecture) {
        causes.invalid(
            &field.child("architecture"),
            format!("unsupported architecture: {architecture}"),
        );
    }
    let watchdog = instance.spec.domain.devices.watchdog();
    if watchdog.is_some_and(|watchdog| watchdog.get("diag288").is_some()) {
        causes.unsupported(
            &field.child("domain.devices.watchdog"),
            "amd64 only supports I6300ESB watchdog device",
        );
    }
    causes.refuse()
}

fn metadata(causes: &mut Causes, field: &Path, labels: BTreeMap<String, String>, ours: bool) {
    if !ours && !spec::reserved_labels(labels).is_empty() {
        causes.unsupported(
            &field.child("labels"),
            "creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited",
        );
    }
}

/// A VirtualMachineInstance that is changed: its specification is KubeVirt's own business.
pub(super) fn instance_update(object: &Value, old: &Value, ours: bool) -> Result<(), Status> {
    words::causes(words::instance(&object["spec"])).refuse()?;
    let new: VirtualMachineInstance = read(object)?;
    let old: VirtualMachineInstance = read(old)?;
    let mut causes = Causes::default();
    if ours {
        return Ok(());
    }
    if new.spec != old.spec {
        causes.unsupported_object("update of VMI object is restricted");
    }
    causes.refuse()?;
    let reserved = |machine: &VirtualMachineInstance| {
        spec::reserved_labels(machine.metadata.labels.clone().unwrap_or_default())
    };
    let mut causes = Causes::default();
    if reserved(&new) != reserved(&old) {
        causes.unsupported_object(
            "modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited",
        );
    }
    causes.refuse()
}

/// What is known of a machine that shall move.
pub(super) struct Moving {
    /// Nothing when there is no such machine.
    pub(super) instance: Option<VirtualMachineInstance>,
    /// Its migrations.
    pub(super) migrations: Vec<VirtualMachineInstanceMigration>,
}

/// A VirtualMachineInstanceMigration that is created.
pub(super) fn migration(
    migration: &VirtualMachineInstanceMigration,
    config: &ClusterConfig,
    moving: &Moving,
) -> Result<(), Status> {
    let mut causes = Causes::default();
    let name = migration.spec.vmi_name.as_deref().unwrap_or_default();
    if name.is_empty() {
        causes.required(&Path::new("spec.vmiName"), "vmiName is missing");
    }
    causes.refuse()?;
    if migration.spec.priority.is_some() && !config.gate("MigrationPriorityQueue") {
        let mut causes = Causes::default();
        causes.forbidden(
            &Path::new("spec.migrationPriority"),
            "MigrationPriorityQueue feature gate is not enabled in kubevirt resource",
        );
        causes.refuse()?;
    }
    let Some(instance) = &moving.instance else {
        let namespace = migration.metadata.namespace.as_deref().unwrap_or_default();
        return Err(failure(format!(
            "the VMI \"{namespace}/{name}\" does not exist"
        )));
    };
    let status = instance.status.clone().unwrap_or_default();
    if status.phase.is_some_and(crate::types::VmiPhase::is_final) {
        return Err(failure("Cannot migrate VMI in finalized state."));
    }
    if let Some(condition) = status
        .conditions
        .iter()
        .find(|condition| refuses_to_move(condition))
    {
        return Err(failure(format!(
            "Cannot migrate VMI, Reason: {}, Message: {}",
            condition.reason.as_deref().unwrap_or_default(),
            condition.message.as_deref().unwrap_or_default(),
        )));
    }
    if let Some(active) = moving
        .migrations
        .iter()
        .find(|migration| is_active(migration))
    {
        return Err(failure(format!(
            "in-flight migration detected. Active migration job ({}) is currently already in progress for VMI {}.",
            active.metadata.uid.as_deref().unwrap_or_default(),
            active.spec.vmi_name.as_deref().unwrap_or_default(),
        )));
    }
    let decentralized = ["sendTo", "receive"];
    if decentralized
        .iter()
        .any(|name| migration.spec.other.contains_key(*name))
        && !config.gate("DecentralizedLiveMigration")
    {
        let mut causes = Causes::default();
        causes.unsupported_object(
            "DecentralizedLiveMigration feature gate is not enabled in kubevirt resource",
        );
        causes.refuse()?;
    }
    Ok(())
}

fn refuses_to_move(condition: &Condition) -> bool {
    condition.type_ == "LiveMigratable" && condition.status == "False"
}

fn is_active(migration: &VirtualMachineInstanceMigration) -> bool {
    let phase = migration.status.as_ref().and_then(|status| status.phase);
    !phase.is_some_and(MigrationPhase::is_final)
}

/// A VirtualMachineInstanceMigration that is changed.
pub(super) fn migration_update(object: &Value, old: &Value) -> Result<(), Status> {
    let new: VirtualMachineInstanceMigration = read(object)?;
    let old: VirtualMachineInstanceMigration = read(old)?;
    let mut causes = Causes::default();
    if new.spec != old.spec {
        causes.unsupported_object("update of Migration object's spec is restricted");
    }
    causes.refuse()?;
    let selector = |migration: &VirtualMachineInstanceMigration| {
        migration
            .metadata
            .labels
            .as_ref()?
            .get(MIGRATION_SELECTOR)
            .cloned()
    };
    let mut causes = Causes::default();
    if is_active(&new) && selector(&old).is_some() && selector(&new) != selector(&old) {
        let done = if new.metadata.labels.is_none() {
            "removed from an"
        } else {
            "modified on an"
        };
        causes.unsupported_object(format!(
            "selector label can't be {done} in-flight migration"
        ));
    }
    causes.refuse()
}

pub(super) fn read<T: DeserializeOwned>(object: &Value) -> Result<T, Status> {
    serde_json::from_value(object.clone()).map_err(|error| failure(error.to_string()))
}
