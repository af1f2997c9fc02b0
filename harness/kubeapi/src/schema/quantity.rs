//! Resource quantities (`500m`, `1.5Gi`) in the form Kubernetes stores them.

use serde_json::Value;

/// Quantities are kept to a billionth.
const NANO: i32 = 9;

#[derive(Clone, Copy, PartialEq)]
enum Format {
    /// Powers of ten as suffixes: n, u, m, k, M, …
    Decimal,
    /// Powers of 1024 as suffixes: Ki, Mi, …
    Binary,
    /// `e3`
    Exponent,
}

/// Brings a quantity, which may be a bare number, into canonical form; what is no quantity stays as it is.
pub(super) fn canonicalise(value: &mut Value) {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    if let Some(canonical) = canonical(&text) {
        *value = canonical.into();
    }
}

fn canonical(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let (format, exponent) = suffix_meaning(suffix)?;
    let digits = format!("{whole}{fraction}");
    let value: i128 = digits.parse().ok()?;
    if value == 0 {
        return Some("0".to_owned());
    }
    let places = i32::try_from(fraction.len()).ok()?;
    // Text that is canonical as far as it goes is kept as it was written.
    let kept = match format {
        Format::Binary => fraction.is_empty() && value & 7 != 0,
        Format::Decimal | Format::Exponent => {
            (exponent - places) % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
        }
    };
    if kept && digits.len() <= 18 {
        return Some(text.to_owned());
    }
    let nano = match format {
        Format::Binary => scale(
            value.checked_mul(1_i128.checked_shl(u32::try_from(exponent).ok()?)?)?,
            NANO - places,
        )?,
        Format::Decimal | Format::Exponent => scale(value, NANO + exponent - places)?,
    };
    let negative = if text.starts_with('-') { "-" } else { "" };
    let unit = 10_i128.pow(NANO.unsigned_abs());
    let canonical = if format == Format::Binary && nano % unit == 0 && nano / unit >= 1024 {
        binary(nano / unit)
    } else {
        let format = match format {
            Format::Binary => Format::Decimal,
            other => other,
        };
        decimal(nano, format)
    };
    Some(format!("{negative}{canonical}"))
}

fn suffix_meaning(suffix: &str) -> Option<(Format, i32)> {
    let decimal = |exponent| Some((Format::Decimal, exponent));
    let binary = |exponent| Some((Format::Binary, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        other => {
            let exponent = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((Format::Exponent, exponent))
        }
    }
}

/// `value * 10^power`, rounded away from zero.
fn scale(value: i128, power: i32) -> Option<i128> {
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    if power >= 0 {
        value.checked_mul(factor)
    } else {
        Some((value + factor - 1) / factor)
    }
}

fn binary(mut value: i128) -> String {
    let mut times = 0;
    while value >= 1024 && value % 1024 == 0 && times < 6 {
        value /= 1024;
        times += 1;
    }
    let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][times];
    format!("{value}{suffix}")
}

fn decimal(nano: i128, format: Format) -> String {
    let mut value = nano;
    let mut exponent = -NANO;
    while value % 10 == 0 && (exponent < 18 || format == Format::Exponent) {
        value /= 10;
        exponent += 1;
    }
    while exponent % 3 != 0 {
        value *= 10;
        exponent -= 1;
    }
    let suffix = match (format, exponent) {
        (_, 0) => String::new(),
        (Format::Exponent, exponent) => format!("e{exponent}"),
        (_, exponent) => {
            let index = usize::try_from((exponent + NANO) / 3).unwrap_or_default();
            ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index.min(9)].to_owned()
        }
    };
    format!("{value}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use rstest::rstest;

    #[rstest]
    #[case("0.5", "500m")]
    #[case("1", "1")]
    #[case("1.0", "1")]
    #[case("100m", "100m")]
    #[case("1000m", "1")]
    #[case("1500m", "1500m")]
    #[case("1000", "1k")]
    #[case("1.5Gi", "1536Mi")]
    #[case("1Gi", "1Gi")]
    #[case("1024Mi", "1Gi")]
    #[case("1000Mi", "1000Mi")]
    #[case("0.5Ki", "512")]
    #[case("0", "0")]
    #[case("0Gi", "0")]
    #[case("1e3", "1e3")]
    #[case("1000e3", "1e6")]
    #[case("-0.5", "-500m")]
    #[case("0.0000000001", "1n")]
    #[case("128974848", "128974848")]
    fn quantities_become_canonical(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(canonical(text).as_deref(), Some(expected));
    }

    #[test]
    fn other_text_is_no_quantity() {
        assert_eq!(canonical("lots"), None);
        assert_eq!(canonical("1Qi"), None);
    }
}
