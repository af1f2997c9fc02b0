//! Durations as people write them: `2s`, `1m30s`, `500ms`.

use std::time::Duration;

use jiff::fmt::friendly::{Designator, Spacing, SpanParser, SpanPrinter};

/// Requires a unit: a bare `90` is refused, because seconds and milliseconds are both plausible.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a duration");
    SpanParser::new()
        .parse_unsigned_duration(text.trim())
        .map_err(|_| refused())
}

/// The compact form: `1m 30s` is written `1m30s`.
pub fn show(duration: Duration) -> String {
    SpanPrinter::new()
        .designator(Designator::Compact)
        .spacing(Spacing::None)
        .unsigned_duration_to_string(&duration)
}
