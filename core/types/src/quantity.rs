//! Kubernetes resource quantities (`100m`, `1.5Gi`), exact where Go's `resource.Quantity` is.
//!
//! A quantity is a whole number of nano-units with the notation it was written in. Parsing rounds what is finer than
//! a nano-unit away from zero; printing gives the canonical form (largest suffix without a fraction). Two quantities
//! are equal when their amounts are, whatever their notation.
//!
//! Left out: amounts beyond 10^29, which are cut to that bound, and Go's habit of printing some parsed texts as they
//! were written. Where Go's integer readings overflow, these stop at the ends of `i64`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};

use crate::api::QuantityText;

/// Nano-units in one unit.
const NANOS: i128 = 1_000_000_000;
/// Nano-units in one thousandth.
const NANOS_PER_MILLI: i128 = 1_000_000;
/// Largest magnitude kept, in nano-units: 10^29 units. Far above anything a node has.
const MAX_NANOS: i128 = 10_i128.pow(38);
/// Largest magnitude of a text with a binary suffix, in units (upstream's cap).
const MAX_BINARY_UNITS: i128 = i64::MAX as i128;

/// The notation a quantity prints in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum QuantityFormat {
    /// `12M`: powers of 1000.
    #[default]
    DecimalSi,
    /// `12Mi`: powers of 1024.
    BinarySi,
    /// `12e6`.
    DecimalExponent,
}

/// A quantity as a whole number of nano-units (1e-9), the finest step that Kubernetes keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: QuantityFormat,
}

/// A text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity: write a number with an optional suffix such as m, k, M, Ki, Mi or Gi")]
pub struct QuantityError {
    text: String,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: QuantityFormat::DecimalSi };

    /// A number of whole units, printed with decimal suffixes.
    pub fn from_value(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANOS, format: QuantityFormat::DecimalSi }
    }

    /// A number of thousandths, printed with decimal suffixes.
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * NANOS_PER_MILLI, format: QuantityFormat::DecimalSi }
    }

    /// A number of bytes, printed with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self::from_value(bytes).with_format(QuantityFormat::BinarySi)
    }

    /// The same amount in another notation.
    pub fn with_format(self, format: QuantityFormat) -> Self {
        Self { format, ..self }
    }

    /// The notation it prints in.
    pub fn format(self) -> QuantityFormat {
        self.format
    }

    /// Whole units; a fraction is rounded away from zero (Go's `Value`).
    pub fn value(self) -> i64 {
        self.scaled(NANOS)
    }

    /// Thousandths; a finer fraction is rounded away from zero (Go's `MilliValue`).
    pub fn milli_value(self) -> i64 {
        self.scaled(NANOS_PER_MILLI)
    }

    /// True for no amount at all.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// True below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// How many times `divisor` fits, rounded up; `None` for a divisor that is not positive.
    pub fn divide_ceil(self, divisor: Self) -> Option<i64> {
        (divisor.nanos > 0).then(|| {
            let whole = self.nanos.div_euclid(divisor.nanos);
            let rest = self.nanos.rem_euclid(divisor.nanos);
            saturate(whole + i128::from(rest != 0))
        })
    }

    fn scaled(self, nanos_per_step: i128) -> i64 {
        let whole = self.nanos / nanos_per_step;
        saturate(match self.nanos % nanos_per_step {
            0 => whole,
            rest => whole + rest.signum(),
        })
    }

    fn of(nanos: i128, format: QuantityFormat) -> Self {
        Self { nanos: nanos.clamp(-MAX_NANOS, MAX_NANOS), format }
    }
}

