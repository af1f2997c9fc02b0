//! Jobs and CronJobs.

use serde_json::{Value, json};

use super::{Strategy, fixed, pod_spec};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

#[derive(Debug)]
pub struct Job;

impl Strategy for Job {
    /// The selector is made here: by then the job has its uid and, if generated, its name.
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
        if object::at(object, &["spec", "manualSelector"]) == &Value::Bool(true) {
            return;
        }
        let (uid, name) = (
            object::uid(object).to_owned(),
            object::name(object).to_owned(),
        );
        for (label, value) in [
            (UID_LABEL, &uid),
            (NAME_LABEL, &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            object::set(
                object,
                &["spec", "template", "metadata", "labels", label],
                value.as_str(),
            );
        }
        object::set(
            object,
            &["spec", "selector", "matchLabels", UID_LABEL],
            uid.as_str(),
        );
    }

    fn default(&self, object: &mut Value) {
        let labels = object::at(object, &["spec", "template", "metadata", "labels"]).clone();
        let own = object::map(object, &["metadata", "labels"]);
        if labels.is_object() && own.is_none_or(serde_json::Map::is_empty) {
            object::set(object, &["metadata", "labels"], labels);
        }
        default_job_spec(object::child(object, "spec"));
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        restart_policy(object, &["spec", "template"])
            .into_iter()
            .chain(pod_spec::validate(
                object::at(object, &["spec", "template", "spec"]),
                "spec.template.spec",
            ))
            .collect()
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        [
            &["spec", "selector"][..],
            &["spec", "completionMode"],
            &["spec", "template"],
            &["spec", "podFailurePolicy"],
        ]
        .into_iter()
        .filter_map(|path| fixed(new, old, path))
        .collect()
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

fn default_job_spec(spec: &mut Value) {
    if object::at(spec, &["completions"]).is_null() && object::at(spec, &["parallelism"]).is_null()
    {
        object::default(spec, "completions", 1);
    }
    object::default(spec, "parallelism", 1);
    object::default(spec, "backoffLimit", 6);
    object::default(spec, "completionMode", "NonIndexed");
    object::default(spec, "suspend", false);
    object::default(spec, "manualSelector", false);
    let policy = if object::at(spec, &["podFailurePolicy"]).is_null() {
        "TerminatingOrFailed"
    } else {
        "Failed"
    };
    object::default(spec, "podReplacementPolicy", policy);
    pod_spec::default_template(spec);
}

fn restart_policy(object: &Value, template: &[&str]) -> Option<FieldError> {
    let path: Vec<&str> = template
        .iter()
        .chain(&["spec", "restartPolicy"])
        .copied()
        .collect();
    let policy = object::text(object, &path);
    (policy == "Always")
        .then(|| field::required(&path.join("."), "valid values: \"OnFailure\", \"Never\""))
}

#[derive(Debug)]
pub struct CronJob;

impl Strategy for CronJob {
    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        object::default(spec, "concurrencyPolicy", "Allow");
        object::default(spec, "suspend", false);
        object::default(spec, "successfulJobsHistoryLimit", 3);
        object::default(spec, "failedJobsHistoryLimit", 1);
        let job = object::child(object::child(spec, "jobTemplate"), "spec");
        pod_spec::default_template(job);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if object::text(object, &["spec", "schedule"]).is_empty() {
            errors.push(field::required("spec.schedule", ""));
        } else if object::text(object, &["spec", "schedule"]).contains("TZ") {
            errors.push(field::invalid(
                "spec.schedule",
                object::text(object, &["spec", "schedule"]),
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ));
        }
        errors.extend(restart_policy(
            object,
            &["spec", "jobTemplate", "spec", "template"],
        ));
        errors
    }

    fn counts_generation(&self) -> bool {
        true
    }
}
