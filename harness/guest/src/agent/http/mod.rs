//! HTTP/1.1, as much as a probe needs.

mod body;
mod url;

pub use self::body::{KEPT, Response, exchange};
pub use self::url::{Scheme, Url};
