//! String formats of custom resource schemas. Formats Kubernetes does not know are ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;

/// A format by its name in schemas; dashes do not count (`date-time`, `datetime`).
pub(crate) fn known(name: &str) -> Option<fn(&str) -> bool> {
    let check: fn(&str) -> bool = match name.replace('-', "").as_str() {
        "bsonobjectid" => |s| s.len() == 24 && s.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => uri,
        "email" => email,
        "hostname" => hostname,
        "ipv4" => |s| s.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => |s| s.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr,
        "mac" => mac,
        "uuid" => |s| uuid(s, None),
        "uuid3" => |s| uuid(s, Some('3')),
        "uuid4" => |s| uuid(s, Some('4')),
        "uuid5" => |s| uuid(s, Some('5')),
        "isbn" => |s| isbn10(s) || isbn13(s),
        "isbn10" => isbn10,
        "isbn13" => isbn13,
        "creditcard" => |s| CREDIT_CARD.is_match(&digits(s)),
        "ssn" => |s| SSN.is_match(s),
        "hexcolor" => |s| HEX_COLOR.is_match(s),
        "rgbcolor" => |s| RGB_COLOR.is_match(s),
        "byte" => |s| base64::engine::general_purpose::STANDARD.decode(s).is_ok(),
        "password" => |_| true,
        "date" => |s| s.parse::<jiff::civil::Date>().is_ok() && s.len() == 10,
        "duration" => |s| DURATION.is_match(s),
        "datetime" => date_time,
        "k8sshortname" => |s| s.len() <= 63 && SHORT_NAME.is_match(s),
        "k8slongname" => |s| s.len() <= 253 && s.split('.').all(|label| SHORT_NAME.is_match(label)),
        _ => return None,
    };
    Some(check)
}

macro_rules! patterns {
    ($($name:ident = $pattern:literal;)*) => {
        $(static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($pattern).expect("a constant expression"));)*
    };
}

patterns! {
    CREDIT_CARD = r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11})$";
    SSN = r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$";
    HEX_COLOR = r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$";
    RGB_COLOR = r"^rgb\(\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\)$";
    SHORT_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
    HOST_LABEL = r"^[a-zA-Z0-9\p{L}]([a-zA-Z0-9\p{L}-]{0,61}[a-zA-Z0-9\p{L}])?$";
    // Go durations, and the wordy ones ("22 ns", "3 days").
    DURATION = r"^([-+]?([0-9]*\.?[0-9]+(ns|us|µs|μs|ms|s|m|h))+|[-+]?0|([0-9]+\s*(n|ns|nano|nanos|nanosecond|nanoseconds|us|µs|μs|micro|micros|microsecond|microseconds|ms|milli|millis|millisecond|milliseconds|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hour|hours|d|day|days|w|week|weeks)\s*)+)$";
    DATE_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?([Zz]|[-+][0-9]{2}:?[0-9]{2})$";
}

fn date_time(text: &str) -> bool {
    DATE_TIME.is_match(text)
        && text
            .get(..19)
            .is_some_and(|t| t.parse::<jiff::civil::DateTime>().is_ok())
}

fn uri(text: &str) -> bool {
    let has_scheme = || {
        text.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        })
    };
    !text.chars().any(|c| c.is_control() || c == ' ') && (text.starts_with('/') || has_scheme())
}

fn email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && !user.contains([' ', '@', ','])
            && !host.is_empty()
            && !host.contains(' ')
    })
}

fn hostname(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text
            .strip_suffix('.')
            .unwrap_or(text)
            .split('.')
            .all(|label| HOST_LABEL.is_match(label))
}

fn cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(ip, length)| {
        let max = match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.bytes().all(|b| b.is_ascii_digit())
            && length.parse::<u8>().is_ok_and(|length| length <= max)
    })
}

fn mac(text: &str) -> bool {
    let octets = |separator: char, width: usize, lengths: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        lengths.contains(&parts.len())
            && parts
                .iter()
                .all(|p| p.len() == width && p.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    octets(':', 2, [6, 8, 20]) || octets('-', 2, [6, 8, 20]) || octets('.', 4, [3, 4, 10])
}

fn uuid(text: &str, version: Option<char>) -> bool {
    let hex: Vec<char> = text.chars().filter(|c| *c != '-').collect();
    hex.len() == 32
        && text.len() >= 32
        && hex.iter().all(char::is_ascii_hexdigit)
        && version.is_none_or(|v| hex[12] == v)
        && (!matches!(version, Some('4' | '5'))
            || matches!(hex[16].to_ascii_lowercase(), '8' | '9' | 'a' | 'b'))
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn isbn10(text: &str) -> bool {
    let compact: Vec<char> = text.chars().filter(|c| !"- ".contains(*c)).collect();
    compact.len() == 10
        && compact
            .iter()
            .zip((1..=10).rev())
            .try_fold(0, |sum, (c, weight)| {
                let value = match c {
                    'X' if weight == 1 => 10,
                    c => c.to_digit(10)?,
                };
                Some(sum + value * weight)
            })
            .is_some_and(|sum| sum % 11 == 0)
}

fn isbn13(text: &str) -> bool {
    let compact: Vec<char> = text.chars().filter(|c| !"- ".contains(*c)).collect();
    compact.len() == 13
        && compact
            .iter()
            .zip([1, 3].into_iter().cycle())
            .try_fold(0, |sum, (c, weight)| Some(sum + c.to_digit(10)? * weight))
            .is_some_and(|sum| sum % 10 == 0)
}

#[cfg(test)]
mod tests {
    use super::known;
    use rstest::rstest;

    #[rstest]
    #[case("ipv4", "10.0.0.1", "10.0.0.256")]
    #[case("ipv6", "fd00::1", "10.0.0.1")]
    #[case("cidr", "10.0.0.0/24", "10.0.0.0/33")]
    #[case("cidr", "fd00::/64", "fd00::")]
    #[case("mac", "0a:58:0a:f4:00:01", "0a:58:0a:f4:00")]
    #[case("uuid", "5F2C1D7E-7E3B-4A0F-9A50-0242AC120002", "5f2c1d7e")]
    #[case(
        "uuid4",
        "5f2c1d7e-7e3b-4a0f-9a50-0242ac120002",
        "5f2c1d7e-7e3b-1a0f-9a50-0242ac120002"
    )]
    #[case("date-time", "2026-11-21T14:00:00Z", "2026-11-21 14:00")]
    #[case(
        "date-time",
        "2026-11-21T14:00:00.123456+01:00",
        "2026-13-21T14:00:00Z"
    )]
    #[case("date", "2026-11-21", "21.11.2026")]
    #[case("duration", "1h30m", "1 fortnight")]
    #[case("byte", "aGVsbG8=", "aGVsbG8")]
    #[case("uri", "https://example.org/x", "not a uri")]
    #[case("email", "a@example.org", "example.org")]
    #[case("hostname", "db.example.org", "-db")]
    #[case("isbn", "978-0321751041", "978-0321751042")]
    #[case("isbn10", "0321751043", "0321751044")]
    #[case("k8s-short-name", "a-b", "a.b")]
    #[case("k8s-long-name", "a.b", "a..b")]
    fn formats_accept_and_refuse(#[case] name: &str, #[case] good: &str, #[case] bad: &str) {
        let check = known(name).expect("a known format");
        assert!(check(good), "{name} refuses {good}");
        assert!(!check(bad), "{name} accepts {bad}");
    }

    #[test]
    fn other_formats_are_ignored() {
        assert!(known("int32").is_none());
        assert!(known("whatever").is_none());
    }
}
