//! Requests that delete.

use http::Response;
use serde_json::Value;

use super::resource::Routed;
use super::respond;
use crate::body::Body;
use crate::convert;
use crate::decode;
use crate::read;
use crate::request::DeleteOptions;
use crate::request::options::ListOptions;
use crate::status::{Reason, Status, success};
use crate::write::Write;
use crate::write::delete::{Deleted, default_propagation, delete};

impl Routed<'_> {
    fn delete_options(&self) -> Result<DeleteOptions, Status> {
        let body = if self.call.body.is_empty() {
            Value::Null
        } else {
            // Upstream does not classify this error.
            decode::parse(&self.call.body, self.media_type())
                .map_err(|status| Status::new(500, Reason::Unknown, status.message))?
        };
        DeleteOptions::parse(&self.call.query, &body)
    }

    pub async fn delete(&self, warnings: &mut Vec<String>) -> Result<Response<Body>, Status> {
        let options = self.delete_options()?;
        if options.propagation.is_none()
            && default_propagation(&self.served.resource.storage).is_some()
        {
            warnings.push(
                "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
                 them or set propagationPolicy=Orphan to suppress this warning"
                    .to_owned(),
            );
        }
        self.write()
            .admit_deletion(self.name(), options.dry_run)
            .await?;
        let deleted = delete(
            self.core,
            &self.served,
            self.namespace(),
            self.name(),
            &options,
        )?;
        let waits = matches!(deleted, Deleted::Waiting(_));
        let object = convert::from_stored(&self.served, deleted.object());
        if waits || self.served.strategy().returns_deleted() {
            // Who asks in the old way learns that the deletion has only been accepted.
            let code = if waits && options.cascades { 202 } else { 200 };
            return Ok(read::get::answer(
                &self.served,
                code,
                &object,
                self.call.accept,
                self.include,
            ));
        }
        let resource = &self.served.resource;
        let status = success(
            &resource.group,
            &resource.plural,
            self.name(),
            crate::object::uid(&object),
        );
        Ok(respond::value(200, &status, self.call.accept.yaml))
    }

    pub async fn delete_collection(&self) -> Result<Response<Body>, Status> {
        let options = self.delete_options()?;
        let page = read::list::page(
            self.core,
            &self.served,
            self.namespace(),
            &ListOptions::parse(&self.call.query, false)?,
        )?;
        for entry in &page.entries {
            let namespace = crate::object::namespace(&entry.object);
            let namespace = Some(namespace).filter(|n| !n.is_empty());
            let name = crate::object::name(&entry.object);
            Write {
                namespace,
                ..self.write()
            }
            .admit_deletion(name, options.dry_run)
            .await?;
            let deleted = delete(self.core, &self.served, namespace, name, &options);
            match deleted {
                Err(status) if !status.is_not_found() => return Err(status),
                _ => {}
            }
        }
        Ok(read::list::answer(
            &self.served,
            &page,
            self.call.accept,
            self.include,
        ))
    }
}
