//! Who may do what.

pub mod bootstrap;
pub mod impersonate;
pub mod rbac;
pub mod review;
pub mod tokens;
