//! Requests for subresources.

use http::Response;
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::resource::Routed;
use super::respond;
use crate::auth::tokens;
use crate::body::Body;
use crate::connect::exec::Session;
use crate::connect::{exec, logs, pod, port_forward, proxy, upgrade};
use crate::convert;
use crate::decode;
use crate::gvk::Gvk;
use crate::object;
use crate::patch;
use crate::read;
use crate::registry::{Role, ScalePaths};
use crate::request::Verb;
use crate::status::Status;
use crate::write::patch::Format;
use crate::write::{Part, scale};

/// Answers a request for a subresource.
pub async fn answer(
    routed: &Routed<'_>,
    upgrade: Option<OnUpgrade>,
    warnings: &mut Vec<String>,
) -> Result<Response<Body>, Status> {
    let name = routed.path.subresource.as_deref().unwrap_or_default();
    let sub = routed
        .served
        .version()
        .subresource(name)
        .ok_or_else(|| routed.no_subresource())?
        .clone();
    if !sub.verbs.contains(&routed.verb.as_str()) {
        return Err(Status::method_not_allowed());
    }
    match &sub.role {
        Role::Status => routed.part(Part::Status, warnings).await,
        Role::View => routed.part(Part::View(view(name)), warnings).await,
        Role::Scale(paths) => routed.scale(paths).await,
        Role::Binding => {
            let binding = decode::parse(&routed.call.body, routed.media_type())?;
            let status = routed.write().bind(routed.name(), &binding).await?;
            Ok(respond::value(201, &status, routed.call.accept.yaml))
        }
        Role::Eviction => {
            let eviction = decode::parse(&routed.call.body, routed.media_type())?;
            let status = routed.write().evict(routed.name(), &eviction).await?;
            Ok(respond::value(201, &status, routed.call.accept.yaml))
        }
        Role::Log => routed.log().await,
        Role::Exec => routed.session(Session::Exec, upgrade).await,
        Role::Attach => routed.session(Session::Attach, upgrade).await,
        Role::PortForward => routed.port_forward(upgrade),
        Role::Proxy => routed.proxy(upgrade).await,
        Role::Token => routed.token(),
    }
}

/// The views there are, by their static names.
fn view(name: &str) -> &'static str {
    match name {
        "approval" => "approval",
        "finalize" => "finalize",
        "ephemeralcontainers" => "ephemeralcontainers",
        _ => "resize",
    }
}

impl Routed<'_> {
    /// Upstream looks for a custom resource before it looks for what is below it.
    fn no_subresource(&self) -> Status {
        let resource = &self.served.resource;
        if resource.is_custom() {
            return Status::not_found(&resource.group, &resource.plural, self.name());
        }
        Status::no_such_path()
    }

    /// A view of the object: its status, or a part of its spec.
    async fn part(&self, part: Part, warnings: &mut Vec<String>) -> Result<Response<Body>, Status> {
        match self.verb {
            Verb::Get => read::get::get(
                self.core,
                &self.served,
                self.namespace(),
                self.name(),
                self.version()?,
                self.call.accept,
                self.include,
            ),
            Verb::Patch => self.patch(part, warnings).await,
            _ => {
                let object = self.body(warnings)?;
                let (outcome, _) = self.write().put(self.name(), part, &object).await?;
                Ok(self.written(200, &outcome))
            }
        }
    }

    async fn scale(&self, paths: &ScalePaths) -> Result<Response<Body>, Status> {
        let scaled = match self.verb {
            Verb::Get => {
                let entry = self
                    .core
                    .entry(&self.served, self.namespace(), self.name())?;
                let object = convert::from_stored(&self.served, &entry.object);
                if self.served.resource.is_custom() {
                    scale::check(&object, paths)?;
                }
                scale::show(&object, paths)
            }
            Verb::Patch => {
                // A Scale has no lists, so a strategic patch of it is a merge patch.
                let format = Format::of(self.media_type(), false)?;
                let body = format.parse(&self.call.body)?;
                let write = self.write();
                let outcome = write.scale(self.name(), paths, |current| {
                    let patched = match format {
                        Format::Json => patch::json(current, &body),
                        _ => patch::merge(current, &body),
                    };
                    patched.map_err(|e| Status::bad_request(e.to_string()))
                });
                let outcome = outcome.await?;
                scale::show(&outcome.shown(&self.served), paths)
            }
            _ => {
                let mut body = decode::parse(&self.call.body, self.media_type())?;
                decode::expect_kind(&mut body, &scale::gvk())?;
                let outcome = self
                    .write()
                    .scale(self.name(), paths, |_| Ok(body.clone()))
                    .await?;
                scale::show(&outcome.shown(&self.served), paths)
            }
        };
        Ok(respond::value(200, &scaled, self.call.accept.yaml))
    }

    fn pod(&self) -> Result<Value, Status> {
        let entry = self
            .core
            .entry(&self.served, self.namespace(), self.name())?;
        Ok(entry.object.clone())
    }

    async fn log(&self) -> Result<Response<Body>, Status> {
        let pod = self.pod()?;
        let container = pod::container(&pod, self.call.query.text("container"))?;
        let options = logs::options(&self.call.query, container, self.name())?;
        // Nothing has run yet: there is nothing to show, as upstream answers.
        if object::text(&pod, &["spec", "nodeName"]).is_empty() {
            return Ok(respond::empty(204));
        }
        let namespace = self.namespace().unwrap_or_default();
        let connector = self.core.pods();
        logs::serve(connector.as_ref(), namespace, self.name(), options).await
    }

    async fn session(
        &self,
        session: Session,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>, Status> {
        let pod = self.pod()?;
        let container = pod::container(&pod, self.call.query.text("container"))?;
        pod::reachable(&pod)?;
        let plan = exec::Plan {
            connector: self.core.pods(),
            session,
            namespace: self.namespace().unwrap_or_default().to_owned(),
            pod: self.name().to_owned(),
            options: exec::options(&self.call.query, container, session)?,
        };
        let request = upgrade::request(&self.call.parts.headers, upgrade)?;
        Ok(exec::answer(plan, request).await)
    }

    fn port_forward(&self, upgrade: Option<OnUpgrade>) -> Result<Response<Body>, Status> {
        let pod = self.pod()?;
        pod::reachable(&pod)?;
        let target = port_forward::Target {
            connector: self.core.pods(),
            namespace: self.namespace().unwrap_or_default().to_owned(),
            pod: self.name().to_owned(),
            uid: object::uid(&pod).to_owned(),
        };
        let request = upgrade::request(&self.call.parts.headers, upgrade)?;
        Ok(port_forward::answer(target, &self.call.query, request))
    }

    async fn proxy(&self, upgrade: Option<OnUpgrade>) -> Result<Response<Body>, Status> {
        let parts = &self.call.parts;
        let call = proxy::Call {
            plural: &self.served.resource.plural,
            namespace: self.namespace(),
            name: self.name(),
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            body: &self.call.body,
        };
        proxy::answer(self.core, call, upgrade).await
    }

    fn token(&self) -> Result<Response<Body>, Status> {
        let mut request = decode::parse(&self.call.body, self.media_type())?;
        decode::expect_kind(
            &mut request,
            &Gvk::new("authentication.k8s.io", "v1", "TokenRequest"),
        )?;
        let namespace = self.namespace().unwrap_or_default();
        let answer = tokens::request(self.core, namespace, self.name(), request)?;
        Ok(respond::value(201, &answer, self.call.accept.yaml))
    }
}
