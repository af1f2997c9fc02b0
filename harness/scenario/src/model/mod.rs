//! The scenario as the engine sees it: typed, checked as far as a file can be, every value with its place.
//!
//! What the file looks like is the business of `grammar` and `read`; a short form and
//! its long form become the same value here.

mod capture;
mod cel;
mod cel_names;
mod expect;
mod matcher;
mod probe;
mod reference;
mod scenario;
mod step;
mod template;
mod timeouts;
mod until;

pub use capture::{AttachmentField, Capture, CaptureSpec, Let, NotYet};
pub(crate) use cel::OBJECT_NAMES;
pub use cel::{Cel, CelError};
pub use expect::{
    Answer, DnsAnswer, ExecAnswer, Expect, HttpAnswer, Outcome, PingAnswer, TcpAnswer, Unanswered,
    Way,
};
pub use matcher::{Bound, JsonSubset, Mismatch, Statement, StatusMatch, TextMatch};
pub use probe::{Body, Call, Curl, Dns, Exec, Ping, Probe, RecordType, Tcp, Udp};
pub(crate) use reference::similar_kind;
pub use reference::{NamespaceName, ObjectRef, Source, Subject, canonical_kind, is_namespaced};
pub use scenario::{
    CaseId, ExpectedFailure, Login, Namespace, Requires, Retry, Scenario, Sdn, SourceNote, Spec,
};
pub use step::{Action, Apply, Delete, Lifecycle, Rejected, Step, Target};
pub use template::{Hole, JsonTemplate, Late, Phrase, PhraseError, Scope, Template, is_name};
pub use timeouts::{TimeoutKind, Timeouts};
pub use until::{Condition, Until, UntilSpec};
