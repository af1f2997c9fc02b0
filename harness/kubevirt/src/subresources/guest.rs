//! What the guest agent tells.

use http::{Response, StatusCode};
use kubeapi::{Body, Status};
use serde_json::{Value, json};

use super::find::{has_condition, instance_conflict, phase, reference};
use super::machine::{handled, reachable};
use super::route::Report;
use super::server::Place;
use super::{Backend, answer};
use crate::types::VmiPhase;
use crate::{Filesystem, GuestUser};

impl Backend {
    /// Whatever goes wrong is told as text with the code 500, as virt-api does for all that it reads.
    pub(super) async fn report(&self, report: Report, place: Place<'_>) -> Response<Body> {
        match self.reported(report, place).await {
            Ok(value) => answer::json(200, &sorted(value)),
            Err(status) => answer::failure(&status),
        }
    }

    async fn reported(&self, report: Report, place: Place<'_>) -> Result<Value, Status> {
        let vmi = self.instance(place).await?;
        if phase(&vmi) != Some(VmiPhase::Running) {
            return Err(instance_conflict(place.name, "VMI is not running"));
        }
        if !has_condition(&vmi, "AgentConnected") {
            return Err(instance_conflict(
                place.name,
                "VMI does not have guest agent connected",
            ));
        }
        reachable(&vmi)?;
        let machine = reference(&vmi);
        let told = match report {
            Report::GuestOsInfo => self.machines.guest_os_info(&machine).await,
            Report::Users => self.machines.users(&machine).await.map(|users| {
                let items: Vec<Value> = users.iter().map(user).collect();
                json!({"metadata": {}, "items": items})
            }),
            Report::Filesystems => self.machines.filesystems(&machine).await.map(|systems| {
                let items: Vec<Value> = systems.iter().map(filesystem).collect();
                json!({"metadata": {}, "items": items})
            }),
        };
        told.map_err(|error| {
            let message = handled(StatusCode::INTERNAL_SERVER_ERROR, &error);
            Status::new(500, kubeapi::Reason::Unknown, message)
        })
    }
}

fn user(user: &GuestUser) -> Value {
    let mut value = json!({"userName": user.name});
    if let Some(domain) = user.domain.as_deref().filter(|domain| !domain.is_empty()) {
        value["domain"] = domain.into();
    }
    if user.login_time != 0.0 {
        value["loginTime"] = user.login_time.into();
    }
    value
}

fn filesystem(system: &Filesystem) -> Value {
    let mut value = json!({
        "diskName": system.disk_name, "mountPoint": system.mount_point, "fileSystemType": system.kind,
        "usedBytes": system.used_bytes, "totalBytes": system.total_bytes,
    });
    if !system.disks.is_empty() {
        value["disk"] = system.disks.clone().into();
    }
    value
}

/// Keys in the order of the alphabet, since virt-api passes these on without knowing their type.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}