fn saturate(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

/// The sum keeps the notation of the left side, or that of the right when the left is zero.
impl Add for Quantity {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        let format = if self.is_zero() { rhs.format } else { self.format };
        Self::of(self.nanos.saturating_add(rhs.nanos), format)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self { nanos: -self.nanos, format: self.format }
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        self + -rhs
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

/// A multiplier: `2^binary * 10^decimal`.
struct Suffix {
    binary: u32,
    decimal: i64,
    format: QuantityFormat,
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        let decimal = |decimal| Some(Self { binary: 0, decimal, format: QuantityFormat::DecimalSi });
        let binary = |binary| Some(Self { binary, decimal: 0, format: QuantityFormat::BinarySi });
        match text {
            "" => decimal(0),
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
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
            _ => {
                let exponent = text.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
                Some(Self { binary: 0, decimal: exponent.into(), format: QuantityFormat::DecimalExponent })
            }
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    /// Takes what upstream's parser takes: sign, digits with an optional point, suffix. No spaces.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| QuantityError { text: text.chars().take(64).collect() })
    }
}

impl TryFrom<&QuantityText> for Quantity {
    type Error = QuantityError;

    /// From an API object's text; space around it is dropped as upstream's JSON decoding does.
    fn try_from(text: &QuantityText) -> Result<Self, Self::Error> {
        text.0.trim().parse()
    }
}

impl From<Quantity> for QuantityText {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.to_string())
    }
}

fn parse(text: &str) -> Option<Quantity> {
    if text.is_empty() {
        return None;
    }
    let (negative, unsigned) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let whole_end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (whole, rest) = unsigned.split_at(whole_end);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let suffix = Suffix::parse(suffix)?;
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    let points = i64::try_from(fraction.len()).ok()?;
    for _ in 0..suffix.binary / 10 {
        multiply_by_1024(&mut digits);
    }
    let mut nanos = whole_part(&digits, suffix.decimal - points + 9);
    let mut format = suffix.format;
    if format == QuantityFormat::BinarySi {
        nanos = nanos.min(MAX_BINARY_UNITS * NANOS);
        if (1..NANOS).contains(&nanos) {
            format = QuantityFormat::DecimalSi;
        }
    }
    Some(Quantity { nanos: if negative { -nanos } else { nanos }, format })
}

/// Multiplies a number given by its decimal digits, first digit most significant.
fn multiply_by_1024(digits: &mut Vec<u8>) {
    let mut carry = 0_u32;
    for digit in digits.iter_mut().rev() {
        let product = u32::from(*digit) * 1024 + carry;
        // invariant: a remainder of 10 fits.
        *digit = (product % 10) as u8;
        carry = product / 10;
    }
    while carry > 0 {
        digits.insert(0, (carry % 10) as u8);
        carry /= 10;
    }
}

/// `digits * 10^shift`, rounded up to a whole number and cut to [`MAX_NANOS`].
fn whole_part(digits: &[u8], shift: i64) -> i128 {
    let start = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
    let digits = &digits[start..];
    if digits.is_empty() {
        return 0;
    }
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(shift);
    if length > 39 {
        return MAX_NANOS;
    }
    let whole_digits = usize::try_from(length).unwrap_or(0);
    let number = (0..whole_digits).fold(0_i128, |sum, at| {
        sum.saturating_mul(10).saturating_add(i128::from(digits.get(at).copied().unwrap_or(0)))
    });
    let inexact = digits.iter().skip(whole_digits).any(|digit| *digit != 0);
    number.saturating_add(i128::from(inexact)).min(MAX_NANOS)
}

impl fmt::Display for Quantity {
    /// The canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let below_1024 = self.nanos.abs() < 1024 * NANOS;
        if self.format == QuantityFormat::BinarySi && !below_1024 && self.nanos % NANOS == 0 {
            let (number, steps) = without_factors(self.nanos / NANOS, 1024, 6);
            return write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][steps]);
        }
        if self.format == QuantityFormat::DecimalExponent {
            // 13 steps of 1000 are more than the largest amount has.
            let (number, steps) = without_factors(self.nanos, 1000, 13);
            return match steps {
                3 => write!(f, "{number}"),
                _ => write!(f, "{number}e{}", 3 * steps as i64 - 9),
            };
        }
        let (number, steps) = without_factors(self.nanos, 1000, 9);
        write!(f, "{number}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][steps])
    }
}

