//! KubeVirt in the lab: its kinds in the API, and what acts on them.

use std::sync::Arc;

use kubeapi::{ApiServer, Builder};
use trunkline_kubevirt::{
    Machines,
    admission::Late as Admission,
    controller::{self, ControllerConfig, Running},
    subresources::Late as Subresources,
};
use trunkline_virt_handler::{Config, Node, VirtHandler};

use trunkline_kubelet::Connector;

use crate::images::LabImages;

/// The API's part. It exists before the server does, and is given what it asks once that runs.
#[derive(Clone, Default)]
pub struct KubeVirtApi {
    admission: Admission,
    subresources: Subresources,
}

/// What acts on machines. They end when this is dropped.
pub struct KubeVirt {
    _controllers: Running,
    _handler: Arc<VirtHandler>,
}

impl KubeVirtApi {
    /// The kinds, what is defaulted and refused of them, and the subresources.
    pub fn extend(&self, builder: Builder) -> Builder {
        trunkline_kubevirt::crds()
            .into_iter()
            .fold(builder, Builder::crd)
            .admission(self.admission.admission())
            .aggregated(self.subresources.api())
    }

    pub fn start(
        &self,
        api: &ApiServer,
        connector: Connector,
        images: Arc<LabImages>,
        nodes: Vec<Node>,
    ) -> KubeVirt {
        let client = |account| api.client(&format!("system:serviceaccount:kubevirt:{account}"));
        let handler = VirtHandler::start(Config {
            client: client("kubevirt-handler"),
            connector,
            images,
            nodes,
        });
        self.admission.connect(client("kubevirt-apiserver"));
        self.subresources.connect(
            client("kubevirt-apiserver"),
            Arc::clone(&handler) as Arc<dyn Machines>,
        );
        KubeVirt {
            _controllers: controller::start(
                client("kubevirt-controller"),
                ControllerConfig::default(),
            ),
            _handler: handler,
        }
    }
}
