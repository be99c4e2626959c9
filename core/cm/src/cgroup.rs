//! Names of cgroups and the values to set in them, for both cgroup drivers and both cgroup versions.

use std::collections::BTreeMap;

use core_types::runtime::CgroupDriver;
use core_types::{PodUid, QosClass};

/// The component below which all pods live.
const KUBEPODS: &str = "kubepods";
/// What a pod's component starts with.
const POD_PREFIX: &str = "pod";

/// A cgroup by its components below the node's cgroup root, e.g. `["kubepods", "burstable", "pod<uid>"]`.
/// How they become a path is the driver's matter (CONTRACT 5.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(pub Vec<String>);

/// What to set; `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupValues {
    /// CPU shares, 2..=262144.
    pub cpu_shares: Option<u64>,
    /// CFS quota in microseconds; -1 for none.
    pub cpu_quota_us: Option<i64>,
    /// CFS period in microseconds.
    pub cpu_period_us: Option<u64>,
    /// Memory limit in bytes; -1 for none.
    pub memory_limit_bytes: Option<i64>,
    /// Number of tasks; -1 for none.
    pub pids_limit: Option<i64>,
    /// Huge page limits by page size as the kernel names it (`2MB`), in bytes.
    pub hugepage_limits: BTreeMap<String, u64>,
    /// cgroup v2 keys set as they are.
    pub unified: BTreeMap<String, String>,
}

/// The limits that a cgroup has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLimits {
    /// CPU shares; on cgroup v2 those that its weight stands for.
    pub cpu_shares: u64,
    /// CFS quota in microseconds; `None` for none.
    pub cpu_quota_us: Option<i64>,
    /// CFS period in microseconds.
    pub cpu_period_us: u64,
    /// Memory limit in bytes; `None` for none.
    pub memory_limit_bytes: Option<i64>,
}

impl CgroupPath {
    /// `kubepods`, the cgroup of all pods.
    pub fn kubepods() -> Self {
        Self(vec![KUBEPODS.to_owned()])
    }

    /// The cgroup of a QoS class. Guaranteed pods stand directly below `kubepods`.
    pub fn qos(class: QosClass) -> Self {
        match class {
            QosClass::Guaranteed => Self::kubepods(),
            QosClass::Burstable => Self::kubepods().child("burstable"),
            QosClass::BestEffort => Self::kubepods().child("besteffort"),
        }
    }

    /// The cgroup of a pod.
    pub fn pod(class: QosClass, uid: &PodUid) -> Self {
        Self::qos(class).child(format!("{POD_PREFIX}{uid}"))
    }

    /// The cgroup `component` below this one.
    pub fn child(mut self, component: impl Into<String>) -> Self {
        self.0.push(component.into());
        self
    }

    /// The same cgroup counted from the host's root, where `cgroup_root` is the configured root (`/` or `/some/path`).
    pub fn below_root(&self, cgroup_root: &str) -> Self {
        let root = cgroup_root.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        Self(root.chain(self.0.iter().cloned()).collect())
    }

    /// UID of the pod whose cgroup this is; `None` for any other cgroup.
    pub fn pod_uid(&self) -> Option<PodUid> {
        let (pod, parents) = self.0.split_last()?;
        let is_pods_place = QosClass::ALL.iter().any(|class| Self::qos(*class).0 == parents);
        let uid = pod.strip_prefix(POD_PREFIX).filter(|uid| is_pods_place && !uid.is_empty())?;
        Some(PodUid::from(uid))
    }

    /// Path as the `cgroupfs` driver lays it out: `/kubepods/burstable/pod<uid>`.
    pub fn cgroupfs(&self) -> String {
        format!("/{}", self.0.join("/"))
    }

