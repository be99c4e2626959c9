//! The file systems that are the machine's own, with the counters of their disks.
//!
//! Upstream takes what is mounted when it starts. Here each look reads the mounts anew, and leaves out what pods and containers
//! bring: layers, volumes, shared memory of sandboxes. File systems of other machines are left out too: they are not this
//! node's, and may hang.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use core_stats::{DiskCounters, MountedFilesystem};
use ports::FileError;

use crate::error::AtPath;
use crate::mountinfo::{self, Mount};

/// Types that lie on a block device.
const ON_DISK: [&str; 17] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "squashfs", "vfat", "exfat",
    "msdos", "ntfs", "udf", "iso9660", "hfsplus",
];

/// Parts of the paths of what is mounted for pods and containers.
const OF_PODS: [&str; 4] = ["/kubernetes.io~", "/volume-subpaths/", "/sandboxes/", "/overlay-containers/"];

/// Looks at the mounts of this process.
pub(super) fn read(proc: &Path) -> Result<Vec<MountedFilesystem>, FileError> {
    let path = proc.join("self/mountinfo");
    let mounts = mountinfo::parse(&std::fs::read(&path).at("read", &path)?);
    // Without counters the sizes are there still.
    let disks = std::fs::read_to_string(proc.join("diskstats")).unwrap_or_default();
    Ok(own(&mounts, &disks))
}

fn own(mounts: &[Mount], disks: &str) -> Vec<MountedFilesystem> {
    let disks = counters(disks);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for mount in mounts {
        let mount_point = mount.mount_point.to_string_lossy().into_owned();
        let is_of_pods = OF_PODS.iter().any(|part| mount_point.contains(part));
        let device = match mount.fs_type.as_str() {
            "tmpfs" if !is_of_pods => mount_point.clone(),
            // A machine that is itself a container.
            "overlay" if mount_point == "/" => {
                format!("{}_{}", mount.source.display(), mount.device.replace(':', "-"))
            }
            fs_type if ON_DISK.contains(&fs_type) && !is_of_pods => mount.source.display().to_string(),
            _ => continue,
        };
        // The first mount of a device counts; others are bind mounts of it.
        if seen.insert(device.clone()) {
            let disk = disks.get(device.as_str()).or_else(|| disks.get(mount.device.as_str())).copied();
            found.push(MountedFilesystem { device, mount_point, disk });
        }
    }
    found
}

/// Counters by device path and by its numbers.
fn counters(disks: &str) -> BTreeMap<String, DiskCounters> {
    let mut found = BTreeMap::new();
    for line in disks.lines() {
        let mut fields = line.split_whitespace();
        let (Some(major), Some(minor), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mut next = || fields.next()?.parse().ok();
        let mut read = || {
            Some(DiskCounters {
                reads: next()?,
                reads_merged: next()?,
                sectors_read: next()?,
                read_ms: next()?,
                writes: next()?,
                writes_merged: next()?,
                sectors_written: next()?,
                write_ms: next()?,
                in_progress: next()?,
                busy_ms: next()?,
                weighted_ms: next()?,
            })
        };
        let Some(disk) = read() else { continue };
        found.insert(format!("/dev/{name}"), disk);
        found.insert(format!("{major}:{minor}"), disk);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_of_the_machine_is_there_once() {
        let mounts = mountinfo::parse(
            b"1 0 254:1 / / rw - ext4 /dev/vda1 rw\n\
              2 1 254:1 /sub /bound rw - ext4 /dev/vda1 rw\n\
              3 1 0:20 / /run rw - tmpfs tmpfs rw\n\
              4 1 0:21 / /dev/shm rw - tmpfs tmpfs rw\n\
              5 1 0:22 / /root/pods/u/volumes/kubernetes.io~secret/s rw - tmpfs tmpfs rw\n\
              6 1 0:23 / /run/containerd/io.containerd.grpc.v1.cri/sandboxes/1/shm rw - tmpfs shm rw\n\
              7 1 0:24 / /run/containerd/rootfs rw - overlay overlay rw\n\
              8 1 0:25 / /mnt rw - nfs4 server:/x rw\n\
              9 1 0:26 / /proc rw - proc proc rw\n\
              10 1 259:3 / /data rw - xfs /dev/mapper/data rw\n",
        );
        let disks =
            " 254 1 vda1 1 2 3 4 5 6 7 8 9 10 11 0 0 0 0\n 259 3 nvme0n1p1 21 2 3 4 5 6 7 8 9 10 11\n bad\n";
        let found = own(&mounts, disks);
        let names: Vec<_> = found.iter().map(|one| (one.device.as_str(), one.mount_point.as_str())).collect();
        assert_eq!(
            names,
            [("/dev/vda1", "/"), ("/run", "/run"), ("/dev/shm", "/dev/shm"), ("/dev/mapper/data", "/data")]
        );
        let disk = found[0].disk.unwrap();
        assert_eq!((disk.reads, disk.write_ms, disk.in_progress, disk.weighted_ms), (1, 8, 9, 11));
        assert_eq!(found[1].disk, None);
        assert_eq!(found[3].disk.unwrap().reads, 21, "by its numbers");
    }
}
