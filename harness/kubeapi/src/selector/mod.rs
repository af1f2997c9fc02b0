//! Label and field selectors of list, watch and deletecollection requests.

pub mod field;
pub mod label;

pub use field::FieldSelector;
pub use label::LabelSelector;

/// A selector that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
