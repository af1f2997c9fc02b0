//! Checks of names, labels, annotations and other metadata, in the words of Kubernetes.

pub mod field;
pub mod metadata;
pub mod name;
