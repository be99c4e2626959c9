//! Volumes that the agent makes itself: `emptyDir` on disk and in memory, and the checks of `hostPath` (CONTRACT 6.8).

use std::path::{Path, PathBuf};

use core_types::PodUid;
use core_volumes::{VolumePayload, VolumePlugin, VolumeSetup};
use ports::FileError;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::{Layout, PRIVATE_DIR, atomic_writer, host_path};
use crate::beneath::{Dir, component, fd_path};
use crate::clock::wall_now;
use crate::error::{AtPath, refused};

/// Mode of an `emptyDir` (CONTRACT 6.8).
const EMPTY_DIR: u32 = 0o777;

/// Upstream's marker that a volume was set up completely.
const READY: &str = "ready";

const EMPTY_DIR_PLUGIN: &str = "kubernetes.io~empty-dir";

/// Name of a plugin's directory.
fn plugin_dir(plugin: VolumePlugin) -> &'static str {
    match plugin {
        VolumePlugin::EmptyDir => EMPTY_DIR_PLUGIN,
        VolumePlugin::DownwardApi => "kubernetes.io~downward-api",
        VolumePlugin::Projected => "kubernetes.io~projected",
    }
}

impl Layout {
    /// See [`ports::PodFiles::set_up_volume`].
    pub(super) fn set_up_volume(&self, uid: &PodUid, volume: &VolumeSetup) -> Result<PathBuf, FileError> {
        match volume {
            VolumeSetup::EmptyDir { name } => empty_dir(&self.make_pod(uid)?, name),
            VolumeSetup::Tmpfs { name, plugin, size_bytes } => {
                tmpfs(&self.make_pod(uid)?, name, *plugin, size_bytes.unwrap_or(0))
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
        let Some(plugin) = payload.plugin else {
            return Err(refused(
                &pod.path().join("volumes"),
                format!("volume {volume:?} has no plugin to write for"),
            ));
        };
        let target = pod.dir(Path::new("volumes").join(plugin_dir(plugin)).join(name))?;
        atomic_writer::write(&target, payload, wall_now())
    }
}

fn volume_dir(pod: &Dir, plugin: VolumePlugin, name: &str) -> Result<Dir, FileError> {
    let parent = pod.make_dir(Path::new("volumes").join(plugin_dir(plugin)), PRIVATE_DIR)?;
    parent.make_dir(component(parent.path(), name)?, EMPTY_DIR)
}

fn empty_dir(pod: &Dir, name: &str) -> Result<PathBuf, FileError> {
    let marker = ready_marker(pod, name)?;
    let dir = volume_dir(pod, VolumePlugin::EmptyDir, name)?;
    if marker.stat_entry(READY)?.is_none() {
        // The directory may be left from an attempt that was killed between making it and setting its mode.
        dir.set_mode(EMPTY_DIR)?;
        set_ready(&marker)?;
    }
    Ok(dir.path().to_path_buf())
}

fn tmpfs(pod: &Dir, name: &str, plugin: VolumePlugin, size_bytes: u64) -> Result<PathBuf, FileError> {
    let dir = volume_dir(pod, plugin, name)?;
    let parent = pod.dir(Path::new("volumes").join(plugin_dir(plugin)))?;
    if !parent.kind(name)?.is_some_and(|kind| kind.is_mount) {
        dir.set_mode(EMPTY_DIR)?;
        mount_tmpfs(&dir, size_bytes)?;
    }
    // Upstream keeps the tmpfs of other plugins as an emptyDir of this name.
    let marked = if plugin == VolumePlugin::EmptyDir { name.to_owned() } else { format!("wrapped_{name}") };
    let marker = ready_marker(pod, &marked)?;
    if marker.stat_entry(READY)?.is_none() {
        set_ready(&marker)?;
    }
    Ok(dir.path().to_path_buf())
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

fn ready_marker(pod: &Dir, volume: &str) -> Result<Dir, FileError> {
    let plugin = pod.make_dir(Path::new("plugins").join(EMPTY_DIR_PLUGIN), PRIVATE_DIR)?;
    plugin.make_dir(component(plugin.path(), volume)?, PRIVATE_DIR)
}

fn set_ready(marker: &Dir) -> Result<(), FileError> {
    marker.create_new(READY, 0o640).map(drop)
}
