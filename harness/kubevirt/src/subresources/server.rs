//! Every endpoint's answer.

use http::{Response, StatusCode};
use kubeapi::{AggregatedRequest, Body, Status};
use serde_json::{Value, json};

use super::route::{Endpoint, Gate, Missing, Owner, endpoint};
use super::{Backend, answer};
use crate::types::KubeVirt;

/// Whose machine a request is about.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Backend {
    pub(super) async fn answer(&self, mut request: AggregatedRequest) -> Response<Body> {
        let endpoint = match endpoint(&request) {
            Ok(endpoint) => endpoint,
            Err(Missing::Path) => return answer::text(404, "404: Page Not Found"),
            Err(Missing::Method) => return answer::text(405, "405: Method Not Allowed"),
        };
        let namespace = request.namespace.take().unwrap_or_default();
        let name = request.name.take().unwrap_or_default();
        let place = Place {
            namespace: &namespace,
            name: &name,
        };
        let answered = match endpoint {
            Endpoint::Stream(stream) => self.stream(stream, place, request).await,
            Endpoint::PortForward {
                owner,
                port,
                protocol,
            } => {
                self.port_forward(owner, place, &port, protocol.as_deref(), request)
                    .await
            }
            Endpoint::Screenshot => return self.screenshot(place).await,
            Endpoint::Report(report) => return self.report(report, place).await,
            Endpoint::Act(act) => self.act(act, place, &request.body).await,
            Endpoint::Switch(switch) => self.switch(switch, place, &request.body).await,
            Endpoint::RedefineCheckpoint => self.redefine_checkpoint(place).await,
            Endpoint::CancelEvacuation(owner) => {
                self.cancel_evacuation(owner, place, &request.body).await
            }
            Endpoint::Expand => self.expand(place).await,
            Endpoint::ExpandBody => self.expand_body(place.namespace, &request.body).await,
            Endpoint::Closed(gate) => Err(closed(gate)),
            Endpoint::Profiler(refusal) => return answer::text(403, refusal),
            Endpoint::Version => Ok(answer::json(200, &version())),
            Endpoint::Health => return self.health().await,
            Endpoint::GuestFs => return self.guest_fs().await,
        };
        answered.unwrap_or_else(|status| answer::refusal(&status))
    }

    async fn cancel_evacuation(
        &self,
        owner: Owner,
        place: Place<'_>,
        body: &[u8],
    ) -> Result<Response<Body>, Status> {
        let vmi = match owner {
            Owner::Machine => self.instance_of_machine(place).await?,
            Owner::Instance => self.instance(place).await?,
        };
        let status = vmi.status.unwrap_or_default();
        if status.evacuation_node_name.is_none() {
            return Ok(answer::empty(StatusCode::OK));
        }
        let options: super::options::EvacuateCancel = super::options::decode(body)?;
        let path = "/status/evacuationNodeName";
        let operations = json!([
            {"op": "test", "path": path, "value": options.evacuation_node_name},
            {"op": "remove", "path": path},
        ]);
        self.patch_instance(place, operations, &options.dry_run)
            .await
            .map_err(|error| Status::internal(&error))?;
        Ok(answer::empty(StatusCode::OK))
    }

    /// How the API finds the cluster.
    async fn health(&self) -> Response<Body> {
        let kubevirts = kube::Api::<KubeVirt>::all(self.client.clone());
        let all = kube::api::ListParams::default();
        let (version, kubevirts) = tokio::join!(
            self.client.apiserver_version(),
            kubevirts.list_metadata(&all)
        );
        let revision = kubevirts
            .ok()
            .and_then(|list| list.items.into_iter().next())
            .and_then(|kubevirt| kubevirt.metadata.resource_version)
            .unwrap_or_default();
        let version = version
            .map_err(|error| error.to_string())
            .and_then(|info| serde_json::to_value(info).map_err(|error| error.to_string()));
        let (code, apiserver) = match version {
            Ok(version) => (200, json!({"connectivity": "ok", "version": version})),
            Err(error) => (500, json!({"connectivity": "failed", "error": error})),
        };
        let health = json!({"apiserver": apiserver, "config-resource-version": revision});
        answer::json(code, &health)
    }

    /// Which images libguestfs would come from.
    async fn guest_fs(&self) -> Response<Body> {
        let kubevirts = kube::Api::<KubeVirt>::all(self.client.clone());
        let kubevirt = kubevirts.list(&kube::api::ListParams::default()).await;
        let status = kubevirt
            .ok()
            .and_then(|list| list.items.into_iter().next())
            .and_then(|kubevirt| serde_json::to_value(kubevirt.status).ok());
        let Some(status) = status else {
            let error = json!({
                "guestfs": {"status": "failed", "error": "Failed getting KubeVirt config"},
            });
            return answer::json(500, &error);
        };
        let text = |key: &str| status[key].as_str().unwrap_or_default();
        let info = json!({
            "registry": text("observedKubeVirtRegistry"), "tag": text("observedKubeVirtVersion"),
            "digest": "", "imagePrefix": "", "gsImage": "",
        });
        answer::json(200, &info)
    }
}

fn closed(gate: Gate) -> Status {
    Status::bad_request(match gate {
        Gate::Volumes => {
            "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API."
        }
        Gate::ObjectGraph => "ObjectGraph feature gate not enabled: Unable to return object graph.",
        Gate::Encryption => "'WorkloadEncryptionSEV' feature gate is not enabled",
    })
}

/// The release that is imitated, which virtctl compares with its own.
fn version() -> Value {
    json!({
        "gitVersion": "v1.8.4", "gitCommit": "dfaa398f086692d19e01be21d83a01036e07815f",
        "gitTreeState": "clean", "buildDate": "2026-06-15T03:44:27Z", "goVersion": "go1.26.8",
        "compiler": "gc", "platform": "linux/amd64",
    })
}
