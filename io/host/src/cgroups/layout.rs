//! Which directory a cgroup is: one by its name, or that of a slice, whose name holds those of all slices above it (CONTRACT 5.1).

use core_cm::cgroup::CgroupPath;
use core_types::runtime::CgroupDriver;

/// How cgroups below a configured root become directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    driver: CgroupDriver,
    /// Names of the configured root.
    root: CgroupPath,
}

impl Layout {
    pub(super) fn new(driver: CgroupDriver, root: Vec<String>) -> Self {
        Self { driver, root: CgroupPath(root) }
    }

    /// The directories that lead to the root.
    pub(super) fn root(&self) -> Vec<String> {
        names(&self.root.path(self.driver))
    }

    /// The directories that lead from the root to the cgroup.
    pub(super) fn names(&self, path: &CgroupPath) -> Vec<String> {
        match self.driver {
            CgroupDriver::Cgroupfs => path.0.clone(),
            CgroupDriver::Systemd => {
                let whole = CgroupPath(self.root.0.iter().chain(&path.0).cloned().collect());
                names(&whole.systemd()).split_off(self.root.0.len())
            }
        }
    }

    /// The cgroup whose directory `dir` lies in that of `parent`; `None` for what is no cgroup of the agent's.
    pub(super) fn child(&self, parent: &CgroupPath, dir: &str) -> Option<CgroupPath> {
        match self.driver {
            CgroupDriver::Cgroupfs => Some(parent.clone().child(dir)),
            CgroupDriver::Systemd => {
                let whole = CgroupPath::from_systemd(dir)?;
                whole.0.strip_prefix(&self.root.0[..]).map(|own| CgroupPath(own.to_vec()))
            }
        }
    }
}

fn names(path: &str) -> Vec<String> {
    CgroupPath::from_cgroupfs(path).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> CgroupPath {
        CgroupPath(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_directory_is_a_name_or_a_slice_that_holds_all_names_above() {
        let pod = path(&["kubepods", "burstable", "poda-1"]);
        let class = path(&["kubepods", "burstable"]);
        let root = vec!["my-root".to_owned()];
        let plain = Layout::new(CgroupDriver::Cgroupfs, root.clone());
        assert_eq!((plain.root(), plain.names(&pod)), (root.clone(), pod.0.clone()));
        assert_eq!(plain.child(&class, "poda-1"), Some(pod.clone()));
        let slices = Layout::new(CgroupDriver::Systemd, root);
        assert_eq!(slices.root(), ["my_root.slice"]);
        let last = "my_root-kubepods-burstable-poda_1.slice";
        let names = ["my_root-kubepods.slice", "my_root-kubepods-burstable.slice", last];
        assert_eq!(slices.names(&pod), names);
        assert_eq!(slices.child(&class, last), Some(pod.clone()));
        for other in ["other-kubepods-burstable-poda_1.slice", "cri-containerd-c0ffee.scope", "poda-1"] {
            assert_eq!(slices.child(&class, other), None, "{other}");
        }
        let top = Layout::new(CgroupDriver::Systemd, Vec::new());
        assert!(top.root().is_empty());
        assert_eq!(top.names(&class), ["kubepods.slice", "kubepods-burstable.slice"]);
    }
}
