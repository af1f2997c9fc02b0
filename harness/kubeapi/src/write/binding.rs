//! Assigning pods to nodes, and evicting them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::create::Ownership;
use super::{Part, Write};
use crate::kinds::workloads::selects;
use crate::object;
use crate::request::{DeleteOptions, Query};
use crate::schema::Gvk;
use crate::status::{Cause, Reason, Status};
use crate::validation::field;

impl Write<'_> {
    /// Puts a pod on the node its Binding names.
    pub async fn bind(&self, pod: &str, binding: &Value) -> Result<Value, Status> {
        let node = object::text(binding, &["target", "name"]);
        // Upstream does not classify these two.
        let odd = |error: crate::schema::FieldError| {
            Err(Status::new(500, Reason::Unknown, error.to_string()))
        };
        let kind = object::text(binding, &["target", "kind"]);
        if !matches!(kind, "" | "Node") {
            return odd(field::not_supported(
                "target.kind",
                kind,
                &["Node", "<empty>"],
            ));
        }
        if node.is_empty() {
            return odd(field::required("target.name", ""));
        }
        if object::name(binding) != pod {
            return Err(Status::bad_request(
                "name in URL does not match name in Binding object",
            ));
        }
        self.admit_posted("binding", pod, binding, self.options.dry_run)
            .await?;
        let now = object::time(Timestamp::now());
        self.change_unseen(pod, Part::View("binding"), Ownership::Noted, |current| {
            let conflict =
                |why: String| Err(Status::conflict("", "pods/binding", pod, &why));
            if object::is_deleting(current) {
                return conflict(format!("pod {pod} is being deleted, cannot be assigned to a host"));
            }
            self.check_uid(binding, current)?;
            let assigned = object::text(current, &["spec", "nodeName"]);
            if !assigned.is_empty() {
                return conflict(format!("pod {pod} is already assigned to node {assigned:?}"));
            }
            let mut new = current.clone();
            object::set(&mut new, &["spec", "nodeName"], node);
            let annotations = object::map(binding, &["metadata", "annotations"]);
            for (key, value) in annotations.into_iter().flatten() {
                object::set(&mut new, &["metadata", "annotations", key], value.clone());
            }
            let conditions = object::child(&mut new, "status");
            let mut list: Vec<Value> = object::list(conditions, &["conditions"])
                .iter()
                .filter(|c| object::text(c, &["type"]) != "PodScheduled")
                .cloned()
                .collect();
            list.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
            conditions["conditions"] = Value::Array(list);
            Ok(new)
        })?;
        Ok(
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        )
    }

    /// Deletes a pod unless a disruption budget forbids it.
    pub async fn evict(&self, pod: &str, eviction: &Value) -> Result<Value, Status> {
        let kind = object::text(eviction, &["kind"]);
        if !matches!(kind, "" | "Eviction") {
            let mut eviction = eviction.clone();
            crate::decode::expect_kind(&mut eviction, &Gvk::new("policy", "v1", "Eviction"))?;
        }
        if object::name(eviction) != pod {
            return Err(Status::bad_request(
                "name in URL does not match name in Eviction object",
            ));
        }
        let options = object::at(eviction, &["deleteOptions"]);
        let mut options = DeleteOptions::parse(&Query::default(), options)?;
        options.dry_run |= self.options.dry_run;
        self.admit_posted("eviction", pod, eviction, options.dry_run)
            .await?;
        let entry = self.core.entry(self.served, self.namespace, pod)?;
        self.check_budgets(&entry.object)?;
        super::delete::delete(self.core, self.served, self.namespace, pod, &options)?;
        Ok(
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        )
    }

    fn check_budgets(&self, pod: &Value) -> Result<(), Status> {
        let budgets = self
            .core
            .store
            .list("poddisruptionbudgets.policy", self.namespace);
        let labels = object::at(pod, &["metadata", "labels"]);
        let exhausted = budgets.entries.iter().find(|budget| {
            let budget = &budget.object;
            let selector = object::at(budget, &["spec", "selector"]);
            !selector.is_null()
                && selects(selector, labels)
                && object::integer(budget, &["status", "disruptionsAllowed"]).unwrap_or(0) <= 0
        });
        let Some(budget) = exhausted else {
            return Ok(());
        };
        let name = object::name(&budget.object);
        let needs = object::integer(&budget.object, &["status", "desiredHealthy"]).unwrap_or(0);
        let has = object::integer(&budget.object, &["status", "currentHealthy"]).unwrap_or(0);
        Err(Status::new(
            429,
            Reason::TooManyRequests,
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
        .with_causes(vec![Cause {
            reason: "DisruptionBudget".to_owned(),
            message: format!(
                "The disruption budget {name} needs {needs} healthy pods and has {has} currently"
            ),
            field: String::new(),
        }]))
    }
}
