//! virt-controller: from a VirtualMachine to its instance, from the instance to a pod, and the statuses of both until
//! virt-handler takes the machine over.

mod cluster;
mod conditions;
mod context;
mod data_volume;
pub mod events;
mod launcher;
mod migration;
mod owner;
mod quantity;
mod vm;
mod vmi;

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client};
use tokio::task::JoinSet;

use crate::types::{
    DeveloperConfiguration, InterfaceBindingPlugin, KubeVirtConfiguration, KubeVirtSpec,
    NetworkConfiguration,
};
use context::Context;
use events::Recorder;

/// What the controllers are told once.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    /// The namespace of KubeVirt itself.
    pub namespace: String,
    /// Such as `v1.8.4`.
    pub version: String,
    /// What launcher pods run.
    pub launcher_image: String,
    pub pull_policy: String,
    /// The KubeVirt object that is made if there is none.
    pub kubevirt: KubeVirtSpec,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            namespace: "kubevirt".to_owned(),
            version: "v1.8.4".to_owned(),
            launcher_image: "quay.io/kubevirt/virt-launcher:v1.8.4".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            kubevirt: kubevirt(),
        }
    }
}

/// As OVN-Kubernetes sets KubeVirt up: without a container for the console's log, with the binding that lets the
/// network's own DHCP reach machines.
fn kubevirt() -> KubeVirtSpec {
    let l2bridge = InterfaceBindingPlugin {
        domain_attachment_type: Some("managedTap".to_owned()),
        migration: Some(serde_json::json!({})),
        ..InterfaceBindingPlugin::default()
    };
    let mut configuration = KubeVirtConfiguration {
        developer_configuration: Some(DeveloperConfiguration {
            feature_gates: vec!["ImageVolume".to_owned()],
            use_emulation: true,
            ..DeveloperConfiguration::default()
        }),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        network: Some(NetworkConfiguration {
            binding: [("l2bridge".to_owned(), l2bridge)].into(),
            ..NetworkConfiguration::default()
        }),
        ..KubeVirtConfiguration::default()
    };
    let options = serde_json::json!({"disableSerialConsoleLog": {}});
    configuration
        .other
        .insert("virtualMachineOptions".to_owned(), options);
    KubeVirtSpec {
        configuration,
        image_pull_policy: Some("IfNotPresent".to_owned()),
        ..KubeVirtSpec::default()
    }
}

/// The definition of DataVolumes, which are CDI's and not KubeVirt's.
pub(crate) use data_volume::kind::definition as data_volume_definition;

/// Running controllers; they end when this is dropped.
#[derive(Debug)]
pub struct Running {
    _tasks: JoinSet<()>,
}

/// Starts the controllers of VirtualMachines, their instances, nodes, and KubeVirt itself.
pub fn start(client: Client, config: ControllerConfig) -> Running {
    let context = Arc::new(Context {
        recorder: Recorder::start(client.clone()),
        vendor: cluster::vendor(),
        client,
        config,
    });
    let mut tasks = JoinSet::new();
    let kinds = "kubevirts.kubevirt.io";
    tasks.spawn(once_served(
        kinds,
        Arc::clone(&context),
        cluster::installation,
    ));
    tasks.spawn(cluster::nodes(Arc::clone(&context)));
    let kinds = "datavolumes.cdi.kubevirt.io";
    tasks.spawn(once_served(kinds, Arc::clone(&context), data_volume::run));
    let kinds = "virtualmachineinstances.kubevirt.io";
    tasks.spawn(once_served(kinds, Arc::clone(&context), vmi::run));
    let kinds = "virtualmachineinstancemigrations.kubevirt.io";
    tasks.spawn(once_served(kinds, Arc::clone(&context), migration::run));
    let kinds = "virtualmachines.kubevirt.io";
    tasks.spawn(once_served(kinds, context, vm::run));
    Running { _tasks: tasks }
}

/// Runs a controller from when the API serves its kind.
async fn once_served<F: Future<Output = ()>>(
    definition: &'static str,
    context: Arc<Context>,
    run: fn(Arc<Context>) -> F,
) {
    let api: Api<CustomResourceDefinition> = Api::all(context.client.clone());
    let served = await_condition(api, definition, is_crd_established()).await;
    if let Err(error) = served {
        tracing::warn!(%error, definition, "not known to be served");
    }
    run(context).await;
}
