//! What the configuration and the flags say of what the node takes back, also when the machine goes down.

use std::collections::BTreeMap;
use std::time::Duration;

use core_cm::ResourceList;
use core_config::{Config, GoDuration, KubeletConfiguration};
use core_logs::LogPolicy;
use core_reclaim::{
    ContainerPolicy, FsLayout, ImagePolicy, PodsEnforced, Threshold, ThresholdError, ThresholdTexts,
    parse_thresholds,
};
use core_types::Quantity;

use super::ShutdownSettings;

/// What the node takes back, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct ReclaimSettings {
    /// What all pods are held to together, by their common cgroup; `None` for nothing.
    pub pods: Option<ResourceList>,
    /// Cgroups of daemons that are held to what is reserved for them.
    pub reserved: Vec<ReservedCgroup>,
    /// Dead containers.
    pub containers: ContainerPolicy,
    /// Images.
    pub images: ImagePolicy,
    /// Pods, when the node runs short.
    pub eviction: EvictionSettings,
    /// Container logs; `None` for a negative `containerLogMaxSize`, which switches their rotation off.
    pub logs: Option<LogRotation>,
    /// How pods end when the machine goes down; `None` for as the machine ends them.
    pub shutdown: Option<ShutdownSettings>,
}

/// The cgroup of daemons that something is reserved for.
#[derive(Clone, Debug, PartialEq)]
pub struct ReservedCgroup {
    /// `system` or `kube`, as users are told.
    pub whose: &'static str,
    /// Its path as it is configured, from the root of the hierarchies.
    pub path: String,
    /// What it is held to.
    pub limits: ResourceList,
}

/// What `enforceNodeAllocatable` names beside pods. The configuration has been checked, so every text is an amount.
fn reserved_cgroups(kubelet: &KubeletConfiguration) -> Vec<ReservedCgroup> {
    let mut found = Vec::new();
    for (whose, path, amounts) in [
        ("system", &kubelet.system_reserved_cgroup, &kubelet.system_reserved),
        ("kube", &kubelet.kube_reserved_cgroup, &kubelet.kube_reserved),
    ] {
        let names = |end: &str| {
            let level = format!("{whose}-reserved{end}");
            kubelet.enforce_node_allocatable.contains(&level)
        };
        let is_cpu_only = names("-compressible");
        if names("") || is_cpu_only {
            let counts = amounts.iter().filter(|(name, _)| !is_cpu_only || *name == "cpu");
            let limits = counts.filter_map(|(name, text)| Some((name.clone(), text.parse().ok()?))).collect();
            found.push(ReservedCgroup { whose, path: path.clone(), limits });
        }
    }
    found
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
    pub(super) fn new(config: &Config, pods: Option<ResourceList>) -> Result<Self, ThresholdError> {
        let (options, kubelet) = (&config.options, &config.kubelet);
        let percent = |percent: i32| u64::try_from(percent).unwrap_or(0);
        Ok(Self {
            pods,
            reserved: reserved_cgroups(kubelet),
            containers: ContainerPolicy {
                min_age: options.minimum_container_ttl.to_std(),
                per_container: usize::try_from(options.maximum_dead_containers_per_container).ok(),
                per_node: usize::try_from(options.maximum_dead_containers).ok(),
            },
            images: ImagePolicy {
                high_percent: percent(kubelet.image_gc_high_threshold_percent),
                low_percent: percent(kubelet.image_gc_low_threshold_percent),
                min_age: kubelet.image_minimum_gc_age.to_std(),
                max_age: kubelet.image_maximum_gc_age.to_std(),
            },
            eviction: EvictionSettings::new(kubelet)?,
            logs: log_rotation(kubelet),
            shutdown: ShutdownSettings::new(config),
        })
    }
}

/// When pods go.
#[derive(Clone, Debug, PartialEq)]
pub struct EvictionSettings {
    /// Limits, by where file systems lie.
    limits: BTreeMap<&'static str, Vec<Threshold>>,
    /// `evictionPressureTransitionPeriod`.
    pub transition: Duration,
    /// `evictionMaxPodGracePeriod`, in seconds.
    pub max_grace_secs: i64,
    /// `localStorageCapacityIsolation`: pods may not exceed their limits of local storage.
    pub local_storage: bool,
}

/// The layouts, with the names under which their limits are kept.
const LAYOUTS: [(&str, FsLayout); 3] =
    [("single", FsLayout::Single), ("separate", FsLayout::SeparateImages), ("split", FsLayout::SplitImages)];

impl EvictionSettings {
    fn new(kubelet: &KubeletConfiguration) -> Result<Self, ThresholdError> {
        let none = BTreeMap::new();
        let grace = kubelet.eviction_soft_grace_period.iter();
        let soft_grace = grace
            .filter_map(|(signal, text)| Some((signal.clone(), text.parse::<GoDuration>().ok()?.to_std())))
            .collect();
        let texts = ThresholdTexts {
            hard: kubelet.eviction_hard.as_ref().unwrap_or(&none),
            soft: &kubelet.eviction_soft,
            soft_grace: &soft_grace,
            min_reclaim: &kubelet.eviction_minimum_reclaim,
        };
        let enforce = match kubelet.enforce_node_allocatable.iter().any(|one| one == "pods") {
            true => PodsEnforced::Yes,
            false => PodsEnforced::No,
        };
        let limits =
            LAYOUTS.into_iter().map(|(name, layout)| Ok((name, parse_thresholds(texts, layout, enforce)?)));
        Ok(Self {
            limits: limits.collect::<Result<_, ThresholdError>>()?,
            transition: kubelet.eviction_pressure_transition_period.to_std(),
            max_grace_secs: i64::from(kubelet.eviction_max_pod_grace_period),
            local_storage: kubelet.local_storage_capacity_isolation,
        })
    }

    /// The limits where file systems lie like this.
    pub fn thresholds(&self, layout: FsLayout) -> Vec<Threshold> {
        let name = LAYOUTS.into_iter().find(|(_, other)| *other == layout).map(|(name, _)| name);
        name.and_then(|name| self.limits.get(name)).cloned().unwrap_or_default()
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
    use super::*;

    #[test]
    fn daemons_are_held_to_what_is_named_and_reserved() {
        let mut kubelet = KubeletConfiguration::default();
        assert_eq!(reserved_cgroups(&kubelet), []);
        kubelet.enforce_node_allocatable =
            ["pods", "system-reserved", "kube-reserved-compressible"].map(str::to_owned).into();
        let amounts = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        kubelet.system_reserved = amounts(&[("cpu", "250m"), ("memory", "64Mi")]);
        kubelet.system_reserved_cgroup = "/system".to_owned();
        kubelet.kube_reserved = amounts(&[("cpu", "500m"), ("memory", "1Gi")]);
        kubelet.kube_reserved_cgroup = "/kube".to_owned();
        let found = reserved_cgroups(&kubelet);
        let shown: Vec<_> = found
            .iter()
            .map(|one| {
                (one.whose, one.path.as_str(), one.limits.keys().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(shown, [("system", "/system", vec!["cpu", "memory"]), ("kube", "/kube", vec!["cpu"])]);
    }

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
