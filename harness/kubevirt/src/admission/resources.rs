//! Whether memory and processors can be what is asked for.

use super::causes::{Causes, Path};
use super::config::ClusterConfig;
use super::names;
use crate::types::{Quantity, VirtualMachineInstanceSpec};

/// Of memory.
const LEAST_REQUEST: i128 = 1_000_000;

pub(super) fn validate(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    config: &ClusterConfig,
) {
    let amounts = Amounts::of(spec);
    memory_requests(causes, field, &amounts);
    memory_limits(causes, field, &amounts);
    huge_pages(causes, field, spec, &amounts);
    guest_memory(causes, field, spec, &amounts, config);
    machine(causes, field, spec, config);
    processors(causes, field, &amounts);
}

/// What is asked for, in thousandths.
struct Amounts<'s> {
    memory_request: Amount<'s>,
    memory_limit: Amount<'s>,
    cpu_request: Amount<'s>,
    cpu_limit: Amount<'s>,
}

#[derive(Clone, Copy)]
struct Amount<'s> {
    text: &'s str,
    millis: i128,
}

impl<'s> Amount<'s> {
    fn of(quantity: Option<&'s Quantity>) -> Self {
        Self {
            text: quantity.map_or("0", |quantity| quantity.0.as_str()),
            millis: quantity.and_then(Quantity::millis).unwrap_or(0),
        }
    }
}

impl<'s> Amounts<'s> {
    fn of(spec: &'s VirtualMachineInstanceSpec) -> Self {
        let resources = &spec.domain.resources;
        Self {
            memory_request: Amount::of(resources.requests.get("memory")),
            memory_limit: Amount::of(resources.limits.get("memory")),
            cpu_request: Amount::of(resources.requests.get("cpu")),
            cpu_limit: Amount::of(resources.limits.get("cpu")),
        }
    }
}

fn not_negative(causes: &mut Causes, field: &Path, amount: Amount<'_>) {
    if amount.millis < 0 {
        causes.invalid(
            field,
            format!(
                "{field} '{}': must be greater than or equal to 0.",
                amount.text
            ),
        );
    }
}

fn within(causes: &mut Causes, field: &Path, what: &str, request: Amount<'_>, limit: Amount<'_>) {
    let requests = field.child("domain.resources.requests").child(what);
    if limit.millis > 0 && request.millis > limit.millis {
        let limits = field.child("domain.resources.limits").child(what);
        causes.invalid(
            &requests,
            format!(
                "{requests} '{}' is greater than {limits} '{}'",
                request.text, limit.text
            ),
        );
    }
}

fn memory_requests(causes: &mut Causes, field: &Path, amounts: &Amounts<'_>) {
    let path = field.child("domain.resources.requests.memory");
    let request = amounts.memory_request;
    not_negative(causes, &path, request);
    if request.millis > 0 && request.millis < LEAST_REQUEST * 1000 {
        causes.invalid(
            &path,
            format!(
                "{path} '{}': must be greater than or equal to 1M.",
                request.text
            ),
        );
    }
}

fn memory_limits(causes: &mut Causes, field: &Path, amounts: &Amounts<'_>) {
    not_negative(
        causes,
        &field.child("domain.resources.limits.memory"),
        amounts.memory_limit,
    );
    within(
        causes,
        field,
        "memory",
        amounts.memory_request,
        amounts.memory_limit,
    );
}

fn huge_pages(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    amounts: &Amounts<'_>,
) {
    let memory = spec.domain.memory.as_ref();
    let Some(pages) = memory.and_then(|memory| memory.hugepages.as_ref()) else {
        return;
    };
    let text = pages["pageSize"].as_str().unwrap_or_default();
    let size = field.child("domain.memory.hugepages.pageSize");
    let Some(page) = Quantity::from(text).millis() else {
        causes.invalid(
            &size,
            format!(
                "{size} '{text}': quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ),
        );
        return;
    };
    let guest = Amount::of(memory.and_then(|memory| memory.guest.as_ref()));
    let asked = [amounts.memory_request, guest, amounts.memory_limit]
        .into_iter()
        .find(|amount| amount.millis != 0)
        .map_or(0, |amount| amount.millis);
    let requests = field.child("domain.resources.requests.memory");
    let request = amounts.memory_request.text;
    if asked != 0 && asked < page {
        causes.invalid(
            &requests,
            format!(
                "{requests} '{request}' must be equal to or larger than page size {size} '{text}'"
            ),
        );
    } else if page != 0 && asked % page != 0 {
        causes.invalid(
            &requests,
            format!("{requests} '{request}' is not a multiple of the page size {size} '{text}'"),
        );
    }
}

fn guest_memory(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    amounts: &Amounts<'_>,
    config: &ClusterConfig,
) {
    let guest = spec
        .domain
        .memory
        .as_ref()
        .and_then(|memory| memory.guest.as_ref());
    let guest = Amount::of(guest);
    let limit = amounts.memory_limit;
    if !config.live_update && limit.millis != 0 && limit.millis < guest.millis {
        let path = field.child("domain.memory.guest");
        let limits = field.child("domain.resources.limits.memory");
        causes.invalid(
            &path,
            format!(
                "{path} '{}' must be equal to or less than the memory limit {limits} '{}'",
                guest.text, limit.text
            ),
        );
    }
}

fn machine(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    config: &ClusterConfig,
) {
    let Some(machine) = spec
        .domain
        .machine
        .as_ref()
        .filter(|machine| !machine.type_.is_empty())
    else {
        return;
    };
    let allowed = config.machines(spec.architecture.as_deref().unwrap_or_default());
    if !allowed
        .iter()
        .any(|pattern| names::matches(pattern, &machine.type_))
    {
        let path = field.child("domain.machine.type");
        causes.invalid(
            &path,
            format!(
                "{path} is not supported: {} (allowed values: [{}])",
                machine.type_,
                allowed.join(" ")
            ),
        );
    }
}

fn processors(causes: &mut Causes, field: &Path, amounts: &Amounts<'_>) {
    not_negative(
        causes,
        &field.child("domain.resources.requests.cpu"),
        amounts.cpu_request,
    );
    not_negative(
        causes,
        &field.child("domain.resources.limits.cpu"),
        amounts.cpu_limit,
    );
    within(causes, field, "cpu", amounts.cpu_request, amounts.cpu_limit);
}

/// An instance must say how much memory it wants.
pub(super) fn mandatory(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let memory = spec.domain.memory.as_ref();
    let given = memory.is_some_and(|memory| memory.guest.is_some() || memory.hugepages.is_some());
    if Amounts::of(spec).memory_request.millis == 0 && !given {
        causes.required_somewhere(format!(
            "no memory requested, at least one of '{}', '{}' or '{}' must be set",
            field.child("domain.memory.guest"),
            field.child("domain.memory.hugepages.pageSize"),
            field.child("domain.resources.requests.memory"),
        ));
    }
}
