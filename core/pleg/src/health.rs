//! Whether the PLEG still sees the runtime, in upstream's words: they become part of the node's Ready condition.

use std::fmt;
use std::time::Duration;

/// Health of the PLEG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Relists succeed.
    Healthy,
    /// They do not.
    Unhealthy(Unhealthy),
}

/// Why the PLEG is unhealthy (CONTRACT 4.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// No relist has succeeded since the agent started.
    #[error("pleg has yet to be successful")]
    NeverSuccessful,
    /// The last success is too long ago.
    #[error("pleg was last seen active {} ago; threshold is {}", GoDuration(*.elapsed), GoDuration(*.threshold))]
    Stale {
        /// Time since the last success.
        elapsed: Duration,
        /// How long it may take.
        threshold: Duration,
    },
}

/// A duration as Go prints it: `3m0.5s`, `100ms`, `0s`.
struct GoDuration(Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => return write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => return write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {}
        }
        let minutes = self.0.as_secs() / 60;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
    }
}

/// `nanos / unit` without trailing zeros.
fn decimal(nanos: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_000_000_000, "1s"),
            (10_020_000_000, "10.02s"),
            (180_000_000_000, "3m0s"),
            (192_500_000_000, "3m12.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (36_610_000_000_000, "10h10m10s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn the_words_are_upstreams() {
        assert_eq!(Unhealthy::NeverSuccessful.to_string(), "pleg has yet to be successful");
        let stale =
            Unhealthy::Stale { elapsed: Duration::from_secs(200), threshold: Duration::from_secs(180) };
        assert_eq!(stale.to_string(), "pleg was last seen active 3m20s ago; threshold is 3m0s");
    }
}
