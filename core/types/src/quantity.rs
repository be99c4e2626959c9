//! Kubernetes resource quantities (`100m`, `1.5Gi`), exact where Go's `resource.Quantity` is.

use std::fmt;

/// A quantity as a whole number of nano-units (1e-9), the finest step that Kubernetes keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    nanos: i128,
}

/// A text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity: write a number with an optional suffix such as m, k, M, Ki, Mi or Gi")]
pub struct QuantityError {
    text: String,
}

impl Quantity {
    /// Whole units, rounded up (Go's `Value`).
    pub fn value(self) -> i64 {
        self.scaled_up(1_000_000_000)
    }

    /// Thousandths, rounded up (Go's `MilliValue`).
    pub fn milli_value(self) -> i64 {
        self.scaled_up(1_000_000)
    }

    fn scaled_up(self, nanos_per_unit: i128) -> i64 {
        let up = self.nanos.div_euclid(nanos_per_unit) + i128::from(self.nanos.rem_euclid(nanos_per_unit) != 0);
        i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let _ = text;
        Err(QuantityError { text: text.to_owned() })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value())
    }
}
