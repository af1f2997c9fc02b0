//! Amounts as Kubernetes writes them.

use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubeQuantity;
use serde::{Deserialize, Deserializer, Serialize, de};

/// An amount such as `128Mi`, `1`, `250m` or `1e3`, in its shortest form, as Go writes it. Numbers are read as well, as the
/// API does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Quantity(pub String);

const SUFFIXES: [(&str, i128, i128); 13] = [
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("m", 1, 1000),
    ("k", 1000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
];

impl Quantity {
    /// The amount in thousandths, rounded up. Nothing when it is not an amount.
    pub fn millis(&self) -> Option<i128> {
        let text = self.0.trim();
        let found = SUFFIXES
            .iter()
            .find_map(|(suffix, times, by)| Some((text.strip_suffix(suffix)?, *times, *by)));
        let (number, times, by, exponent) = match found {
            Some((number, times, by)) => (number, times, by, 0),
            None => match text.split_once(['e', 'E']) {
                Some((number, exponent)) => (number, 1, 1, exponent.parse::<i32>().ok()?),
                None => (text, 1, 1, 0),
            },
        };
        let (digits, scale) = decimal(number)?;
        let exponent = exponent
            .checked_sub(i32::try_from(scale).ok()?)?
            .checked_add(3)?;
        let scaled = digits.checked_mul(times)?;
        let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
        if exponent >= 0 {
            return Some(ceil(scaled.checked_mul(power)?, by));
        }
        Some(ceil(scaled, by.checked_mul(power)?))
    }

    /// The amount as a whole number, rounded up: bytes of memory, for example.
    pub fn whole(&self) -> Option<u64> {
        u64::try_from(ceil(self.millis()?, 1000)).ok()
    }

    /// Reads an amount into its shortest form: `1024Mi` is `1Gi`. What is not an amount stays as it is.
    pub fn new(text: &str) -> Self {
        let read = Self(text.trim().to_owned());
        let Some(millis) = read.millis() else {
            return read;
        };
        let unit = read
            .0
            .trim_start_matches(|letter: char| !letter.is_ascii_alphabetic());
        match (unit, u64::try_from(ceil(millis, 1000))) {
            (unit, Ok(whole)) if unit.ends_with('i') && whole >= 1024 => Self::from_bytes(whole),
            (unit, _) if unit.starts_with('e') || (unit.starts_with('E') && unit.len() > 1) => read,
            (unit, Ok(whole)) if unit.ends_with('i') => Self(whole.to_string()),
            _ => Self::from_millis(millis),
        }
    }

    /// In the largest decimal unit that leaves no fraction.
    fn from_millis(millis: i128) -> Self {
        const UNITS: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];
        let (mut amount, mut unit) = (millis, 0);
        while amount != 0 && amount % 1000 == 0 && unit + 1 < UNITS.len() {
            (amount, unit) = (amount / 1000, unit + 1);
        }
        Self(if amount == 0 {
            "0".to_owned()
        } else {
            format!("{amount}{}", UNITS[unit])
        })
    }

    /// `bytes` in the largest binary unit that divides them, as Go writes it.
    pub fn from_bytes(bytes: u64) -> Self {
        let unit = [
            ("Ei", 60),
            ("Pi", 50),
            ("Ti", 40),
            ("Gi", 30),
            ("Mi", 20),
            ("Ki", 10),
        ]
        .into_iter()
        .find(|(_, shift)| bytes >> shift > 0 && bytes.is_multiple_of(1_u64 << shift));
        Self(unit.map_or_else(
            || bytes.to_string(),
            |(suffix, shift)| format!("{}{suffix}", bytes >> shift),
        ))
    }
}

fn ceil(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

/// The digits of a decimal number and how many of them stand behind the point.
fn decimal(number: &str) -> Option<(i128, usize)> {
    let (sign, unsigned) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((sign * digits.parse::<i128>().ok()?, fraction.len()))
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<Quantity> for KubeQuantity {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.0)
    }
}

impl From<KubeQuantity> for Quantity {
    fn from(quantity: KubeQuantity) -> Self {
        Self::new(&quantity.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a quantity")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::new(text))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity::new(&number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity::new(&number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                Ok(Quantity::new(&number.to_string()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, millis) in [
            ("128Mi", (128_i128 << 20) * 1000),
            ("1", 1000),
            ("250m", 250),
            ("1.5Gi", (3_i128 << 29) * 1000),
            ("2e3", 2_000_000),
            ("1E", 10_i128.pow(21)),
            ("0.1m", 1),
            ("-1", -1000),
        ] {
            assert_eq!(Quantity::from(text).millis(), Some(millis), "{text}");
        }
        for text in ["", "Mi", "1 Gi", "lots", "1.2.3"] {
            assert_eq!(Quantity::from(text).millis(), None, "{text}");
        }
        assert_eq!(Quantity::from("1500m").whole(), Some(2));
    }

    #[test]
    fn amounts_are_written_as_go_writes_them() {
        for (text, canonical) in [
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("0.5Ki", "512"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1000M", "1G"),
            ("1024M", "1024M"),
            ("2e3", "2e3"),
            ("0", "0"),
            ("lots", "lots"),
        ] {
            assert_eq!(Quantity::new(text).0, canonical, "{text}");
        }
    }

    #[test]
    fn bytes_are_written_in_the_largest_unit_that_fits() {
        assert_eq!(Quantity::from_bytes(1 << 30).0, "1Gi");
        assert_eq!(Quantity::from_bytes(1536 << 20).0, "1536Mi");
        assert_eq!(Quantity::from_bytes(1025).0, "1025");
    }
}
