//! What the configuration and the flags say of what the node takes back.

use core_config::{Config, KubeletConfiguration};
use core_logs::LogPolicy;
use core_reclaim::ContainerPolicy;
use core_types::Quantity;

/// What the node takes back, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct ReclaimSettings {
    /// Dead containers.
    pub containers: ContainerPolicy,
    /// Container logs; `None` for a negative `containerLogMaxSize`, which switches their rotation off.
    pub logs: Option<LogRotation>,
}

/// Rotation of container logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRotation {
    /// When a log is rotated, and how many files of it are kept.
    pub policy: LogPolicy,
    /// `containerLogMaxWorkers`: files that are compressed at once.
    pub workers: usize,
}

impl ReclaimSettings {
    pub(super) fn new(config: &Config) -> Self {
        let options = &config.options;
        Self {
            containers: ContainerPolicy {
                min_age: options.minimum_container_ttl.to_std(),
                per_container: usize::try_from(options.maximum_dead_containers_per_container).ok(),
                per_node: usize::try_from(options.maximum_dead_containers).ok(),
            },
            logs: log_rotation(&config.kubelet),
        }
    }
}

/// Rotation as configured (CONTRACT 3.28).
fn log_rotation(kubelet: &KubeletConfiguration) -> Option<LogRotation> {
    let max_size = kubelet.container_log_max_size.parse::<Quantity>().ok()?;
    let policy = LogPolicy {
        max_size_bytes: u64::try_from(max_size.value()).ok()?,
        max_files: usize::try_from(kubelet.container_log_max_files).unwrap_or(2),
        interval: kubelet.container_log_monitor_interval.to_std(),
    };
    Some(LogRotation {
        policy,
        workers: usize::try_from(kubelet.container_log_max_workers).unwrap_or(1).max(1),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_negative_log_size_switches_rotation_off() {
        let mut kubelet = KubeletConfiguration::default();
        let rotation = log_rotation(&kubelet).expect("it is on by default");
        assert_eq!((rotation.policy.max_size_bytes, rotation.policy.max_files), (10 << 20, 5));
        assert_eq!((rotation.policy.interval, rotation.workers), (Duration::from_secs(10), 1));
        kubelet.container_log_max_size = "-1".to_owned();
        assert_eq!(log_rotation(&kubelet), None);
    }
}
