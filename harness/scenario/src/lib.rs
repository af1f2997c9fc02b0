//! The scenario file: types, loading with places, lint, schema, parameters. No I/O beyond reading files.

pub mod diagnostic;
pub mod duration;
mod grammar;
mod lint;
mod manifest;
pub mod model;
mod node;
mod parameters;
mod read;
mod render;
mod schema;
pub mod sentence;
pub mod span;
mod suggest;
mod suite;
mod traps;

pub use diagnostic::{Code, Diagnostic, Label, Severity};
pub use manifest::{Manifest, ManifestObject, Manifests};
pub use model::*;
pub use render::{Style, render};
pub use schema::{schema, schema_text};
pub use span::{Located, SourceFile, Span};
pub use suite::{Selection, Suite, count};
