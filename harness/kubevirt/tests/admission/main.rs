//! KubeVirt's defaults and refusals as clients of a real API server meet them: what was recorded, and what upstream says.
#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::result_large_err,
    reason = "helpers of tests are to be short"
)]

mod cluster;
mod defaults;
mod lives;
mod refusals;
