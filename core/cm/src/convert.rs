//! Conversions between Kubernetes quantities and kernel units (CONTRACT 3.24, 5.1).

/// Fewest CPU shares the kernel takes.
pub const MIN_SHARES: u64 = 2;
/// Most CPU shares the kernel takes.
pub const MAX_SHARES: u64 = 262_144;
/// Shortest CFS quota the kernel takes, in microseconds.
const MIN_QUOTA_US: i64 = 1000;

/// CPU shares of a request in thousandths of a core.
pub fn shares_from_milli_cpu(milli_cpu: i64) -> u64 {
    let shares = u64::try_from(milli_cpu.saturating_mul(1024) / 1000).unwrap_or(0);
    shares.clamp(MIN_SHARES, MAX_SHARES)
}

/// CFS quota in microseconds of a limit in thousandths of a core; 0 when there is no limit.
pub fn quota_from_milli_cpu(milli_cpu: i64, period_us: u64) -> i64 {
    if milli_cpu == 0 {
        return 0;
    }
    let period_us = i64::try_from(period_us).unwrap_or(i64::MAX);
    (milli_cpu.saturating_mul(period_us) / 1000).max(MIN_QUOTA_US)
}

/// `cpu.weight` of cgroup v2 for CPU shares.
pub fn weight_from_shares(shares: u64) -> u64 {
    1 + (shares.clamp(MIN_SHARES, MAX_SHARES) - 2) * 9999 / 262_142
}

/// CPU shares for a `cpu.weight` of cgroup v2.
pub fn shares_from_weight(weight: u64) -> u64 {
    (weight.clamp(1, 10_000) - 1) * 262_142 / 9999 + 2
}

/// Request in thousandths of a core for CPU shares; 0 below what the kernel takes.
pub fn milli_cpu_from_shares(shares: i64) -> i64 {
    if shares < MIN_SHARES as i64 { 0 } else { shares.saturating_mul(1000).saturating_add(1023) / 1024 }
}

/// Limit in thousandths of a core for a CFS quota; 0 for none.
pub fn milli_cpu_from_quota(quota_us: i64, period_us: i64) -> i64 {
    if quota_us <= 0 || period_us <= 0 { 0 } else { quota_us.saturating_mul(1000) / period_us }
}

/// A huge page size as the kernel names it: `2MB`, `1GB`, `64KB`. `None` for a size that no unit divides.
pub fn hugepage_size_name(bytes: i64) -> Option<String> {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    if bytes <= 0 {
        return None;
    }
    let (mut size, mut unit) = (bytes, 0);
    while size % 1024 == 0 && unit + 1 < UNITS.len() {
        size /= 1024;
        unit += 1;
    }
    (size <= 1024 || unit + 1 == UNITS.len()).then(|| format!("{size}{}", UNITS[unit]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpu_converts_as_upstream_does() {
        for (milli, shares, quota) in [
            (0, 2, 0),
            (1, 2, 1000),
            (5, 5, 1000),
            (100, 102, 10_000),
            (200, 204, 20_000),
            (500, 512, 50_000),
            (1000, 1024, 100_000),
            (1500, 1536, 150_000),
            (256_000, 262_144, 25_600_000),
            (10_000_000, 262_144, 1_000_000_000),
        ] {
            assert_eq!(shares_from_milli_cpu(milli), shares, "{milli}m");
            assert_eq!(quota_from_milli_cpu(milli, 100_000), quota, "{milli}m");
        }
        assert_eq!(quota_from_milli_cpu(1500, 5_000), 7_500);
    }

    #[test]
    fn weights_span_the_kernel_range() {
        for (shares, weight) in [(2, 1), (102, 4), (1024, 39), (262_144, 10_000)] {
            assert_eq!(weight_from_shares(shares), weight);
        }
        assert_eq!(shares_from_weight(1), 2);
        assert_eq!(shares_from_weight(10_000), 262_144);
    }

    #[test]
    fn page_sizes_have_kernel_names() {
        for (bytes, name) in [
            (2 << 20, Some("2MB")),
            (1 << 30, Some("1GB")),
            (64 << 10, Some("64KB")),
            (0, None),
            (2_000_001, None),
        ] {
            assert_eq!(hugepage_size_name(bytes).as_deref(), name);
        }
    }

    proptest! {
        #[test]
        fn a_weight_is_in_range_and_grows_with_the_shares(a in 0_u64..400_000, b in 0_u64..400_000) {
            prop_assert!((1..=10_000).contains(&weight_from_shares(a)));
            prop_assert!(a > b || weight_from_shares(a) <= weight_from_shares(b));
        }
    }
}
