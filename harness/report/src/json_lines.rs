//! The event stream as JSON, a line each.

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
};

use trunkline_engine::events::Event;

use crate::{Consumer, ReportError, write_all};

/// Writes every event as soon as it comes, so that the file can be followed and is complete up to a crash.
pub struct JsonLines<W> {
    path: PathBuf,
    writer: W,
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<W: Write> JsonLines<W> {
    /// `path` names the report in errors.
    pub fn new(path: impl AsRef<Path>, writer: W) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            writer,
        }
    }
}

impl<W: Write + Send> Consumer for JsonLines<W> {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        let mut line = serde_json::to_vec(event).map_err(|error| ReportError::Format {
            path: self.path.clone(),
            message: error.to_string(),
        })?;
        line.push(b'\n');
        write_all(&self.path, &mut self.writer, &line)
    }
}
