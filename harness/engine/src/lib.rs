//! Runs scenarios: applies manifests, watches objects, probes, judges, and tells what happened as a stream of typed
//! events. It knows Kubernetes and no site.

mod capture;
mod context;
mod convert;
mod error;
pub mod events;
mod evidence;
mod objects;
pub mod plan;
mod probes;
mod run;
mod site;
mod stop;
mod text;
mod until;
mod verdict;

pub use events::{CaseOutcome, CaseOutcome as RunOutcome, ExitClass};
pub use objects::{RUN_LABEL, SCENARIO_LABEL};
pub use run::{Cleanup, RunOptions, run};
pub use site::{AgentDelivery, Capabilities, EvidenceRequest, Protocol, Site, SiteError};
pub use text::seconds;
