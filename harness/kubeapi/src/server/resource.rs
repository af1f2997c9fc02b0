//! Requests for resources.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::core::Core;
use super::route::Call;
use super::{respond, subresource};
use crate::auth::{rbac, review};
use crate::body::Body;
use crate::decode;
use crate::read;
use crate::registry::builtin::CERTIFICATE_REQUESTS;
use crate::registry::{Behaviour, Served};
use crate::request::options::ListOptions;
use crate::request::{Include, ResourcePath, Verb, WriteOptions};
use crate::status::{Reason, Status};
use crate::warnings;
use crate::write::admit::Requester;
use crate::write::patch::Format;
use crate::write::{Outcome, Part, Write};

/// A request for a resource, routed.
#[derive(Debug)]
pub struct Routed<'a> {
    pub core: &'a Arc<Core>,
    pub call: &'a Call,
    pub path: &'a ResourcePath,
    pub served: Served,
    pub verb: Verb,
    pub options: WriteOptions,
    pub include: Include,
    /// What those who see writes say to the client.
    pub said: Mutex<Vec<String>>,
}

/// Answers a request for a resource.
pub async fn answer(
    core: &Arc<Core>,
    mut call: Call,
    path: ResourcePath,
) -> Result<Response<Body>, Status> {
    let verb =
        Verb::of(&call.parts.method, &path, &call.query).ok_or_else(Status::method_not_allowed)?;
    authorize(core, &call, &path, verb)?;
    let registry = core.registry();
    let Some(served) = registry.find(&path.group, &path.version, &path.plural) else {
        let known = registry
            .resources()
            .iter()
            .any(|resource| resource.group == path.group && !resource.is_custom());
        if known {
            return Err(Status::no_such_path());
        }
        return Ok(respond::text(404, "404 page not found\n"));
    };
    check_scope(&served, &path, verb)?;
    let include = Include::parse(call.query.text("includeObject")).ok_or_else(|| {
        Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {:?}: must be 'Metadata', 'Object', \
             'None', or empty",
            call.query.text("includeObject")
        ))
    })?;
    let upgrade = call.upgrade.take();
    let options = match verb {
        Verb::Create => Some("CreateOptions"),
        Verb::Update => Some("UpdateOptions"),
        Verb::Patch => Some("PatchOptions"),
        _ => None,
    };
    let options = options.map(|kind| WriteOptions::parse(&call.query, call.user_agent(), kind));
    let routed = Routed {
        core,
        path: &path,
        verb,
        options: options.transpose()?.unwrap_or_default(),
        include,
        served,
        call: &call,
        said: Mutex::default(),
    };
    let mut warnings: Vec<String> = routed
        .served
        .version()
        .deprecation
        .iter()
        .cloned()
        .collect();
    let answer = if path.subresource.is_some() {
        subresource::answer(&routed, upgrade, &mut warnings).await
    } else {
        match &routed.served.resource.behaviour {
            Behaviour::Virtual(handler) => routed.virtual_create(handler.as_ref()).await,
            Behaviour::Review => routed.review(),
            Behaviour::Stored(_) | Behaviour::Custom => routed.stored(&mut warnings).await,
        }
    };
    warnings.append(
        &mut routed
            .said
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    );
    // Who is refused is warned as well.
    let mut response = answer.unwrap_or_else(|status| respond::refusal(&status));
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// Whether the user may do this.
pub fn authorize(core: &Core, call: &Call, path: &ResourcePath, verb: Verb) -> Result<(), Status> {
    let own = path.group.is_empty() && path.plural == "namespaces";
    rbac::authorize(
        core,
        &call.user,
        &rbac::Action {
            verb: verb.as_str(),
            group: &path.group,
            resource: &path.plural,
            subresource: path.subresource.as_deref(),
            namespace: if own {
                path.name.as_deref()
            } else {
                path.namespace.as_deref()
            },
            name: path.name.as_deref(),
            path: None,
        },
    )
}

