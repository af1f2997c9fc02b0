//! VirtualMachines with what their instance type and preference stand for filled in.

use http::Response;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kubeapi::{Body, Status};
use serde_json::Value;

use super::find::message;
use super::server::Place;
use super::{Backend, answer};
use crate::types::VirtualMachine;

/// What would have to be looked up, by its field and by its kind where it names none.
const REFERENCES: [(&str, &str); 2] = [
    ("instancetype", "virtualmachineclusterinstancetype"),
    ("preference", "virtualmachineclusterpreference"),
];

impl Backend {
    pub(super) async fn expand(&self, place: Place<'_>) -> Result<Response<Body>, Status> {
        self.machine(place).await?;
        // The object as it is, not as far as it is known here.
        let found = self.raw(place.namespace).get(place.name).await;
        let found = found.map_err(|error| Status::internal(&message(&error)))?;
        let vm = serde_json::to_value(found).map_err(|e| Status::internal(&e.to_string()))?;
        expanded(&vm).map_err(|why| Status::internal(&why))
    }

    /// Expands the machine in the request.
    pub(super) async fn expand_body(
        &self,
        namespace: &str,
        body: &[u8],
    ) -> Result<Response<Body>, Status> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Status::bad_request(format!(
                "Can not unmarshal Request body to struct, error: {error}"
            ))
        };
        let mut vm: Value = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
        let kind = serde_json::from_value::<VirtualMachine>(vm.clone());
        kind.map_err(|error| unreadable(&error))?;
        self.check_schema(namespace, &vm).await?;
        let given = vm["metadata"]["namespace"].as_str().unwrap_or_default();
        if !given.is_empty() && given != namespace {
            return Err(Status::bad_request(format!(
                "VM namespace must be empty or {namespace}"
            )));
        }
        vm["metadata"]["namespace"] = namespace.into();
        expanded(&vm).map_err(Status::bad_request)
    }

    fn raw(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<VirtualMachine>(&());
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// Whether such a machine could be: asked of the API, which is not to keep it.
    async fn check_schema(&self, namespace: &str, vm: &Value) -> Result<(), Status> {
        let mut probe = vm.clone();
        probe["metadata"] = serde_json::json!({"generateName": "expand-", "namespace": namespace});
        let probe: DynamicObject = serde_json::from_value(probe)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match self.raw(namespace).create(&dry, &probe).await {
            Err(kube::Error::Api(status)) if status.code == 422 => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let causes = causes
                    .into_iter()
                    .map(|cause| kubeapi::Cause {
                        message: format!("{} {}", cause.field, cause.message),
                        ..kubeapi::Cause::default()
                    })
                    .collect();
                Err(Status::bad_request("Object is not a valid VirtualMachine").with_causes(causes))
            }
            _ => Ok(()),
        }
    }
}

/// Instance types and preferences are not served, so none that is named can be found.
fn expanded(vm: &Value) -> Result<Response<Body>, String> {
    for (field, kind) in REFERENCES {
        let name = vm["spec"][field]["name"].as_str();
        if let Some(name) = name {
            let named = vm["spec"][field]["kind"].as_str();
            let kind = named.unwrap_or(kind).to_lowercase();
            let plural = format!("{kind}s.instancetype.kubevirt.io");
            return Err(format!("{plural} {name:?} not found"));
        }
    }
    Ok(answer::json(200, vm))
}
