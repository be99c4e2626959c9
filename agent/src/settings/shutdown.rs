//! What the configuration says of an orderly end of pods when the machine goes down.

use std::time::Duration;

use core_config::{Config, Feature};
use core_node::{GroupPeriod, GroupPeriods};

/// Whether times of shutdowns are kept and counted, which upstream ties to the gate GracefulNodeShutdownBasedOnPodPriority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownRecord {
    /// They are.
    Kept,
    /// They are not.
    None,
}

/// How pods end when the machine goes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// How much time pods have.
    pub periods: GroupPeriods,
    /// Whether it is recorded when.
    pub record: ShutdownRecord,
}

impl ShutdownSettings {
    /// `None` when nothing is configured, or the gate is off.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let (kubelet, features) = (&config.kubelet, &config.features);
        if !features.enabled(Feature::GracefulNodeShutdown) {
            return None;
        }
        let by_priority = features.enabled(Feature::GracefulNodeShutdownBasedOnPodPriority);
        let groups = kubelet.shutdown_grace_period_by_pod_priority.iter().map(|group| GroupPeriod {
            priority: group.priority,
            period: Duration::from_secs(u64::try_from(group.shutdown_grace_period_seconds).unwrap_or(0)),
        });
        let of_groups = by_priority.then(|| GroupPeriods::by_priority(groups)).flatten();
        let total = kubelet.shutdown_grace_period.to_std();
        let of_total = || GroupPeriods::of_total(total, kubelet.shutdown_grace_period_critical_pods.to_std());
        Some(Self {
            periods: of_groups.or_else(of_total)?,
            record: if by_priority { ShutdownRecord::Kept } else { ShutdownRecord::None },
        })
    }
}