    /// Path as systemd lays it out, with every slice above it:
    /// `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice`. A `-` inside a component becomes `_`.
    pub fn systemd(&self) -> String {
        let mut unit = String::new();
        let mut path = String::new();
        for component in &self.0 {
            if !unit.is_empty() {
                unit.push('-');
            }
            unit.push_str(&component.replace('-', "_"));
            path.push('/');
            path.push_str(&unit);
            path.push_str(".slice");
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Path below the hierarchy's mount point, in the driver's layout.
    pub fn path(&self, driver: CgroupDriver) -> String {
        match driver {
            CgroupDriver::Cgroupfs => self.cgroupfs(),
            CgroupDriver::Systemd => self.systemd(),
        }
    }

    /// The systemd unit of this cgroup alone, e.g. `kubepods-burstable.slice`; `-.slice` for the root.
    pub fn systemd_unit(&self) -> String {
        match self.systemd().rsplit_once('/') {
            Some((_, unit)) if !unit.is_empty() => unit.to_owned(),
            _ => "-.slice".to_owned(),
        }
    }

    /// Reads a systemd slice name or path back. `None` when it is not a slice.
    pub fn from_systemd(path: &str) -> Option<Self> {
        let unit = path.rsplit('/').next()?.strip_suffix(".slice")?;
        Some(Self(unit.split('-').map(|part| part.replace('_', "-")).collect()))
    }

    /// Reads the name of a cgroup that a user wrote in the driver's way: `/system/daemons`, or `/system.slice`.
    pub fn from_path(path: &str, driver: CgroupDriver) -> Self {
        let slice = Self::from_systemd(path).filter(|_| driver == CgroupDriver::Systemd);
        slice.unwrap_or_else(|| Self::from_cgroupfs(path))
    }

    /// Reads a `cgroupfs` path back.
    pub fn from_cgroupfs(path: &str) -> Self {
        Self(path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "1234-abcd-5678-efgh";

    #[test]
    fn pods_stand_where_upstream_puts_them() {
        let uid = PodUid::from(UID);
        for (class, cgroupfs, systemd) in [
            (
                QosClass::Guaranteed,
                "/kubepods/pod1234-abcd-5678-efgh",
                "/kubepods.slice/kubepods-pod1234_abcd_5678_efgh.slice",
            ),
            (
                QosClass::Burstable,
                "/kubepods/burstable/pod1234-abcd-5678-efgh",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234_abcd_5678_efgh.slice",
            ),
            (
                QosClass::BestEffort,
                "/kubepods/besteffort/pod1234-abcd-5678-efgh",
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1234_abcd_5678_efgh.slice",
            ),
        ] {
            let path = CgroupPath::pod(class, &uid);
            assert_eq!(path.path(CgroupDriver::Cgroupfs), cgroupfs);
            assert_eq!(path.path(CgroupDriver::Systemd), systemd);
            assert_eq!(path.pod_uid(), Some(uid.clone()));
        }
    }

    #[test]
    fn only_pod_cgroups_have_a_pod_uid() {
        for path in [
            "/kubepods",
            "/kubepods/burstable",
            "/kubepods/burstable/pod",
            "/system/podx",
            "/kubepods/a/podx",
        ] {
            assert_eq!(CgroupPath::from_cgroupfs(path).pod_uid(), None, "{path}");
        }
    }

    #[test]
    fn a_configured_root_comes_first() {
        let path = CgroupPath::qos(QosClass::Burstable);
        assert_eq!(path.below_root("/").cgroupfs(), "/kubepods/burstable");
        assert_eq!(path.below_root("/podwright-test/").cgroupfs(), "/podwright-test/kubepods/burstable");
        assert_eq!(
            path.below_root("/podwright-test").systemd(),
            "/podwright_test.slice/podwright_test-kubepods.slice/podwright_test-kubepods-burstable.slice"
        );
        assert_eq!(CgroupPath(Vec::new()).systemd(), "/");
        assert_eq!(CgroupPath(Vec::new()).systemd_unit(), "-.slice");
    }

    #[test]
    fn a_users_name_is_read_in_the_drivers_way() {
        let read = |path, driver| CgroupPath::from_path(path, driver).path(driver);
        for path in ["/system.slice", "/a.slice/a-b.slice"] {
            assert_eq!(read(path, CgroupDriver::Systemd), path);
            assert_eq!(read(path, CgroupDriver::Cgroupfs), path);
        }
        assert_eq!(read("/system", CgroupDriver::Systemd), "/system.slice");
    }

    proptest! {
        #[test]
        fn names_read_back_from_both_layouts(parts in proptest::collection::vec("[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", 1..5)) {
            let path = CgroupPath(parts);
            prop_assert_eq!(CgroupPath::from_cgroupfs(&path.cgroupfs()), path.clone());
            prop_assert_eq!(CgroupPath::from_systemd(&path.systemd()), Some(path.clone()));
            prop_assert_eq!(CgroupPath::from_systemd(&path.systemd_unit()), Some(path));
        }
    }
}
