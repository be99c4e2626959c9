//! Rules about resources: what is enforced and kept for the system, reserved memory and CPUs, memory QoS,
//! eviction.

use std::collections::{BTreeMap, BTreeSet};

use core_types::Quantity;

use super::names::{cpu_list, hugepages_or_memory};
use super::{Check, quoted};
use crate::duration::GoDuration;
use crate::features::Feature;

/// Files written for older kubelets may hold this factor although memory QoS is off.
const OLD_DEFAULT_THROTTLING_FACTOR: f64 = 0.9;

const SIGNALS: &[&str] = &[
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
    "allocatableMemory.available",
];

pub(super) fn check(check: &mut Check<'_>) {
    enforcement(check);
    reserved(check);
    reserved_cpus(check);
    reserved_memory(check);
    memory_qos(check);
    eviction(check);
    log_size(check);
}

fn enforcement(check: &mut Check<'_>) {
    const FIELD: &str = "enforceNodeAllocatable (--enforce-node-allocatable)";
    let c = check.config;
    let has = |level: &str| c.enforce_node_allocatable.iter().any(|given| given == level);
    for plain in ["system-reserved", "kube-reserved"] {
        let compressible = format!("{plain}-compressible");
        if has(plain) && has(&compressible) {
            check.fail(FIELD, format!("{plain:?} and {compressible:?} exclude each other"));
        }
    }
    let mut seen = BTreeSet::new();
    for level in &c.enforce_node_allocatable {
        if !seen.insert(level) {
            check.fail(FIELD, format!("{level:?} is given twice"));
            continue;
        }
        match level.as_str() {
            "pods" => {}
            "system-reserved" | "system-reserved-compressible" => {
                need_cgroup(
                    check,
                    level,
                    "systemReservedCgroup (--system-reserved-cgroup)",
                    &c.system_reserved_cgroup,
                );
            }
            "kube-reserved" | "kube-reserved-compressible" => {
                need_cgroup(
                    check,
                    level,
                    "kubeReservedCgroup (--kube-reserved-cgroup)",
                    &c.kube_reserved_cgroup,
                );
            }
            "none" => {
                if c.enforce_node_allocatable.len() > 1 {
                    check.fail(FIELD, "\"none\" must stand alone");
                }
                continue;
            }
            _ => {
                let levels = [
                    "none",
                    "pods",
                    "system-reserved",
                    "system-reserved-compressible",
                    "kube-reserved",
                    "kube-reserved-compressible",
                ];
                check.fail(FIELD, format!("{level:?} must be one of {}", quoted(&levels)));
                continue;
            }
        }
        if !c.cgroups_per_qos {
            let message = format!("must be true with {level:?} in {FIELD}");
            check.fail("cgroupsPerQOS (--cgroups-per-qos)", message);
        }
    }
}

fn need_cgroup(check: &mut Check<'_>, level: &str, field: &str, cgroup: &str) {
    if cgroup.is_empty() {
        check.fail(
            field,
            format!("must be set with {level:?} in enforceNodeAllocatable (--enforce-node-allocatable)"),
        );
    }
}

fn reserved(check: &mut Check<'_>) {
    let c = check.config;
    for (field, resources) in [
        ("systemReserved (--system-reserved)", &c.system_reserved),
        ("kubeReserved (--kube-reserved)", &c.kube_reserved),
    ] {
        for (resource, text) in resources {
            if !matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage" | "pid") {
                check.fail(
                    field,
                    format!("{resource:?} cannot be reserved: use cpu, memory, ephemeral-storage or pid"),
                );
                continue;
            }
            match text.parse::<Quantity>() {
                Err(error) => check.fail(field, format!("{resource}: {error}")),
                Ok(quantity) if quantity < Quantity::default() => {
                    check.fail(field, format!("{resource}: {text} must not be negative"));
                }
                Ok(_) => {}
            }
        }
    }
}

fn reserved_cpus(check: &mut Check<'_>) {
    const FIELD: &str = "reservedSystemCPUs (--reserved-cpus)";
    let c = check.config;
    if c.reserved_system_cpus.is_empty() {
        return;
    }
    if !c.system_reserved_cgroup.is_empty() || !c.kube_reserved_cgroup.is_empty() {
        let message = "cannot be combined with systemReservedCgroup (--system-reserved-cgroup) or \
                       kubeReservedCgroup (--kube-reserved-cgroup)";
        check.fail(FIELD, message);
    }
    if let Err(error) = cpu_list(&c.reserved_system_cpus) {
        check.fail(FIELD, error);
    }
}

