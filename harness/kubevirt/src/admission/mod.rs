//! What KubeVirt's webhooks do: defaults are filled in, and what cannot be is refused, in its words.

mod causes;
mod config;
mod credentials;
mod data_volumes;
mod defaults;
mod disks;
mod eviction;
mod live_update;
mod mutate;
mod names;
mod network;
mod resources;
mod spec;
mod validate;
mod volumes;
mod words;

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kubeapi::{Admission, AdmissionRequest, AdmissionTarget, Operation, Status, User};
use serde_json::Value;

use crate::types::{KubeVirt, VirtualMachineInstance, VirtualMachineInstanceMigration};
use causes::failure;
use config::ClusterConfig;
use eviction::Verdict;
use validate::Moving;

const GROUP: &str = "kubevirt.io";
const NAMESPACE: &str = "kubevirt";

/// KubeVirt's admission for a server that does not exist yet: its client is given later. Until then nothing is known of
/// other objects, and the KubeVirt object's defaults are used.
#[derive(Clone, Default)]
pub struct Late {
    client: Arc<OnceLock<kube::Client>>,
}

impl fmt::Debug for Late {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = self.client.get().is_some();
        formatter
            .debug_struct("Late")
            .field("connected", &connected)
            .finish()
    }
}

impl Late {
    pub fn admission(&self) -> Arc<dyn Admission> {
        Arc::new(self.clone())
    }

    /// The client must be one of KubeVirt's own service accounts, [`is_kubevirt`]. Only the first one counts.
    pub fn connect(&self, client: kube::Client) {
        if self.client.set(client).is_err() {
            tracing::warn!("KubeVirt's admission has a client already");
        }
    }

    async fn config(&self) -> Result<ClusterConfig, Status> {
        let Some(client) = self.client.get() else {
            return Ok(ClusterConfig::default());
        };
        let kubevirts = Api::<KubeVirt>::namespaced(client.clone(), NAMESPACE);
        let kubevirts = kubevirts
            .list(&ListParams::default())
            .await
            .map_err(|error| unreadable(&error))?;
        Ok(kubevirts
            .items
            .first()
            .map(ClusterConfig::of)
            .unwrap_or_default())
    }

    async fn moving(&self, namespace: &str, name: &str) -> Result<Moving, Status> {
        let Some(client) = self.client.get() else {
            return Ok(Moving {
                instance: None,
                migrations: Vec::new(),
            });
        };
        let instances = Api::<VirtualMachineInstance>::namespaced(client.clone(), namespace);
        let migrations =
            Api::<VirtualMachineInstanceMigration>::namespaced(client.clone(), namespace);
        let selector = format!("{}={name}", mutate::MIGRATION_SELECTOR);
        let of_machine = ListParams::default().labels(&selector);
        let (instance, migrations) =
            futures::try_join!(instances.get_opt(name), migrations.list(&of_machine),)
                .map_err(|error| unreadable(&error))?;
        Ok(Moving {
            instance,
            migrations: migrations.items,
        })
    }

    async fn migration(&self, request: &AdmissionRequest) -> Result<(), Status> {
        let mut migration: VirtualMachineInstanceMigration = validate::read(&request.object)?;
        migration.metadata.namespace.clone_from(&request.namespace);
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let name = migration.spec.vmi_name.as_deref().unwrap_or_default();
        let moving = if name.is_empty() {
            Moving {
                instance: None,
                migrations: Vec::new(),
            }
        } else {
            self.moving(namespace, name).await?
        };
        validate::migration(&migration, &self.config().await?, &moving)
    }

    async fn eviction(&self, request: &AdmissionRequest) -> Result<(), Status> {
        let (Some(client), Some(namespace)) = (self.client.get(), &request.namespace) else {
            return Ok(());
        };
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        // Without the pod the eviction fails by itself.
        let Ok(Some(pod)) = pods.get_opt(&request.name).await else {
            return Ok(());
        };
        let Some(name) = eviction::launched(&pod) else {
            return Ok(());
        };
        let instances = Api::<VirtualMachineInstance>::namespaced(client.clone(), namespace);
        let instance = instances.get(name).await.map_err(|error| {
            eviction::denied(format!("kubevirt failed getting the vmi: {error}"))
        })?;
        match eviction::judge(&self.config().await?, &pod, &instance) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied(why) => Err(eviction::denied(why)),
            Verdict::Move { node } => {
                let asked = request.object["deleteOptions"]["dryRun"].as_array();
                let dry_run = request.dry_run || asked.is_some_and(|asked| !asked.is_empty());
                Err(eviction::evacuate(&instances, &instance, &node, dry_run).await)
            }
        }
    }
}

