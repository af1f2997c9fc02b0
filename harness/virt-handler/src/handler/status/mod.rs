//! What an instance's status says of its machine, from what is known: pure, and held against the record.

mod conditions;
mod guest;
mod interfaces;
mod migration;
mod phase;
#[cfg(test)]
mod recorded;
mod volumes;

pub use conditions::{Paused, agent, failure, paused};
pub use guest::os_info;
pub use interfaces::{Pod, merge as interfaces};
pub use migration::migratable;
pub use phase::phase;
pub use volumes::{checksums, sizes, targets};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The API's times are whole seconds.
fn now() -> Time {
    Time(jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default())
}
