//! The inside of Go's `resource.Quantity` after parsing: which number and scale it keeps, and whether it keeps the text.
//!
//! One amount has many such forms ("1024Mi" and "1Gi" differ), so this works on the text as written and cannot use
//! [`core_types::Quantity`], which holds amounts.

use std::fmt;

/// Digits that fit into 64 bits for certain.
const MAX_DIGITS: usize = 18;

/// Scale of the smallest quantity.
const NANO_SCALE: i32 = -9;

/// Scale that the API defaults round resource lists to.
const MILLI_SCALE: i32 = -3;

/// What the API defaults do to a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    None,
    UpToMilli,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Unset,
    DecimalExponent,
    DecimalSi,
    BinarySi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    /// `value * 10^scale`.
    Int { value: i64, scale: i32 },
    /// `unscaled / 10^places`.
    Dec { negative: bool, unscaled: u128, places: i32 },
}

/// A parsed quantity as Go holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoQuantity<'a> {
    amount: Amount,
    /// The text, which Go keeps when it is in canonical form.
    kept: &'a str,
    format: Format,
}

/// A quantity taken apart.
#[derive(Debug)]
struct Parts<'a> {
    negative: bool,
    /// Digits before the point without leading zeros, at least one.
    whole: &'a str,
    /// Digits behind the point.
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> GoQuantity<'a> {
    /// A quantity that nobody set.
    pub(super) const UNSET: GoQuantity<'static> =
        GoQuantity { amount: Amount::Int { value: 0, scale: 0 }, kept: "", format: Format::Unset };

    /// Parses a text; `None` for what is no quantity or too large for this.
    pub(super) fn parse(text: &'a str, rounding: Rounding) -> Option<Self> {
        if text == "0" {
            let amount = Amount::Int { value: 0, scale: 0 };
            return Some(GoQuantity { amount, kept: text, format: Format::DecimalSi });
        }
        let parts = Parts::of(text)?;
        let (exponent, format) = suffix(parts.suffix)?;
        let parsed = match parse_int(&parts, exponent, format) {
            Some((amount, canonical)) => {
                GoQuantity { amount, kept: if canonical { text } else { "" }, format }
            }
            None => parse_dec(&parts, exponent, format)?,
        };
        match rounding {
            Rounding::None => Some(parsed),
            Rounding::UpToMilli => parsed.rounded_up_to_milli(),
        }
    }

    fn rounded_up_to_milli(self) -> Option<Self> {
        let amount = match self.amount {
            Amount::Int { scale, .. } if scale >= MILLI_SCALE => return Some(self),
            Amount::Int { value, scale } => {
                let divisor = 10_i64.checked_pow(MILLI_SCALE.abs_diff(scale))?;
                let carry = if value % divisor == 0 { 0 } else { value.signum() };
                Amount::Int { value: value / divisor + carry, scale: MILLI_SCALE }
            }
            Amount::Dec { negative, unscaled, places } => Amount::Dec {
                negative,
                unscaled: rescale(unscaled, places, -MILLI_SCALE)?,
                places: -MILLI_SCALE,
            },
        };
        Some(GoQuantity { amount, kept: "", ..self })
    }
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let digits = unsigned.trim_start_matches('0');
        let (whole, rest) = digits.split_at(count_digits(digits));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(count_digits(rest)),
            None => ("", rest),
        };
        let negative = text.starts_with('-');
        let whole = if whole.is_empty() { "0" } else { whole };
        (!unsigned.is_empty()).then_some(Parts { negative, whole, fraction, suffix })
    }
}

fn count_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Exponent (of 2 for [`Format::BinarySi`], else of 10) and format of a suffix.
fn suffix(suffix: &str) -> Option<(i32, Format)> {
    Some(match suffix {
        "n" => (-9, Format::DecimalSi),
        "u" => (-6, Format::DecimalSi),
        "m" => (-3, Format::DecimalSi),
        "" => (0, Format::DecimalSi),
        "k" => (3, Format::DecimalSi),
        "M" => (6, Format::DecimalSi),
        "G" => (9, Format::DecimalSi),
        "T" => (12, Format::DecimalSi),
        "P" => (15, Format::DecimalSi),
        "E" => (18, Format::DecimalSi),
        "Ki" => (10, Format::BinarySi),
        "Mi" => (20, Format::BinarySi),
        "Gi" => (30, Format::BinarySi),
        "Ti" => (40, Format::BinarySi),
        "Pi" => (50, Format::BinarySi),
        "Ei" => (60, Format::BinarySi),
        other => (other.strip_prefix(['e', 'E'])?.parse().ok()?, Format::DecimalExponent),
    })
}

