//! What systemd is told of a slice (CONTRACT 5.1): the properties of its unit, as libcontainer gives them for upstream.
//!
//! systemd writes what it knows of a unit to the unit's cgroup whenever it thinks fit, so every limit that has a property is told. What
//! has none (huge pages, `memory.oom.group`) and what a property cannot say exactly is written to the cgroup's files after.
//! A value that is left alone is left out here too.

use crate::cgroup::{CgroupPath, CgroupValues};
use crate::convert::weight_from_shares;
use crate::values::CgroupVersion;

/// No limit, as systemd says it.
const INFINITY: u64 = u64::MAX;

/// The period of a CPU quota when nobody names one, in microseconds: the kernel's default.
const DEFAULT_PERIOD_US: u64 = 100_000;

/// systemd keeps quotas in whole hundredths of a processor, in microseconds per second.
const QUOTA_STEP_US: u64 = 10_000;

/// A property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name, e.g. `MemoryMax`.
    pub name: &'static str,
    /// Its value.
    pub value: PropertyValue,
}

/// The value of a property; each kind is one of D-Bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// `b`.
    Switch(bool),
    /// `t`; the largest number stands for none.
    Number(u64),
    /// `s`.
    Text(String),
    /// `as`.
    Names(Vec<String>),
}

impl Property {
    fn number(name: &'static str, value: u64) -> Self {
        Self { name, value: PropertyValue::Number(value) }
    }

    fn switch(name: &'static str, value: bool) -> Self {
        Self { name, value: PropertyValue::Switch(value) }
    }
}

/// What a new slice is beside its limits. `slice` is counted from the host's root; it wants the slice that it lies in.
pub fn of_slice(slice: &CgroupPath) -> Vec<Property> {
    let mut parent = slice.clone();
    parent.0.pop();
    let description = format!("libcontainer container {}", slice.systemd_unit());
    let mut properties = vec![
        Property { name: "Description", value: PropertyValue::Text(description) },
        Property { name: "Wants", value: PropertyValue::Names(vec![parent.systemd_unit()]) },
    ];
    let accounting = ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"];
    properties.extend(accounting.map(|name| Property::switch(name, true)));
    // Else it would be stopped, with all pods, before the kubelet is at a shutdown.
    properties.push(Property::switch("DefaultDependencies", false));
    properties
}

/// The limits that have properties.
pub fn of_values(values: &CgroupValues, version: CgroupVersion) -> Vec<Property> {
    let mut properties = Vec::new();
    let v2 = version == CgroupVersion::V2;
    if let Some(shares) = values.cpu_shares {
        properties.push(match v2 {
            true => Property::number("CPUWeight", weight_from_shares(shares)),
            false => Property::number("CPUShares", shares),
        });
    }
    if let Some(quota_us) = values.cpu_quota_us {
        let period_us = values.cpu_period_us.filter(|period| *period > 0).unwrap_or(DEFAULT_PERIOD_US);
        properties.push(Property::number("CPUQuotaPeriodUSec", period_us));
        properties.push(Property::number("CPUQuotaPerSecUSec", quota_per_second(quota_us, period_us)));
    }
    if let Some(bytes) = values.memory_limit_bytes {
        properties.push(Property::number(if v2 { "MemoryMax" } else { "MemoryLimit" }, limit(bytes)));
    }
    if let Some(tasks) = values.pids_limit {
        properties.push(Property::number("TasksMax", limit(tasks)));
    }
    properties.extend(values.unified.iter().filter_map(|(file, value)| of_file(file, value)));
    properties
}

/// The property that stands for a file of cgroup version 2.
fn of_file(file: &str, value: &str) -> Option<Property> {
    let name = match file {
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        _ => return None,
    };
    let value = if value == "max" { INFINITY } else { value.parse().ok()? };
    Some(Property::number(name, value))
}

fn limit(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(INFINITY)
}

