//! Kubernetes quantities as exact numbers.

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An amount in thousandths (`100m` of CPU is 100; `1Ki` of memory is 1 024 000). Smaller fractions round up, as
/// upstream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(crate) struct Milli(pub i128);

impl Milli {
    /// None for text that is no quantity.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits_end = text
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits_end);
        let (numerator, denominator): (i128, i128) = match suffix {
            "" => (1, 1),
            "n" => (1, 1_000_000_000),
            "u" => (1, 1_000_000),
            "m" => (1, 1_000),
            "k" => (1_000, 1),
            "M" => (1_000_000, 1),
            "G" => (1_000_000_000, 1),
            "T" => (1_000_000_000_000, 1),
            "P" => (1_000_000_000_000_000, 1),
            "E" => (1_000_000_000_000_000_000, 1),
            "Ki" => (1 << 10, 1),
            "Mi" => (1 << 20, 1),
            "Gi" => (1 << 30, 1),
            "Ti" => (1 << 40, 1),
            "Pi" => (1 << 50, 1),
            "Ei" => (1 << 60, 1),
            exponent => {
                let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
                let scale = 10_i128.checked_pow(power.unsigned_abs())?;
                if power < 0 { (1, scale) } else { (scale, 1) }
            }
        };
        let negative = number.starts_with('-');
        let number = number.strip_prefix(['+', '-']).unwrap_or(number);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut value: i128 = 0;
        for digit in whole.chars().chain(fraction.chars()) {
            value = value
                .checked_mul(10)?
                .checked_add(i128::from(digit.to_digit(10)?))?;
        }
        let below = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let scaled = value.checked_mul(numerator)?.checked_mul(1_000)?;
        let divisor = below.checked_mul(denominator)?;
        let rounded = div_up(scaled, divisor);
        Some(Self(if negative { -rounded } else { rounded }))
    }

    pub(crate) fn of(quantity: &Quantity) -> Self {
        Self::parse(&quantity.0).unwrap_or_default()
    }

    /// Whole units, rounded up.
    pub(crate) fn units(self) -> i128 {
        div_up(self.0, 1_000)
    }

    /// How often `divisor` fits, rounded up, as `resourceFieldRef` counts.
    pub(crate) fn in_units_of(self, divisor: Self) -> i128 {
        match divisor.0.cmp(&0) {
            Ordering::Greater => div_up(self.0, divisor.0),
            _ => self.units(),
        }
    }
}

impl std::ops::Add for Milli {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::Sub for Milli {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl std::iter::Sum for Milli {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |a, b| a + b)
    }
}

fn div_up(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Milli;

    #[rstest]
    #[case("1", Some(1_000))]
    #[case("100m", Some(100))]
    #[case("1.5", Some(1_500))]
    #[case(".5", Some(500))]
    #[case("1Ki", Some(1_024_000))]
    #[case("0.1m", Some(1))]
    #[case("2e3", Some(2_000_000))]
    #[case("5E-1", Some(500))]
    #[case("-3", Some(-3_000))]
    #[case("1E", Some(1_000_000_000_000_000_000_000))]
    #[case("", None)]
    #[case("Ki", None)]
    #[case("1 Ki", None)]
    #[case("1.2.3", None)]
    fn parses(#[case] text: &str, #[case] milli: Option<i128>) {
        assert_eq!(Milli::parse(text).map(|m| m.0), milli);
    }

    #[test]
    fn divides_up() {
        let memory = Milli::parse("1500Ki").unwrap();
        assert_eq!(memory.in_units_of(Milli::parse("1Mi").unwrap()), 2);
        assert_eq!(Milli::parse("100m").unwrap().units(), 1);
    }
}
