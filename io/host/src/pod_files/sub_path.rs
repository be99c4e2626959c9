//! Mounts a part of a volume for one container (CONTRACT 6.6), though the pod's own processes may rename and link inside
//! the volume at the same time.
//!
//! The sub path is opened beneath the volume's handle, what is missing is made handle by handle, and the bind mount is
//! made from the handle. So what is mounted was inside the volume when it was opened, whatever its name means later.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use ports::FileError;
use ports::pod_files::SubPathRequest;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::PRIVATE_DIR;
use super::pod_dir::{unmount, unmount_lazily};
use crate::beneath::{Dir, Links, component, fd_path, open_beneath};
use crate::error::{AtPath, refused};

const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Returns the path to mount into the container.
pub(super) fn prepare(pod: &Dir, request: &SubPathRequest) -> Result<PathBuf, FileError> {
    let shown = request.volume_path.join(&request.sub_path);
    let source = open_source(request)?;
    let source_stat = rustix::fs::fstat(&source).at("stat", &shown)?;
    let (parent, name) = target_parent(pod, request)?;
    if already_mounted(&parent, &name, &source_stat)? {
        return Ok(parent.path().join(name));
    }
    let target = make_target(&parent, &name, &source_stat)?;
    let path = parent.path().join(name);
    rustix::mount::mount_bind(fd_path(&source), fd_path(&target)).at("bind-mount a sub path on", &path)?;
    Ok(path)
}

/// A handle of the sub path, made when it is missing.
fn open_source(request: &SubPathRequest) -> Result<OwnedFd, FileError> {
    let relative = Path::new(&request.sub_path);
    let shown = request.volume_path.join(relative);
    let inside = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if !relative.components().all(inside) {
        return Err(outside(request));
    }
    let volume = Dir::open(&request.volume_path)?;
    match open_beneath(volume.fd(), relative, HANDLE, Mode::empty(), Links::Beneath) {
        Ok(fd) => Ok(fd),
        Err(Errno::NOENT) => make_missing(&volume, relative, request),
        Err(Errno::XDEV) => open_resolved(request),
        Err(error) => Err(error).at("open sub path", &shown),
    }
}

fn outside(request: &SubPathRequest) -> FileError {
    let path = request.volume_path.join(&request.sub_path);
    let problem = format!(
        "subpath {:?} not within volume path {:?}",
        path.display().to_string(),
        request.volume_path.display().to_string()
    );
    refused(&path, problem)
}

/// A link with an absolute target may still lead into the volume. It is resolved by name, and the result is opened beneath
/// the volume without any link.
fn open_resolved(request: &SubPathRequest) -> Result<OwnedFd, FileError> {
    let shown = request.volume_path.join(&request.sub_path);
    let volume_path = std::fs::canonicalize(&request.volume_path).at("resolve", &request.volume_path)?;
    let resolved = std::fs::canonicalize(&shown).map_err(|_| outside(request))?;
    let relative = resolved.strip_prefix(&volume_path).map_err(|_| outside(request))?;
    let volume = Dir::open(&volume_path)?;
    open_beneath(volume.fd(), relative, HANDLE, Mode::empty(), Links::Refuse).map_err(|error| match error {
        Errno::LOOP | Errno::XDEV | Errno::NOTDIR => outside(request),
        other => FileError::Io { operation: "open sub path", path: shown, source: other.into() },
    })
}

/// Makes the directories that are missing, with the permission of the volume's root.
fn make_missing(volume: &Dir, relative: &Path, request: &SubPathRequest) -> Result<OwnedFd, FileError> {
    let mode = Mode::from_raw_mode(volume.stat()?.st_mode & 0o7777);
    let names: Vec<_> = relative.components().filter(|component| *component != Component::CurDir).collect();
    let (mut current, existing) = deepest_existing(volume, &names, request)?;
    let mut path = request.volume_path.join(names[..existing].iter().collect::<PathBuf>());
    for name in &names[existing..] {
        path.push(name);
        let name = name.as_os_str();
        let made = match rustix::fs::mkdirat(&current, name, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error).at("create directory", &path),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        current = rustix::fs::openat(&current, name, flags, Mode::empty()).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => outside(request),
            other => FileError::Io { operation: "open directory", path: path.clone(), source: other.into() },
        })?;
        if made {
            rustix::fs::fchmod(&current, mode).at("set the mode of", &path)?;
        }
    }
    Ok(current)
}

/// Opens the longest part of the path that is there; says how many names that are.
fn deepest_existing(
    volume: &Dir,
    names: &[Component<'_>],
    request: &SubPathRequest,
) -> Result<(OwnedFd, usize), FileError> {
    for count in (0..names.len()).rev() {
        let part: PathBuf = names[..count].iter().collect();
        match open_beneath(volume.fd(), &part, HANDLE | OFlags::DIRECTORY, Mode::empty(), Links::Beneath) {
            Ok(fd) => return Ok((fd, count)),
            Err(Errno::NOENT) => {}
            Err(Errno::XDEV) => return Err(outside(request)),
            Err(error) => return Err(error).at("open directory", &request.volume_path.join(part)),
        }
    }
    Err(Errno::NOENT).at("open directory", &request.volume_path)
}

/// Directory and name of the mount point: `volume-subpaths/<volume>/<container>/<index>`.
fn target_parent(pod: &Dir, request: &SubPathRequest) -> Result<(Dir, String), FileError> {
    let volume = component(pod.path(), &request.volume)?;
    let container = component(pod.path(), &request.container)?;
    let parent = pod.make_dir(Path::new("volume-subpaths").join(volume).join(container), PRIVATE_DIR)?;
    Ok((parent, request.index.to_string()))
}

/// True when exactly this source is mounted there already. Another mount is removed.
fn already_mounted(parent: &Dir, name: &str, source: &Stat) -> Result<bool, FileError> {
    if !parent.kind(name)?.is_some_and(|kind| kind.is_mount) {
        return Ok(false);
    }
    if parent
        .stat_entry(name)?
        .is_some_and(|there| there.st_dev == source.st_dev && there.st_ino == source.st_ino)
    {
        return Ok(true);
    }
    let path = Path::new(name);
    match unmount(parent, path) {
        Err(FileError::StillMounted { path: busy }) => {
            tracing::warn!(
                path = %busy.display(),
                "an old mount of a sub path is in use by the container before; it is detached and ends with its user"
            );
            unmount_lazily(parent, path)?;
        }
        result => result?,
    }
    Ok(false)
}

/// The mount point: a directory for a directory, a file for everything else.
fn make_target(parent: &Dir, name: &str, source: &Stat) -> Result<OwnedFd, FileError> {
    let wants_dir = FileType::from_raw_mode(source.st_mode) == FileType::Directory;
    if let Some(there) = parent.kind(name)?
        && (there.file_type == FileType::Directory) != wants_dir
    {
        parent.remove_tree(name)?;
    }
    let path = parent.path().join(name);
    if wants_dir {
        parent.make_dir(name, PRIVATE_DIR)?;
    } else if parent.kind(name)?.is_none() {
        parent.create_new(name, 0o640)?;
    }
    open_beneath(parent.fd().as_fd(), Path::new(name), HANDLE, Mode::empty(), Links::Refuse).at("open", &path)
}
