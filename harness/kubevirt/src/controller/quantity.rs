//! Amounts of resources, written as Kubernetes writes them.

use std::fmt;
use std::ops::Add;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubeQuantity;

use crate::types::Quantity;

/// In which steps an amount is written; the sum of two keeps that of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Ki, Mi, Gi.
    Binary,
    /// m, k, M, G.
    Decimal,
}

/// An amount in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    milli: i128,
    format: Format,
}

const BINARY: [(&str, u32); 6] = [
    ("Ei", 60),
    ("Pi", 50),
    ("Ti", 40),
    ("Gi", 30),
    ("Mi", 20),
    ("Ki", 10),
];
const DECIMAL: [(&str, u32); 6] = [
    ("E", 18),
    ("P", 15),
    ("T", 12),
    ("G", 9),
    ("M", 6),
    ("k", 3),
];

impl Amount {
    pub(crate) const fn mebibytes(count: i128) -> Self {
        Self {
            milli: count * 1_000 * (1 << 20),
            format: Format::Binary,
        }
    }

    /// Plain units, written with decimal suffixes.
    pub(crate) const fn units(count: i128) -> Self {
        Self {
            milli: count * 1_000,
            format: Format::Decimal,
        }
    }

    pub(crate) const fn thousandths(count: i128) -> Self {
        Self {
            milli: count,
            format: Format::Decimal,
        }
    }

    /// None for what is no quantity.
    pub(crate) fn of(quantity: &Quantity) -> Option<Self> {
        Some(Self {
            milli: quantity.millis()?,
            format: if quantity.0.ends_with('i') {
                Format::Binary
            } else {
                Format::Decimal
            },
        })
    }

    /// Whole units, rounded up as Kubernetes does.
    pub(crate) fn value(self) -> i128 {
        self.milli.div_euclid(1_000) + i128::from(self.milli.rem_euclid(1_000) != 0)
    }

    pub(crate) fn is_zero(self) -> bool {
        self.milli == 0
    }

    pub(crate) fn quantity(self) -> KubeQuantity {
        KubeQuantity(self.to_string())
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            milli: self.milli + other.milli,
            format: if self.is_zero() {
                other.format
            } else {
                self.format
            },
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.format == Format::Binary && self.value().abs() >= 1024 {
            let value = self.value();
            let fitting = BINARY.iter().find(|(_, shift)| value % (1 << shift) == 0);
            return match fitting {
                Some((suffix, shift)) => write!(f, "{}{suffix}", value >> shift),
                None => write!(f, "{value}"),
            };
        }
        if self.milli % 1_000 != 0 {
            return write!(f, "{}m", self.milli);
        }
        let value = self.milli / 1_000;
        let fitting = DECIMAL
            .iter()
            .find(|(_, power)| value != 0 && value % 10_i128.pow(*power) == 0);
        match fitting {
            Some((suffix, power)) => write!(f, "{}{suffix}", value / 10_i128.pow(*power)),
            None => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Amount;

    fn parse(text: &str) -> Amount {
        Amount::of(&text.into()).unwrap()
    }

    #[rstest]
    #[case("128Mi", "128Mi")]
    #[case("1024Mi", "1Gi")]
    #[case("0.5Gi", "512Mi")]
    #[case("1000Mi", "1000Mi")]
    #[case("512", "512")]
    #[case("1G", "1G")]
    #[case("1500M", "1500M")]
    #[case("1e3", "1k")]
    #[case("100m", "100m")]
    #[case("1000m", "1")]
    #[case("0", "0")]
    #[case("0.1", "100m")]
    #[case("1Ki", "1Ki")]
    fn is_written_in_the_largest_steps(#[case] text: &str, #[case] written: &str) {
        assert_eq!(parse(text).to_string(), written);
    }

    #[test]
    fn a_sum_is_written_as_its_first_part() {
        let sum = |a, b| (parse(a) + parse(b)).to_string();
        assert_eq!(sum("128Mi", "268Mi"), "396Mi");
        assert_eq!(sum("0", "268Mi"), "268Mi");
        assert_eq!(sum("1G", "24M"), "1024M");
        assert_eq!(sum("1Gi", "1"), "1073741825");
    }
}
