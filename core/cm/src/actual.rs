//! What a container's status says of its resources: those in force, as the runtime reports them (CONTRACT 3.29).

use std::collections::BTreeMap;

use core_types::Quantity;
use core_types::api::{QuantityText, ResourceRequirements};
use core_types::runtime::LinuxResources;

use crate::convert::{milli_cpu_from_quota, milli_cpu_from_shares};
use crate::resources::amount;

/// CPU limits up to this many thousandths of a core are the same to the kernel.
const MIN_LIMIT_MILLI: i64 = 10;
/// CPU requests up to this many thousandths of a core are the same to the kernel.
const MIN_REQUEST_MILLI: i64 = 2;

/// What is known of a running container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// What the runtime reports.
    pub reported: Option<&'a LinuxResources>,
    /// What was put in force last.
    pub actuated: Option<&'a ResourceRequirements>,
    /// What the status said before of the same container.
    pub before: Option<&'a ResourceRequirements>,
}

#[derive(Default)]
struct Actual {
    cpu_request: Option<Quantity>,
    cpu_limit: Option<Quantity>,
    memory_request: Option<Quantity>,
    memory_limit: Option<Quantity>,
}

/// `resources` of a running container's status. `given` are the container's resources; what cannot change or is not known
/// stays as in them.
pub fn resources_in_force(given: &ResourceRequirements, known: Known<'_>) -> ResourceRequirements {
    let actual = actual(known);
    let mut resources = given.clone();
    let before = known.before.cloned().unwrap_or_default();
    if let Some(limits) = &mut resources.limits {
        // A quota that the kernel rounded up says nothing new.
        let cpu = actual.cpu_limit.filter(|cpu| {
            cpu.milli_value().max(amount(&given.limits, "cpu").milli_value()) > MIN_LIMIT_MILLI
        });
        let is_rounded = actual.cpu_limit.is_some() && cpu.is_none();
        set(limits, "cpu", cpu, before.limits.as_ref().filter(|_| !is_rounded));
        set(limits, "memory", actual.memory_limit, before.limits.as_ref());
    }
    if let Some(requests) = &mut resources.requests {
        let cpu = actual.cpu_request.filter(|cpu| {
            cpu.milli_value().max(amount(&given.requests, "cpu").milli_value()) > MIN_REQUEST_MILLI
        });
        let is_rounded = actual.cpu_request.is_some() && cpu.is_none();
        set(requests, "cpu", cpu, before.requests.as_ref().filter(|_| !is_rounded));
        set(requests, "memory", actual.memory_request, before.requests.as_ref());
    }
    resources
}

fn set(
    list: &mut BTreeMap<String, QuantityText>,
    name: &str,
    actual: Option<Quantity>,
    before: Option<&BTreeMap<String, QuantityText>>,
) {
    let value = actual.map(QuantityText::from).or_else(|| before?.get(name).cloned());
    if let Some(value) = value {
        list.insert(name.to_owned(), value);
    }
}

fn actual(known: Known<'_>) -> Actual {
    let mut actual = known.reported.map(reported).unwrap_or_default();
    let is_silent =
        actual.cpu_request.is_none() && actual.cpu_limit.is_none() && actual.memory_limit.is_none();
    let Some(own) = known.actuated else { return actual };
    if is_silent {
        actual = Actual {
            cpu_request: Some(amount(&own.requests, "cpu")),
            cpu_limit: Some(amount(&own.limits, "cpu")),
            memory_request: Some(amount(&own.requests, "memory")),
            memory_limit: Some(amount(&own.limits, "memory")),
        };
    }
    // No runtime reports it: it is in no cgroup file.
    actual.memory_request = Some(amount(&own.requests, "memory"));
    let given = |value: Option<Quantity>| value.filter(|value| !value.is_zero());
    Actual {
        cpu_request: given(actual.cpu_request),
        cpu_limit: given(actual.cpu_limit),
        memory_request: given(actual.memory_request),
        memory_limit: given(actual.memory_limit),
    }
}

fn reported(resources: &LinuxResources) -> Actual {
    let positive = |milli: i64| (milli > 0).then(|| Quantity::from_milli(milli));
    let memory = resources.memory_limit_bytes;
    Actual {
        cpu_limit: positive(milli_cpu_from_quota(resources.cpu_quota_us, resources.cpu_period_us)),
        cpu_request: positive(milli_cpu_from_shares(resources.cpu_shares)),
        memory_limit: (memory > 0).then(|| Quantity::from_bytes(memory)),
        memory_request: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirements(text: &str) -> ResourceRequirements {
        serde_json::from_str(text).unwrap()
    }

    fn reported() -> LinuxResources {
        LinuxResources {
            cpu_shares: 102,
            cpu_quota_us: 20_000,
            cpu_period_us: 100_000,
            memory_limit_bytes: 64 << 20,
            ..LinuxResources::default()
        }
    }

    #[test]
    fn what_the_runtime_reports_is_shown_and_the_rest_is_as_given() {
        let given = requirements(
            r#"{"requests":{"cpu":"500m","memory":"32Mi","x.y/z":"1"},"limits":{"cpu":"1","memory":"128Mi"}}"#,
        );
        let actuated = requirements(r#"{"requests":{"cpu":"100m","memory":"16Mi"}}"#);
        let known = Known { reported: Some(&reported()), actuated: Some(&actuated), before: None };
        let want = requirements(
            r#"{"requests":{"cpu":"100m","memory":"16Mi","x.y/z":"1"},"limits":{"cpu":"200m","memory":"64Mi"}}"#,
        );
        assert_eq!(resources_in_force(&given, known), want);
    }

    #[test]
    fn a_runtime_that_reports_nothing_is_helped_by_what_is_remembered() {
        let given = requirements(r#"{"requests":{"cpu":"500m"},"limits":{"memory":"128Mi"}}"#);
        let actuated = requirements(r#"{"requests":{"cpu":"100m"},"limits":{"memory":"64Mi"}}"#);
        let known = Known { actuated: Some(&actuated), ..Known::default() };
        assert_eq!(resources_in_force(&given, known), actuated);
        let known = Known { before: Some(&actuated), ..Known::default() };
        assert_eq!(resources_in_force(&given, known), actuated);
        assert_eq!(resources_in_force(&given, Known::default()), given);
    }

    #[test]
    fn what_the_kernel_rounds_up_stays_as_given() {
        let given = requirements(r#"{"requests":{"cpu":"1m"},"limits":{"cpu":"5m"}}"#);
        let small = LinuxResources { cpu_shares: 2, cpu_quota_us: 1000, ..reported() };
        let known = Known { reported: Some(&small), ..Known::default() };
        let resources = resources_in_force(&given, known);
        assert_eq!(resources.limits.unwrap()["cpu"].0, "5m");
        assert_eq!(resources.requests.unwrap()["cpu"].0, "1m");
    }
}
