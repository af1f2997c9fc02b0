//! Termination messages.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use k8s_openapi::api::core::v1::Container;

use crate::logs::LogBuffer;

const LONGEST: u64 = 4096;
const LOG_LINES: usize = 80;
const LOG_BYTES: usize = 2048;

/// What the container left in its file, or the end of its log if it failed without a word and asked for that.
pub(super) fn message(
    container: &Container,
    file: &Path,
    log: &LogBuffer,
    exit_code: i32,
) -> Option<String> {
    let mut text = Vec::new();
    if let Ok(file) = File::open(file) {
        // what cannot be read counts as not written
        let _ = file.take(LONGEST).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    if !text.is_empty() {
        return Some(text);
    }
    let fallback = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    (fallback && exit_code != 0)
        .then(|| log.tail(LOG_LINES, LOG_BYTES))
        .filter(|t| !t.is_empty())
}
