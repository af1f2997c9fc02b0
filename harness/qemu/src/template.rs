//! Saving a machine and waking copies of it.
//!
//! The memory is not part of the state: it lies in a file that the template wrote to and that every copy maps
//! privately (`x-ignore-shared`). So a copy starts at once, and pays only for the pages it writes.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use crate::error::QmpError;
use crate::qmp::{Events, Qmp};

/// Stops the machine and writes what its memory does not hold. Its memory must be
/// [`Recorded`](crate::Backing::Recorded). QEMU may be ended afterwards.
pub async fn save(qmp: &Qmp, state: &Path) -> Result<(), QmpError> {
    let mut events = qmp.events();
    ignore_shared_memory(qmp).await?;
    qmp.run("stop", json!({})).await?;
    let uri = format!("file:{}", state.display());
    qmp.run("migrate", json!({"uri": uri})).await?;
    finished(qmp, &mut events, "saved").await
}

/// Loads the state into a machine whose memory is a [`Template`](crate::Backing::Template). It stands still
/// afterwards: plug in what it needs, then `cont`.
pub async fn restore(qmp: &Qmp, state: &Path) -> Result<(), QmpError> {
    let mut events = qmp.events();
    ignore_shared_memory(qmp).await?;
    let uri = format!("file:{}", state.display());
    qmp.run("migrate-incoming", json!({"uri": uri})).await?;
    finished(qmp, &mut events, "restored").await
}

/// `events` lets both ends tell how far the migration is.
async fn ignore_shared_memory(qmp: &Qmp) -> Result<(), QmpError> {
    let on = |name| json!({"capability": name, "state": true});
    let capabilities = json!({"capabilities": [on("x-ignore-shared"), on("events")]});
    qmp.run("migrate-set-capabilities", capabilities).await
}

async fn finished(qmp: &Qmp, events: &mut Events, what: &'static str) -> Result<(), QmpError> {
    #[derive(Deserialize)]
    struct State {
        #[serde(rename = "error-desc")]
        error: Option<String>,
    }
    while let Some(event) = events.next().await {
        if event.name != "MIGRATION" {
            continue;
        }
        match event.data["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => {
                let state: State = qmp.execute("query-migrate", json!({})).await?;
                let detail = state
                    .error
                    .unwrap_or_else(|| "QEMU gave no reason".to_owned());
                return Err(QmpError::Migration { what, detail });
            }
            _ => {}
        }
    }
    Err(QmpError::Gone)
}
