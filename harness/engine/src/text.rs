//! Numbers as people read them.

use std::time::Duration;

/// `2.00s`, `350ms`: three digits, because nobody reads more.
pub fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        under if under < 0.0095 => format!("{:.1}ms", under * 1e3),
        under if under < 0.9995 => format!("{:.0}ms", under * 1e3),
        under if under < 9.995 => format!("{under:.2}s"),
        under if under < 99.95 => format!("{under:.1}s"),
        other => format!("{}m{:02.0}s", (other / 60.0).floor(), other % 60.0),
    }
}

/// Text cut to a length that fits into a sentence, with the number of bytes left out.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 300;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}… ({} bytes more)", &text[..cut], text.len() - cut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(1, "1.0ms")]
    #[case(250, "250ms")]
    #[case(1234, "1.23s")]
    #[case(12_340, "12.3s")]
    #[case(125_000, "2m05s")]
    fn durations_have_three_digits(#[case] millis: u64, #[case] text: &str) {
        assert_eq!(seconds(Duration::from_millis(millis)), text);
    }
}
