//! What one check found.

use std::fmt;

use serde::Serialize;

/// A finding: what is there, what does not work without it, and the one command that mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check<Id> {
    pub id: Id,
    pub title: &'static str,
    pub status: Status,
    /// What is there, in a few words.
    pub found: String,
    /// What does not work without it; empty when all is well.
    pub breaks: &'static str,
    /// The one command that mends it.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Tells something; nothing depends on it.
    Info,
    /// The site starts, but something may not work.
    Warning,
    /// The site cannot be had.
    Failed,
}

impl<Id> Check<Id> {
    pub fn ok(id: Id, title: &'static str, found: impl Into<String>) -> Self {
        Self {
            id,
            title,
            status: Status::Ok,
            found: found.into(),
            breaks: "",
            fix: None,
        }
    }

    /// Neither good nor bad.
    pub fn info(id: Id, title: &'static str, found: impl Into<String>) -> Self {
        Self {
            status: Status::Info,
            ..Self::ok(id, title, found)
        }
    }

    /// The same, but it is not well.
    #[must_use]
    pub fn bad(self, status: Status, breaks: &'static str, fix: impl Into<Option<String>>) -> Self {
        Self {
            status,
            breaks,
            fix: fix.into(),
            ..self
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}