fn reserved_memory(check: &mut Check<'_>) {
    let mut seen = BTreeSet::new();
    for (index, reservation) in check.config.reserved_memory.iter().enumerate() {
        let node = reservation.numa_node;
        for (kind, limit) in &reservation.limits {
            let field = format!("reservedMemory[{index}].limits[{kind}] (--reserved-memory)");
            if !hugepages_or_memory(kind) {
                check.fail(field.as_str(), "only memory and hugepages-<size> can be reserved");
            }
            if limit.quantity() == Quantity::default() {
                check.fail(field.as_str(), "must not be zero");
            }
            if !seen.insert((node, kind.as_str())) {
                check.fail(field, format!("is given twice for NUMA node {node}"));
            }
        }
    }
}

fn memory_qos(check: &mut Check<'_>) {
    let c = check.config;
    let on = check.on(Feature::MemoryQoS);
    if let Some(factor) = c.memory_throttling_factor {
        if !on && factor != OLD_DEFAULT_THROTTLING_FACTOR {
            check.fail("memoryThrottlingFactor", "requires feature gate MemoryQoS");
        }
        if !(factor > 0.0 && factor <= 1.0) {
            check.fail("memoryThrottlingFactor", format!("{factor} must be greater than 0 and at most 1"));
        }
    }
    if !on && c.memory_reservation_policy == "TieredReservation" {
        check.fail("memoryReservationPolicy", "TieredReservation requires feature gate MemoryQoS");
    }
}

fn eviction(check: &mut Check<'_>) {
    let c = check.config;
    let none = BTreeMap::new();
    thresholds(check, "evictionHard (--eviction-hard)", c.eviction_hard.as_ref().unwrap_or(&none));
    thresholds(check, "evictionSoft (--eviction-soft)", &c.eviction_soft);
    thresholds(check, "evictionMinimumReclaim (--eviction-minimum-reclaim)", &c.eviction_minimum_reclaim);
    const GRACE: &str = "evictionSoftGracePeriod (--eviction-soft-grace-period)";
    for (signal, text) in &c.eviction_soft_grace_period {
        known_signal(check, GRACE, signal);
        match text.parse::<GoDuration>() {
            Err(error) => check.fail(GRACE, format!("{signal}: {error}")),
            Ok(period) if period < GoDuration::ZERO => {
                check.fail(GRACE, format!("{signal}: {text} must not be negative"));
            }
            Ok(_) => {}
        }
    }
    for signal in c.eviction_soft.keys() {
        if !c.eviction_soft_grace_period.contains_key(signal) {
            check.fail(GRACE, format!("must give a period for {signal}, which evictionSoft has"));
        }
    }
}

fn thresholds(check: &mut Check<'_>, field: &str, values: &BTreeMap<String, String>) {
    for (signal, text) in values {
        known_signal(check, field, signal);
        let problem = match text.strip_suffix('%') {
            Some(percent) => match percent.parse::<f32>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => None,
                Ok(_) => Some(format!("{text} must be between 0% and 100%")),
                Err(_) => Some(format!("{text:?} is not a percentage")),
            },
            None => match text.parse::<Quantity>() {
                Ok(quantity) if quantity < Quantity::default() => {
                    Some(format!("{text} must not be negative"))
                }
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            },
        };
        if let Some(problem) = problem {
            check.fail(field, format!("{signal}: {problem}"));
        }
    }
}

fn known_signal(check: &mut Check<'_>, field: &str, signal: &str) {
    if !SIGNALS.contains(&signal) {
        check.fail(field, format!("{signal:?} is not an eviction signal: use one of {}", quoted(SIGNALS)));
    }
}

fn log_size(check: &mut Check<'_>) {
    let text = &check.config.container_log_max_size;
    let field = "containerLogMaxSize (--container-log-max-size)";
    match text.parse::<Quantity>() {
        Err(error) => check.fail(field, error.to_string()),
        Ok(size) if size < Quantity::default() => check.fail(field, format!("{text} must not be negative")),
        Ok(_) => {}
    }
}
