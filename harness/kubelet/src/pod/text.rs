//! Words that upstream writes in its own way.

use std::time::Duration;

use trunkline_userland::Image;

/// `repository@digest`.
pub(super) fn image_id(image: &Image) -> String {
    let name = image.reference.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |i| i + 1);
    let repository = name[slash..]
        .find(':')
        .map_or(name, |colon| &name[..slash + colon]);
    format!("{repository}@{}", image.digest)
}

/// `10s`, `1m20s`, `5m0s`, `12ms`, as Go prints durations.
pub(super) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn durations_as_go_prints_them() {
        for (seconds, text) in [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (3600, "1h0m0s")] {
            assert_eq!(super::go_duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(super::go_duration(Duration::from_millis(12)), "12ms");
    }
}
