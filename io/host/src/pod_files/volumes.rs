//! Volumes that the agent makes itself: directories on disk and in memory, given to the pod's `fsGroup` once, and the checks
//! of `hostPath` (CONTRACT 6.7, 6.8).

use std::path::{Path, PathBuf};

use core_types::PodUid;
use core_volumes::{VolumePayload, VolumePlugin, VolumeSetup};
use ports::FileError;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::ownership::{self, GroupAccess};
use super::{Layout, PRIVATE_DIR, atomic_writer, host_path};
use crate::beneath::{Dir, component, fd_path};
use crate::clock::wall_now;
use crate::error::{AtPath, refused};

/// Mode of an `emptyDir` (CONTRACT 6.8).
const EMPTY_DIR: u32 = 0o777;

/// Name of the marker's file.
const READY: &str = "ready";

impl Layout {
    /// See [`ports::PodFiles::set_up_volume`].
    pub(super) fn set_up_volume(&self, uid: &PodUid, volume: &VolumeSetup) -> Result<PathBuf, FileError> {
        match volume {
            VolumeSetup::EmptyDir { name, plugin, fs_group } => {
                empty_dir(&self.make_pod(uid)?, (*plugin, name), *fs_group)
            }
            VolumeSetup::Tmpfs { name, plugin, size_bytes, fs_group } => {
                let kind = InMemory::Tmpfs { size_bytes: size_bytes.unwrap_or(0) };
                in_memory(&self.make_pod(uid)?, name, &Mounted { plugin: *plugin, kind, fs_group: *fs_group })
            }
            VolumeSetup::HugePages { name, page_bytes, fs_group } => {
                let kind = InMemory::HugePages { page_bytes: *page_bytes };
                let mounted = Mounted { plugin: VolumePlugin::EmptyDir, kind, fs_group: *fs_group };
                in_memory(&self.make_pod(uid)?, name, &mounted)
            }
            VolumeSetup::HostPath { path, kind, .. } => host_path::check(path, *kind).map(|()| path.clone()),
        }
    }

    /// See [`ports::PodFiles::write_volume`].
    pub(super) fn write_volume(
        &self,
        uid: &PodUid,
        volume: &str,
        payload: &VolumePayload,
    ) -> Result<(), FileError> {
        let pod = self.make_pod(uid)?;
        let name = component(pod.path(), volume)?;
        let target = pod.dir(plugin_path(payload.plugin).join(name))?;
        atomic_writer::write(&target, payload, wall_now())
    }
}

impl Layout {
    /// See [`ports::PodFiles::is_written`].
    pub(super) fn is_written(
        &self,
        uid: &PodUid,
        volume: &str,
        plugin: VolumePlugin,
    ) -> Result<bool, FileError> {
        let pod = self.make_pod(uid)?;
        let path = plugin_path(plugin).join(component(pod.path(), volume)?);
        pod.find(path)?.map_or(Ok(false), |volume| atomic_writer::is_written(&volume))
    }
}

/// Where the volumes of a plugin are in the directory of a pod.
fn plugin_path(plugin: VolumePlugin) -> PathBuf {
    Path::new("volumes").join(plugin.dir_name())
}

fn empty_dir(
    pod: &Dir,
    (plugin, name): (VolumePlugin, &str),
    fs_group: Option<i64>,
) -> Result<PathBuf, FileError> {
    let parent = pod.make_dir(plugin_path(plugin), PRIVATE_DIR)?;
    let name = component(parent.path(), name)?;
    let marker = Marker::of(pod, plugin, name)?;
    if parent.kind(name)?.is_none() {
        marker.clear()?;
    }
    let dir = parent.make_dir(name, EMPTY_DIR)?;
    if !marker.is_set()? {
        // The directory may be left from an attempt that was killed between making it and setting its mode.
        dir.set_mode(EMPTY_DIR)?;
        give_to_group(&dir, fs_group)?;
        marker.set()?;
    }
    Ok(dir.path().to_path_buf())
}

/// What a volume in memory is to be.
struct Mounted {
    plugin: VolumePlugin,
    kind: InMemory,
    fs_group: Option<i64>,
}