/// Divides by `factor` as often as it goes without rest, at most `most` times.
fn without_factors(mut number: i128, factor: i128, most: usize) -> (i128, usize) {
    let mut steps = 0;
    while steps < most && number % factor == 0 {
        number /= factor;
        steps += 1;
    }
    (number, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    /// `testdata/quantities.tsv` holds upstream's answers: text, format, canonical form, value, milli value.
    #[test]
    fn every_golden_text_reads_as_upstream_reads_it() {
        let mut seen = 0;
        for line in include_str!("../testdata/quantities.tsv").split_terminator('\n') {
            let columns: Vec<&str> = line.split('\t').collect();
            let parsed = columns[0].parse::<Quantity>();
            seen += 1;
            if columns[1] == "error" {
                assert!(parsed.is_err(), "{:?} parsed as {parsed:?}", columns[0]);
                continue;
            }
            let parsed = parsed.unwrap_or_else(|e| panic!("{e}"));
            let format = match columns[1] {
                "DecimalSI" => QuantityFormat::DecimalSi,
                "BinarySI" => QuantityFormat::BinarySi,
                _ => QuantityFormat::DecimalExponent,
            };
            assert_eq!(parsed.format(), format, "{:?}", columns[0]);
            assert_eq!(parsed.to_string(), columns[2], "{:?}", columns[0]);
            if columns[3] != "-" {
                assert_eq!(parsed.value().to_string(), columns[3], "{:?}", columns[0]);
            }
            if columns[4] != "-" {
                assert_eq!(parsed.milli_value().to_string(), columns[4], "{:?}", columns[0]);
            }
        }
        assert!(seen > 800, "only {seen} vectors");
    }

    #[test]
    fn division_rounds_up() {
        for (amount, divisor, times) in [
            ("1", "1m", Some(1000)),
            ("250m", "1", Some(1)),
            ("1001Mi", "1Gi", Some(1)),
            ("1025Mi", "1Gi", Some(2)),
            ("0", "1", Some(0)),
            ("1", "0", None),
        ] {
            assert_eq!(quantity(amount).divide_ceil(quantity(divisor)), times, "{amount} / {divisor}");
        }
    }

    #[test]
    fn a_sum_keeps_the_left_notation_unless_it_is_zero() {
        assert_eq!((quantity("1Gi") + quantity("512M")).to_string(), "1548576Ki");
        assert_eq!((Quantity::ZERO + quantity("512Mi")).to_string(), "512Mi");
        assert_eq!((quantity("2") - quantity("500m")).to_string(), "1500m");
        assert_eq!(Quantity::from_bytes(1 << 30).to_string(), "1Gi");
    }

    #[test]
    fn amounts_beyond_the_bounds_are_cut_not_wrapped() {
        assert_eq!(quantity("1e99"), quantity("1e29"));
        assert_eq!(quantity("-1e99").value(), i64::MIN);
        assert_eq!(quantity("1e99") + quantity("1e99"), quantity("1e29"));
        assert_eq!(quantity("1e-2000000000").to_string(), "1e-9");
        assert!("1e99999999999".parse::<Quantity>().is_err());
        assert_eq!(quantity(&"9".repeat(5000)), quantity("1e29"));
    }

    proptest! {
        #[test]
        fn the_canonical_form_reads_back_as_the_same_amount(nanos in -10_i128.pow(37)..10_i128.pow(37), kind in 0..3) {
            let format = [QuantityFormat::DecimalSi, QuantityFormat::BinarySi, QuantityFormat::DecimalExponent][kind as usize];
            let quantity = Quantity { nanos, format };
            let again: Quantity = quantity.to_string().parse().unwrap();
            if format != QuantityFormat::BinarySi || nanos.abs() <= MAX_BINARY_UNITS * NANOS {
                prop_assert_eq!(again, quantity);
            }
            prop_assert_eq!(again.to_string(), again.to_string().parse::<Quantity>().unwrap().to_string());
        }

        #[test]
        fn parsing_never_panics(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn order_follows_the_amount(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(Quantity::from_milli(a).cmp(&Quantity::from_milli(b)), a.cmp(&b));
            prop_assert_eq!(Quantity::from_milli(a).milli_value(), a);
            prop_assert_eq!(Quantity::from_value(a).value(), a);
        }
    }
}