/// Whether this is one of KubeVirt's own service accounts, which may do what others may not.
pub fn is_kubevirt(user: &User) -> bool {
    const ACCOUNTS: [&str; 4] = [
        "kubevirt-apiserver",
        "kubevirt-controller",
        "kubevirt-handler",
        "kubevirt-synchronization-controller",
    ];
    user.name
        .strip_prefix("system:serviceaccount:kubevirt:")
        .is_some_and(|account| ACCOUNTS.contains(&account))
}

fn unreadable(error: &kube::Error) -> Status {
    failure(format!(
        "KubeVirt's admission cannot read what it needs: {error}"
    ))
}

/// The kinds that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Machine,
    Instance,
    Migration,
    Eviction,
}

impl Subject {
    fn of(group: &str, resource: &str, subresource: Option<&str>) -> Option<Self> {
        match (group, resource, subresource) {
            (GROUP, "virtualmachines", None) => Some(Self::Machine),
            (GROUP, "virtualmachineinstances", None) => Some(Self::Instance),
            (GROUP, "virtualmachineinstancemigrations", None) => Some(Self::Migration),
            ("", "pods", Some("eviction")) => Some(Self::Eviction),
            _ => None,
        }
    }

    fn of_request(request: &AdmissionRequest) -> Option<Self> {
        Self::of(
            &request.group,
            &request.resource,
            request.subresource.as_deref(),
        )
    }

    /// The webhook that refuses.
    fn validator(self, operation: Operation) -> &'static str {
        match (self, operation) {
            (Self::Machine, _) => "virtualmachine-validator.kubevirt.io",
            (Self::Instance, Operation::Create) => {
                "virtualmachineinstances-create-validator.kubevirt.io"
            }
            (Self::Instance, _) => "virtualmachineinstances-update-validator.kubevirt.io",
            (Self::Migration, Operation::Create) => "migration-create-validator.kubevirt.io",
            (Self::Migration, _) => "migration-update-validator.kubevirt.io",
            (Self::Eviction, _) => "virt-launcher-eviction-interceptor.kubevirt.io",
        }
    }
}

#[async_trait]
impl Admission for Late {
    fn matches(&self, target: &AdmissionTarget<'_>) -> bool {
        target.operation != Operation::Delete
            && Subject::of(target.group, target.resource, target.subresource).is_some()
    }

    async fn mutate(&self, request: &AdmissionRequest) -> Result<Value, Status> {
        let object = request.object.clone();
        let create = request.operation == Operation::Create;
        match Subject::of_request(request) {
            Some(Subject::Machine) => Ok(mutate::virtual_machine(
                &self.config().await?,
                object,
                create,
            )),
            Some(Subject::Instance) if create => {
                mutate::instance(&self.config().await?, object, Timestamp::now()).map_err(
                    |status| {
                        Status::denied_by("virtualmachineinstances-mutator.kubevirt.io", status)
                    },
                )
            }
            Some(Subject::Instance) if !is_kubevirt(&request.user) => {
                Ok(mutate::keep_status(object, &request.old_object))
            }
            Some(Subject::Migration) if create => Ok(mutate::migration(object)),
            _ => Ok(object),
        }
    }

    async fn validate(&self, request: &AdmissionRequest) -> Result<Vec<String>, Status> {
        let Some(subject) = Subject::of_request(request) else {
            return Ok(Vec::new());
        };
        let create = request.operation == Operation::Create;
        let ours = is_kubevirt(&request.user);
        let (object, old) = (&request.object, &request.old_object);
        let verdict = match subject {
            Subject::Machine => validate::virtual_machine(
                &self.config().await?,
                object,
                (!create).then_some(old),
                ours,
            ),
            Subject::Instance if create => {
                validate::instance(&self.config().await?, object, ours).map(|()| Vec::new())
            }
            Subject::Instance => validate::instance_update(object, old, ours).map(|()| Vec::new()),
            Subject::Migration if create => self.migration(request).await.map(|()| Vec::new()),
            Subject::Migration => validate::migration_update(object, old).map(|()| Vec::new()),
            Subject::Eviction => self.eviction(request).await.map(|()| Vec::new()),
        };
        verdict.map_err(|status| Status::denied_by(subject.validator(request.operation), status))
    }
}