/// Namespaced objects are addressed in their namespace, others without one.
fn check_scope(served: &Served, path: &ResourcePath, verb: Verb) -> Result<(), Status> {
    let resource = &served.resource;
    if !resource.namespaced && path.namespace.is_some() {
        return Err(Status::no_such_path());
    }
    if resource.namespaced && path.namespace.is_none() && !matches!(verb, Verb::List | Verb::Watch)
    {
        return Err(if path.name.is_some() {
            Status::no_such_path()
        } else {
            Status::method_not_allowed()
        });
    }
    if path.subresource.is_some() {
        return Ok(());
    }
    // What is only asked has no names.
    if matches!(resource.behaviour, Behaviour::Review) && path.name.is_some() {
        return Err(Status::no_such_path());
    }
    let named_create = verb == Verb::Create && path.name.is_some();
    let unnamed = matches!(verb, Verb::Update | Verb::Patch) && path.name.is_none();
    if !resource.verbs.contains(&verb.as_str()) || named_create || unnamed {
        return Err(Status::method_not_allowed());
    }
    Ok(())
}

impl Routed<'_> {
    pub fn namespace(&self) -> Option<&str> {
        self.path.namespace.as_deref()
    }

    pub fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    /// The version that a read of one object asks for at least.
    pub fn version(&self) -> Result<Option<u64>, Status> {
        let text = self.call.query.get("resourceVersion");
        text.map(|text| {
            text.parse()
                .map_err(|_| crate::request::options::unclassified_version(text))
        })
        .transpose()
    }

    pub fn media_type(&self) -> &str {
        decode::media_type(self.call.content_type())
    }

    pub fn write(&self) -> Write<'_> {
        Write {
            core: self.core,
            served: &self.served,
            namespace: self.namespace(),
            options: &self.options,
            requester: Some(Requester {
                user: &self.call.user,
                warnings: &self.said,
            }),
        }
    }

    async fn stored(&self, warnings: &mut Vec<String>) -> Result<Response<Body>, Status> {
        let (core, served) = (self.core, &self.served);
        match self.verb {
            Verb::Get => read::get::get(
                core,
                served,
                self.namespace(),
                self.name(),
                self.version()?,
                self.call.accept,
                self.include,
            ),
            Verb::List => read::list::list(
                core,
                served,
                self.namespace(),
                &ListOptions::parse(&self.call.query, self.verb == Verb::Watch)?,
                self.call.accept,
                self.include,
            ),
            Verb::Watch => {
                let mut options = ListOptions::parse(&self.call.query, self.verb == Verb::Watch)?;
                if let Some(name) = &self.path.name {
                    options.fields = options.fields.and_name(name);
                }
                read::watch::watch(
                    core,
                    served,
                    self.namespace(),
                    options,
                    self.call.accept,
                    self.include,
                )
            }
            Verb::Create if served.resource.plural == "bindings" => self.legacy_binding().await,
            Verb::Create => {
                let mut object = self.body(warnings)?;
                if &*served.resource.storage == CERTIFICATE_REQUESTS {
                    review::sign(&mut object, &self.call.user);
                }
                let outcome = self.write().create(object).await?;
                warnings.extend(self.idle());
                warnings.extend(self.about(&outcome, None));
                Ok(self.written(201, &outcome))
            }
            Verb::Update => {
                let object = self.body(warnings)?;
                let before = self.generation();
                let (outcome, created) = self.write().put(self.name(), Part::Main, &object).await?;
                warnings.extend(self.about(&outcome, before));
                Ok(self.written(if created { 201 } else { 200 }, &outcome))
            }
            Verb::Patch => self.patch(Part::Main, warnings).await,
            Verb::Delete => self.delete(warnings).await,
            Verb::DeleteCollection => self.delete_collection().await,
        }
    }

    pub async fn patch(
        &self,
        part: Part,
        warnings: &mut Vec<String>,
    ) -> Result<Response<Body>, Status> {
        let format = Format::of(self.media_type(), self.served.resource.is_custom())?;
        format.check(&self.options)?;
        let patch = format.parse(&self.call.body)?;
        let before = self.generation();
        let (outcome, created) = self
            .write()
            .patch(self.name(), part, format, &patch, warnings)
            .await?;
        if part == Part::Main {
            warnings.extend(self.about(&outcome, before));
        }
        Ok(self.written(if created { 201 } else { 200 }, &outcome))
    }

    /// The generation of the object before it is written.
    fn generation(&self) -> Option<i64> {
        let entry = self.core.entry(&self.served, self.namespace(), self.name());
        entry
            .ok()
            .and_then(|entry| warnings::generation(&entry.object))
    }

    fn about(&self, outcome: &Outcome, before: Option<i64>) -> Vec<String> {
        warnings::of(&self.served, outcome.object(), before)
    }

    pub fn body(&self, warnings: &mut Vec<String>) -> Result<Value, Status> {
        decode::body(
            &self.call.body,
            self.media_type(),
            &self.served,
            self.options.validation,
            warnings,
        )
    }

    /// What was written, in the form the client wants.
    pub fn written(&self, code: u16, outcome: &Outcome) -> Response<Body> {
        match outcome {
            Outcome::Stored(entry) => {
                read::get::entry_answer(&self.served, code, entry, self.call.accept, self.include)
            }
            Outcome::Dry(_) => read::get::answer(
                &self.served,
                code,
                &outcome.shown(&self.served),
                self.call.accept,
                self.include,
            ),
        }
    }

    /// What is said of an object that nothing acts on.
    fn idle(&self) -> Option<String> {
        let resource = &self.served.resource;
        let settings = &self.core.settings;
        let idle = settings
            .idle
            .iter()
            .any(|(group, plural)| *group == resource.group && *plural == resource.plural);
        idle.then(|| {
            format!(
                "{} stores {}, but nothing acts on it",
                settings.called, resource.kind
            )
        })
    }

    async fn legacy_binding(&self) -> Result<Response<Body>, Status> {
        let binding = decode::parse(&self.call.body, self.media_type())?;
        let pods = self
            .core
            .registry()
            .find("", "v1", "pods")
            .ok_or_else(Status::no_such_path)?;
        let write = Write {
            served: &pods,
            ..self.write()
        };
        let status = write.bind(crate::object::name(&binding), &binding).await?;
        Ok(respond::value(201, &status, self.call.accept.yaml))
    }

    fn sent(&self) -> Result<Value, Status> {
        let mut object = decode::parse(&self.call.body, self.media_type())?;
        decode::expect_kind(&mut object, &self.served.gvk())?;
        Ok(object)
    }

    fn review(&self) -> Result<Response<Body>, Status> {
        let answer = review::answer(self.core, &self.call.user, self.namespace(), self.sent()?)?;
        Ok(respond::value(201, &answer, self.call.accept.yaml))
    }

    async fn virtual_create(
        &self,
        handler: &dyn crate::virtual_resource::VirtualHandler,
    ) -> Result<Response<Body>, Status> {
        let mut object = self.sent()?;
        crate::write::metadata::match_namespace(&mut object, self.namespace())?;
        let answer = handler
            .create(self.namespace(), object, &self.call.user)
            .await?;
        Ok(respond::value(201, &answer, self.call.accept.yaml))
    }
}

/// The body of a request that must be small enough.
pub fn too_large() -> Response<Body> {
    respond::refusal(&Status::new(
        413,
        Reason::RequestEntityTooLarge,
        "Request entity too large: limit is 3145728",
    ))
}

/// The body could not be read.
pub fn broken_body(error: &str) -> Response<Body> {
    respond::json(
        400,
        Bytes::from(json!(Status::bad_request(error).to_value()).to_string()),
    )
}