/// The form for amounts that fit into 64 bits for certain, and whether the text was canonical.
fn parse_int(parts: &Parts<'_>, exponent: i32, format: Format) -> Option<(Amount, bool)> {
    let digits = parts.whole.len() + parts.fraction.len();
    let (scale, factor) = match format {
        Format::BinarySi => {
            // So many decimal digits does the factor take at most.
            let taken = usize::try_from(exponent * 3 / 10 + 1).ok()?;
            if !parts.fraction.is_empty() || parts.whole.len() + taken > 15 {
                return None;
            }
            (0, 1_i64.checked_shl(exponent.unsigned_abs())?)
        }
        _ if digits > MAX_DIGITS => return None,
        _ => (exponent, 1),
    };
    let scale = scale.checked_sub(i32::try_from(parts.fraction.len()).ok()?)?;
    if scale < NANO_SCALE {
        return None;
    }
    let shifted = format!("{}{}", parts.whole, parts.fraction);
    let unsigned: i64 = shifted.parse().ok()?;
    let value = unsigned.checked_mul(factor)?;
    let canonical = match format {
        Format::BinarySi => unsigned & 7 != 0,
        _ => scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
    };
    Some((Amount::Int { value: if parts.negative { -value } else { value }, scale }, canonical))
}

/// The form for all other amounts: with nine decimal places, rounded up.
fn parse_dec<'a>(parts: &Parts<'_>, exponent: i32, format: Format) -> Option<GoQuantity<'a>> {
    let unscaled: u128 = format!("{}{}", parts.whole, parts.fraction).parse().ok()?;
    let places = i32::try_from(parts.fraction.len()).ok()?;
    let (unscaled, places) = match format {
        Format::BinarySi => (unscaled.checked_mul(1 << exponent.unsigned_abs())?, places),
        _ => (unscaled, places.checked_sub(exponent)?),
    };
    let negative = parts.negative;
    let unscaled = rescale(unscaled, places, -NANO_SCALE).filter(|unscaled| *unscaled > 0)?;
    let one = 10_u128.pow(NANO_SCALE.unsigned_abs());
    let max = u128::from(i64::MAX.unsigned_abs());
    let (unscaled, places, format) = match format {
        Format::BinarySi if unscaled > max * one => (max, 0, format),
        Format::BinarySi if unscaled < one => (unscaled, -NANO_SCALE, Format::DecimalSi),
        _ => (unscaled, -NANO_SCALE, format),
    };
    Some(GoQuantity { amount: Amount::Dec { negative, unscaled, places }, kept: "", format })
}

/// The same number with other decimal places, rounded up.
fn rescale(unscaled: u128, from_places: i32, to_places: i32) -> Option<u128> {
    let factor = 10_u128.checked_pow(from_places.abs_diff(to_places))?;
    match from_places <= to_places {
        true => unscaled.checked_mul(factor),
        false => Some(unscaled.div_ceil(factor)),
    }
}

impl fmt::Display for GoQuantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, scale) = match self.amount {
            Amount::Int { value, scale } => (value, scale),
            Amount::Dec { .. } => (0, 0),
        };
        write!(f, "{{i:(resource.int64Amount){{value:(int64){value} scale:(resource.Scale){scale}}} ")?;
        f.write_str("d:(resource.infDecAmount){Dec:(*inf.Dec)")?;
        match self.amount {
            Amount::Int { .. } => f.write_str("<nil>")?,
            Amount::Dec { negative, unscaled, places } => {
                let (high, low) = (unscaled >> 64, unscaled & u128::from(u64::MAX));
                let words = if high == 0 { format!("{low}") } else { format!("{low} {high}") };
                write!(
                    f,
                    "{{unscaled:(big.Int){{neg:(bool){negative} abs:(big.nat)[{words}]}} scale:(inf.Scale){places}}}"
                )?;
            }
        }
        let format = match self.format {
            Format::Unset => "",
            Format::DecimalExponent => "DecimalExponent",
            Format::DecimalSi => "DecimalSI",
            Format::BinarySi => "BinarySI",
        };
        write!(f, "}} s:(string){} Format:(resource.Format){format}}}", self.kept)
    }
}
