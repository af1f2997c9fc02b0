//! Durations as kubectl prints them: `5s`, `3m20s`, `5h`, `2d3h`.

use jiff::Timestamp;

use crate::object;

/// The time since an API timestamp; `<unknown>` when there is none.
pub fn since(time: &str, now: Timestamp) -> String {
    match object::parse_time(time) {
        Some(then) => human(now.as_second() - then.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// A duration in seconds, in at most two units.
pub fn human(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{big_unit}")
        } else {
            format!("{big}{big_unit}{small}{small_unit}")
        }
    };
    let (minutes, hours, days, years) = (
        seconds / 60,
        seconds / 3600,
        seconds / 86400,
        seconds / 86400 / 365,
    );
    match seconds {
        s if s < 120 => format!("{s}s"),
        s if minutes < 10 => two(minutes, "m", s % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 365 * 2 => format!("{days}d"),
        _ if years < 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(200, "3m20s")]
    #[case(601, "10m")]
    #[case(3 * 3600, "3h")]
    #[case(3 * 3600 + 60, "3h1m")]
    #[case(9 * 3600, "9h")]
    #[case(49 * 3600, "2d1h")]
    #[case(9 * 86400, "9d")]
    #[case(800 * 86400, "2y70d")]
    #[case(-10, "<invalid>")]
    fn durations(#[case] seconds: i64, #[case] text: &str) {
        assert_eq!(human(seconds), text);
    }
}