/// Microseconds of processor time in a second, rounded up to what systemd can keep; more than what is asked for is corrected by the
/// write to the file, less would be felt.
fn quota_per_second(quota_us: i64, period_us: u64) -> u64 {
    match u64::try_from(quota_us) {
        Ok(quota_us @ 1..) => {
            let per_second = u128::from(quota_us) * 1_000_000 / u128::from(period_us);
            let per_second = u64::try_from(per_second).unwrap_or(INFINITY);
            per_second.checked_next_multiple_of(QUOTA_STEP_US).unwrap_or(INFINITY)
        }
        _ => INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use core_types::{PodUid, QosClass};

    use super::*;

    fn numbers(properties: &[Property]) -> Vec<(&'static str, u64)> {
        let number = |property: &Property| match property.value {
            PropertyValue::Number(value) => Some((property.name, value)),
            _ => None,
        };
        properties.iter().filter_map(number).collect()
    }

    #[test]
    fn a_slice_wants_the_one_it_lies_in_and_counts_everything() {
        let pod = CgroupPath::pod(QosClass::Burstable, &PodUid::from("1234-abcd"));
        let properties = of_slice(&pod);
        let value = |name: &str| properties.iter().find(|p| p.name == name).map(|p| p.value.clone());
        let wants = PropertyValue::Names(vec!["kubepods-burstable.slice".to_owned()]);
        assert_eq!(value("Wants"), Some(wants));
        let text = "libcontainer container kubepods-burstable-pod1234_abcd.slice".to_owned();
        assert_eq!(value("Description"), Some(PropertyValue::Text(text)));
        assert_eq!(value("DefaultDependencies"), Some(PropertyValue::Switch(false)));
        assert_eq!(value("TasksAccounting"), Some(PropertyValue::Switch(true)));
        let top = of_slice(&CgroupPath::kubepods());
        assert!(top.iter().any(|p| p.value == PropertyValue::Names(vec!["-.slice".to_owned()])));
    }

    #[test]
    fn every_limit_that_systemd_knows_is_told_on_both_versions() {
        let mut values = CgroupValues {
            cpu_shares: Some(1024),
            cpu_quota_us: Some(50_000),
            memory_limit_bytes: Some(1 << 20),
            pids_limit: Some(-1),
            ..CgroupValues::default()
        };
        values.hugepage_limits.insert("2MB".to_owned(), 0);
        for (file, value) in [("memory.low", "4096"), ("memory.high", "max"), ("memory.oom.group", "1")] {
            values.unified.insert(file.to_owned(), value.to_owned());
        }
        assert_eq!(
            numbers(&of_values(&values, CgroupVersion::V2)),
            [
                ("CPUWeight", 39),
                ("CPUQuotaPeriodUSec", 100_000),
                ("CPUQuotaPerSecUSec", 500_000),
                ("MemoryMax", 1 << 20),
                ("TasksMax", INFINITY),
                ("MemoryHigh", INFINITY),
                ("MemoryLow", 4096),
            ]
        );
        values.unified.clear();
        let of_v1 = numbers(&of_values(&values, CgroupVersion::V1));
        assert!(
            of_v1.contains(&("CPUShares", 1024)) && of_v1.contains(&("MemoryLimit", 1 << 20)),
            "{of_v1:?}"
        );
        assert!(of_values(&CgroupValues::default(), CgroupVersion::V2).is_empty());
    }

    #[test]
    fn quotas_are_rounded_up_to_hundredths_of_a_processor() {
        for (quota_us, period_us, want) in [
            (50_000, 100_000, 500_000),
            (1_000, 100_000, 10_000),
            (12_345, 100_000, 130_000),
            (i64::MAX, 1, INFINITY),
            (-1, 100_000, INFINITY),
            (0, 100_000, INFINITY),
        ] {
            assert_eq!(quota_per_second(quota_us, period_us), want, "{quota_us} of {period_us}");
        }
    }
}
