//! Network namespaces of pods that nobody uses.
//!
//! A runtime bind mounts each namespace that it makes for a sandbox on a file named `cni-<ID>`. While the sandbox lives its
//! first process is in it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use core_doctor::Inventory;

use crate::error::AtPath;
use crate::mountinfo;

/// Where runtimes keep namespaces.
const PLACE: &str = "/run/netns";
/// Beginning of the names of those of pods.
const PREFIX: &str = "cni-";
/// Type of the file system of namespaces.
const NSFS: &str = "nsfs";

pub(super) fn look(inventory: &mut Inventory) {
    match mountinfo::read() {
        Err(error) => inventory.not_looked(PLACE, error),
        Ok(mounts) => {
            let of_pods: BTreeSet<_> = mounts
                .into_iter()
                .filter(|mount| mount.fs_type == NSFS && mount.mount_point.starts_with(PLACE))
                .map(|mount| mount.mount_point)
                .filter(|path| path.file_name().is_some_and(|name| crate::beneath::starts_with(name, PREFIX)))
                .collect();
            if of_pods.is_empty() {
                return;
            }
            let used = match in_use() {
                Ok(used) => used,
                Err(error) => return inventory.not_looked("/proc", error),
            };
            let idle = of_pods
                .into_iter()
                .filter(|path| fs::metadata(path).is_ok_and(|metadata| !used.contains(&metadata.ino())));
            inventory.idle_namespaces.extend(idle.map(|path| path.display().to_string()));
        }
    }
}

/// Numbers of the network namespaces that processes are in. A process that ends meanwhile is in none.
fn in_use() -> Result<BTreeSet<u64>, ports::FileError> {
    let proc = Path::new("/proc");
    let mut used = BTreeSet::new();
    for entry in fs::read_dir(proc).at("list", proc)? {
        let entry = entry.at("list", proc)?;
        let is_process =
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        if is_process && let Ok(metadata) = fs::metadata(entry.path().join("ns/net")) {
            used.insert(metadata.ino());
        }
    }
    Ok(used)
}
