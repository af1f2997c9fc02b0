//! The tests. Each has a namespace of its own.

mod basics;
mod config;
mod context;
mod lifecycle;
mod streams;
mod workloads;

use std::pin::Pin;

pub use context::Context;
use libtest_mimic::Failed;

pub type Outcome = Result<(), Failed>;
type Test = fn(Context) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => {
        /// All of them by name.
        pub fn all() -> Vec<(&'static str, Test)> {
            vec![$((stringify!($name), |context| Box::pin($module::$name(context)))),*]
        }
    };
}

tests![
    basics::a_pod_runs_and_goes,
    basics::three_at_once_are_fast,
    basics::exit_codes,
    basics::fosdem_security,
    basics::the_pods_own_files,
    basics::programs_that_are_not_there,
    basics::images_that_are_not_there,
    basics::root_is_refused,
    basics::networks_that_fail,
    streams::exec_with_input,
    streams::exec_on_a_terminal,
    streams::exec_of_nothing,
    streams::logs_follow,
    streams::attach_types_into_a_container,
    streams::port_forward,
    config::config_maps_change,
    config::environment,
    config::missing_config_maps_are_waited_for,
    config::volumes_of_every_kind,
    config::images_as_volumes,
    config::claims_bind_with_their_first_pod,
    config::tokens_of_accounts,
    lifecycle::init_containers_go_first,
    lifecycle::sidecars_come_up_first_and_go_last,
    lifecycle::crashes_back_off,
    lifecycle::grace_and_kill,
    lifecycle::hooks,
    lifecycle::readiness_over_http,
    lifecycle::liveness_restarts,
    lifecycle::deadlines,
    workloads::deployments_roll,
    workloads::deployments_recreate,
    workloads::jobs_complete,
    workloads::jobs_give_up,
    workloads::stateful_sets_count,
    workloads::daemon_sets_cover_the_workers,
    workloads::services_have_endpoints,
    workloads::what_fits_nowhere_says_why,
];
