//! Lengths of time as Go writes them (`1m0s`, `100ms`), the form of every duration in flags and
//! configuration.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_SEC: i64 = 1_000_000_000;

/// A signed length of time in nanoseconds. Reads and prints as Go's `time.Duration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// A text that is no Go duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: write numbers with units, such as 300ms, 10s or 1h30m")]
pub struct DurationError {
    text: String,
}

impl GoDuration {
    /// No time at all.
    pub const ZERO: GoDuration = GoDuration(0);

    /// Whole milliseconds; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        GoDuration(millis.saturating_mul(NANOS_PER_MILLI))
    }

    /// Whole seconds; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        GoDuration(secs.saturating_mul(NANOS_PER_SEC))
    }

    /// Nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        GoDuration(nanos)
    }

    /// Nanoseconds, negative for the past.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The length for timers; a negative one counts as zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Whether it is exactly zero, which configuration takes as "not set".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        if unit == 1_000_000_000 {
            let minutes = nanos / (60 * unit);
            if minutes >= 60 {
                write!(f, "{}h", minutes / 60)?;
            }
            if minutes > 0 {
                write!(f, "{}m", minutes % 60)?;
            }
        }
        let rest = if unit == 1_000_000_000 { nanos % (60 * unit) } else { nanos };
        write!(f, "{}", rest / unit)?;
        if rest % unit > 0 {
            let width = unit.ilog10() as usize;
            let fraction = format!("{:0width$}", rest % unit);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str(name)
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse(text).map(GoDuration).ok_or_else(|| DurationError { text: text.to_owned() })
    }
}

/// Go's `time.ParseDuration`, in nanoseconds.
fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total += i128::from(whole) * unit + fraction_of(fraction, unit);
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// `0.fraction` of a unit, cut to whole nanoseconds. Digits past the 18th cannot matter.
fn fraction_of(fraction: &str, unit: i128) -> i128 {
    let digits = &fraction[..fraction.len().min(18)];
    let value: i128 = digits.parse().unwrap_or(0);
    value * unit / 10i128.pow(digits.len() as u32)
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        for (text, nanos, printed) in [
            ("0", 0, "0s"),
            ("1m", 60_000_000_000, "1m0s"),
            ("4h", 14_400_000_000_000, "4h0m0s"),
            ("1h30m", 5_400_000_000_000, "1h30m0s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("100ms", 100_000_000, "100ms"),
            ("1500ms", 1_500_000_000, "1.5s"),
            ("500us", 500_000, "500µs"),
            ("1.25µs", 1_250, "1.25µs"),
            ("3ns", 3, "3ns"),
            ("-1m", -60_000_000_000, "-1m0s"),
            (".5s", 500_000_000, "500ms"),
            ("1.s", 1_000_000_000, "1s"),
            ("61s", 61_000_000_000, "1m1s"),
        ] {
            let parsed: GoDuration = text.parse().unwrap();
            assert_eq!((parsed.as_nanos(), parsed.to_string().as_str()), (nanos, printed), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "-", "5", "s", ".s", "1x", "1.2.3s", "1 s", "9999999999h", "1h-1m", "é"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_range_ends_where_gos_does() {
        let most = "9223372036854775807ns".parse::<GoDuration>().unwrap();
        assert_eq!(most.as_nanos(), i64::MAX);
        assert!("9223372036854775808ns".parse::<GoDuration>().is_err());
        assert_eq!("-1s".parse::<GoDuration>().unwrap().to_std(), Duration::ZERO);
    }
}