/// Which memory.
#[derive(Clone, Copy)]
enum InMemory {
    /// Ordinary pages; a size of 0 is the kernel's default.
    Tmpfs { size_bytes: u64 },
    /// Huge pages of one size. How many there are to use is the matter of the pod's cgroup.
    HugePages { page_bytes: u64 },
}

fn in_memory(pod: &Dir, name: &str, wanted: &Mounted) -> Result<PathBuf, FileError> {
    let parent = pod.make_dir(plugin_path(wanted.plugin), PRIVATE_DIR)?;
    let name = component(parent.path(), name)?;
    let dir = parent.make_dir(name, EMPTY_DIR)?;
    let marker = Marker::of(pod, wanted.plugin, name)?;
    if !parent.kind(name)?.is_some_and(|kind| kind.is_mount) {
        marker.clear()?;
        dir.set_mode(EMPTY_DIR)?;
        match wanted.kind {
            InMemory::Tmpfs { size_bytes } => mount_tmpfs(&dir, size_bytes)?,
            InMemory::HugePages { page_bytes } => mount_huge_pages(&dir, page_bytes)?,
        }
    }
    if !marker.is_set()? {
        // Opened anew: the handle from before may stand for the directory under the mount.
        give_to_group(&parent.dir(name)?, wanted.fs_group)?;
        marker.set()?;
    }
    Ok(dir.path().to_path_buf())
}

fn give_to_group(dir: &Dir, fs_group: Option<i64>) -> Result<(), FileError> {
    let Some(fs_group) = fs_group else { return Ok(()) };
    ownership::give(dir, ownership::group_id(dir.path(), fs_group)?, GroupAccess::ReadWrite)
}

/// Mounts a tmpfs that is never swapped out where the kernel can promise that (Linux 6.4), and an ordinary one elsewhere.
fn mount_tmpfs(dir: &Dir, size_bytes: u64) -> Result<(), FileError> {
    let size = if size_bytes > 0 { format!("size={size_bytes}") } else { String::new() };
    let noswap = if size.is_empty() { "noswap".to_owned() } else { format!("{size},noswap") };
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("tmpfs", fd_path(dir.fd()), "tmpfs", MountFlags::empty(), options.as_c_str())
    };
    match mount(&noswap) {
        Err(Errno::INVAL | Errno::PERM) => mount(&size).at("mount a tmpfs on", dir.path()),
        result => result.at("mount a tmpfs on", dir.path()),
    }
}

/// Mounts a hugetlbfs. A page size that the kernel does not have is told as what it is.
fn mount_huge_pages(dir: &Dir, page_bytes: u64) -> Result<(), FileError> {
    let options = std::ffi::CString::new(format!("pagesize={page_bytes}"));
    let options = options.map_err(|_| Errno::INVAL).at("mount a hugetlbfs on", dir.path())?;
    let target = fd_path(dir.fd());
    match rustix::mount::mount("nodev", target, "hugetlbfs", MountFlags::empty(), options.as_c_str()) {
        Err(Errno::INVAL | Errno::NODEV) => {
            let problem =
                format!("this kernel has no huge pages of {page_bytes} bytes: use a size that the node has");
            Err(refused(dir.path(), problem))
        }
        result => result.at("mount a hugetlbfs on", dir.path()),
    }
}

/// The directory of upstream's marker that a volume was set up completely; what the pod changes after that stays.
struct Marker(Dir);

impl Marker {
    /// Upstream keeps the directory of other plugins as an emptyDir of another name.
    fn of(pod: &Dir, plugin: VolumePlugin, volume: &str) -> Result<Self, FileError> {
        let volume = match plugin {
            VolumePlugin::EmptyDir => volume.to_owned(),
            _ => format!("wrapped_{volume}"),
        };
        let plugin = Path::new("plugins").join(VolumePlugin::EmptyDir.dir_name());
        let plugin = pod.make_dir(plugin, PRIVATE_DIR)?;
        plugin.make_dir(component(plugin.path(), &volume)?, PRIVATE_DIR).map(Self)
    }

    fn is_set(&self) -> Result<bool, FileError> {
        Ok(self.0.stat_entry(READY)?.is_some())
    }

    fn set(&self) -> Result<(), FileError> {
        self.0.create_new(READY, 0o640).map(drop)
    }

    fn clear(&self) -> Result<(), FileError> {
        self.0.unlink(READY)
    }
}
