//! Two kinds of time that must not be mixed: [`MonoTime`] orders and spaces things on this node and never jumps;
//! [`WallTime`] is what people and the API see, and may jump. Both are arguments everywhere in `core`.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::api::Time;

/// Nanoseconds since an arbitrary start (the clock adapter's). Never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The clock's start.
    pub const ZERO: Self = Self(0);

    /// A time `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A time `secs` seconds after the clock's start.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for MonoTime {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for MonoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", Duration::from_nanos(self.0))
    }
}

/// Nanoseconds since the Unix epoch, UTC. CRI's timestamps have this form; zero means "not set" there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(i64);

impl WallTime {
    /// A time `nanos` nanoseconds after the epoch.
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A time `secs` seconds after the epoch.
    pub const fn from_unix_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, rounded down.
    pub const fn unix_secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// True for CRI's zero, which means that the runtime has not set the time.
    pub const fn is_unset(self) -> bool {
        self.0 == 0
    }

    /// How long after `earlier` this is; zero if it is not after it (the clock may have been set back).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As an API time. `k8s-openapi` prints it in RFC 3339.
    pub fn to_api(self) -> Time {
        Time(self.timestamp())
    }

    /// As an API time cut to whole seconds, the precision of API object timestamps.
    pub fn to_api_secs(self) -> Time {
        Self::from_unix_secs(self.unix_secs()).to_api()
    }

    /// From an API time.
    pub fn from_api(time: &Time) -> Self {
        Self(i64::try_from(time.0.as_nanosecond()).unwrap_or(i64::MAX))
    }

    /// RFC 3339 with nanoseconds, as in the annotation `kubernetes.io/config.seen` and in container logs.
    pub fn to_rfc3339_nano(self) -> String {
        format!("{:.9}", self.timestamp())
    }

    fn timestamp(self) -> jiff::Timestamp {
        // Every i64 of nanoseconds (years 1677 to 2262) is inside jiff's range.
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for WallTime {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(rhs.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.timestamp())
    }
}

impl serde::Serialize for WallTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for WallTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_goes_to_the_api_and_back() {
        let time = WallTime::from_unix_nanos(1_700_000_000_123_456_789);
        assert_eq!(WallTime::from_api(&time.to_api()), time);
        assert_eq!(WallTime::from_api(&time.to_api_secs()).unix_nanos(), 1_700_000_000_000_000_000);
        assert_eq!(time.to_rfc3339_nano(), "2023-11-14T22:13:20.123456789Z");
    }

    #[test]
    fn wall_time_is_rfc_3339_in_json() {
        let time = WallTime::from_unix_nanos(1_700_000_000_120_000_000);
        let json = serde_json::to_string(&time).expect("serializes");
        assert_eq!(json, "\"2023-11-14T22:13:20.12Z\"");
        assert_eq!(serde_json::from_str::<WallTime>(&json).expect("deserializes"), time);
    }

    #[test]
    fn elapsed_time_is_never_negative() {
        assert_eq!(MonoTime::from_secs(1).since(MonoTime::from_secs(5)), Duration::ZERO);
        assert_eq!(WallTime::from_unix_secs(1).since(WallTime::from_unix_secs(5)), Duration::ZERO);
    }
}
