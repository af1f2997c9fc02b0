//! Runs scenarios: applies manifests, watches objects, probes, judges, and tells what happened as a stream of typed
//! events. It knows Kubernetes and no site.

mod capture;
mod console;
mod context;
mod convert;
mod error;
pub mod events;
mod evidence;
mod journal;
mod objects;
pub mod plan;
mod probes;
pub mod rights;
mod run;
mod site;
mod stop;
mod text;
mod until;
mod verdict;

pub use error::api_message;
pub use events::{CaseOutcome, CaseOutcome as RunOutcome, ExitClass};
pub use journal::{Identity, Journal, JournalError};
pub use objects::{RUN_LABEL, SCENARIO_LABEL};
pub use run::{Cleanup, RunOptions, broken, requires::missing, run, skip};
pub use site::{
    AgentDelivery, Capabilities, EvidenceRequest, HelperImage, Protocol, Site, SiteError, Upload,
};
pub use text::seconds;
