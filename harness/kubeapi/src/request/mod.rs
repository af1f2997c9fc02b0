//! What a request asks for: parsed from its method, path, query and headers, and nothing else.

pub mod accept;
pub mod options;
pub mod path;
pub mod query;
pub mod verb;

pub use accept::{Accept, Form, Include};
pub use options::{DeleteOptions, ListOptions, Propagation, Validation, WriteOptions};
pub use path::{Discovery, ResourcePath, Target};
pub use query::Query;
pub use verb::Verb;
