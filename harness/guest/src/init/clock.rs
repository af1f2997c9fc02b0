//! The time, as text.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    seconds: i64,
    millis: u32,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

impl Utc {
    pub fn now() -> Self {
        Self::at(since_epoch_ms())
    }

    /// So many milliseconds after 1970 began.
    pub fn at(millis: i64) -> Self {
        let seconds = millis.div_euclid(1_000);
        let days = seconds.div_euclid(86_400);
        // Days since 0000-03-01, so that the leap day is a year's last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = (shifted_month + 2) % 12;
        Self {
            year: year_of_era + era * 400 + i64::from(month < 2),
            month: usize::try_from(month).unwrap_or_default(),
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            weekday: usize::try_from(days.rem_euclid(7)).unwrap_or_default(),
            seconds: seconds.rem_euclid(86_400),
            millis: u32::try_from(millis.rem_euclid(1_000)).unwrap_or_default(),
        }
    }

    fn clock(&self) -> String {
        let seconds = self.seconds;
        format!(
            "{:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        )
    }

    /// As cloud-init's log begins its lines.
    pub fn log_stamp(&self) -> String {
        format!(
            "{:04}-{:02}-{:02} {},{:03}",
            self.year,
            self.month + 1,
            self.day,
            self.clock(),
            self.millis
        )
    }

    /// As in a mail's header.
    pub fn rfc2822(&self) -> String {
        format!(
            "{}, {:02} {} {} {} +0000",
            WEEKDAYS[self.weekday],
            self.day,
            MONTHS[self.month],
            self.year,
            self.clock()
        )
    }

    /// As `date` and the login show it.
    pub fn ctime(&self) -> String {
        format!(
            "{} {} {:>2} {} {}",
            WEEKDAYS[self.weekday],
            MONTHS[self.month],
            self.day,
            self.clock(),
            self.year
        )
    }
}

pub fn since_epoch_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

/// Days since 1970, as the shadow file counts.
pub fn today() -> i64 {
    since_epoch_ms() / 86_400_000
}

/// Seconds since the kernel started.
pub fn uptime() -> String {
    std::fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split_whitespace().next().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_text() {
        let moment = Utc::at(1_795_293_251_042);
        assert_eq!(moment.log_stamp(), "2026-11-21 20:34:11,042");
        assert_eq!(moment.rfc2822(), "Sat, 21 Nov 2026 20:34:11 +0000");
        assert_eq!(moment.ctime(), "Sat Nov 21 20:34:11 2026");
        assert_eq!(Utc::at(0).log_stamp(), "1970-01-01 00:00:00,000");
        let leap = Utc::at(1_709_164_800_000);
        assert_eq!(leap.ctime(), "Thu Feb 29 00:00:00 2024");
        let last = Utc::at(1_735_689_599_999);
        assert_eq!(last.log_stamp(), "2024-12-31 23:59:59,999");
    }
}
