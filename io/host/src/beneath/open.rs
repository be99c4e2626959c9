//! Opening a path beneath a directory handle, with `openat2` or by a walk.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// What to do with symlinks in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// An error (`ELOOP`).
    Refuse,
    /// Followed as long as they stay beneath the directory; otherwise an error (`EXDEV`).
    Beneath,
    /// Followed as if the directory were the root: absolute links and `..` stay in it.
    Inside,
}

/// `openat2` says `EAGAIN` when something above was renamed meanwhile; whoever renames all the time gets an error.
const TRIES: usize = 32;

/// Bound of symlinks in one path, the kernel's own.
const MAX_LINKS: usize = 40;

/// Opens `relative` beneath `dir`. `EXDEV` means that the path leads out.
pub(crate) fn open_beneath(
    dir: BorrowedFd<'_>,
    relative: &Path,
    flags: OFlags,
    mode: Mode,
    links: Links,
) -> Result<OwnedFd> {
    let relative = plain(relative)?;
    let resolve = ResolveFlags::NO_MAGICLINKS
        | match links {
            Links::Refuse => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Links::Beneath => ResolveFlags::BENEATH,
            Links::Inside => ResolveFlags::IN_ROOT,
        };
    let nofollow = if links == Links::Refuse { OFlags::NOFOLLOW } else { OFlags::empty() };
    let flags = flags | nofollow | OFlags::CLOEXEC;
    for _ in 0..TRIES {
        match rustix::fs::openat2(dir, &relative, flags, mode, resolve) {
            Err(Errno::AGAIN) => {}
            // EPERM is what some seccomp filters answer to calls they do not know; the walk gives the true answer.
            Err(Errno::NOSYS | Errno::PERM) => return walk(dir, Path::new(&relative), flags, mode, links),
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// The path without `.` and doubled slashes; `EXDEV` for absolute paths and those with `..`.
fn plain(path: &Path) -> Result<OsString> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::XDEV),
        }
    }
    Ok(if names.is_empty() { OsString::from(".") } else { names.join(OsStr::new("/")) })
}

/// The same with one `openat` per component.
pub(super) fn walk(
    dir: BorrowedFd<'_>,
    relative: &Path,
    flags: OFlags,
    mode: Mode,
    links: Links,
) -> Result<OwnedFd> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut above: Vec<OwnedFd> = Vec::new();
    let mut todo: VecDeque<OsString> = names(relative);
    let mut links_left = MAX_LINKS;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            if above.pop().is_none() && links != Links::Inside {
                return Err(Errno::XDEV);
            }
            continue;
        }
        let here = above.last().map_or(dir, AsFd::as_fd);
        if links != Links::Refuse
            && let Some(target) = link_target(here, &name)?
        {
            links_left = links_left.checked_sub(1).ok_or(Errno::LOOP)?;
            if target.is_absolute() {
                if links == Links::Beneath {
                    return Err(Errno::XDEV);
                }
                above.clear();
            }
            for part in names(&target).into_iter().rev() {
                todo.push_front(part);
            }
            continue;
        }
        if todo.is_empty() {
            return rustix::fs::openat(here, &name, flags | OFlags::NOFOLLOW, mode);
        }
        let next = rustix::fs::openat(here, &name, step, Mode::empty()).map_err(|error| {
            if error == Errno::NOTDIR && matches!(link_target(here, &name), Ok(Some(_))) {
                Errno::LOOP
            } else {
                error
            }
        })?;
        above.push(next);
    }
    rustix::fs::openat(above.last().map_or(dir, AsFd::as_fd), ".", flags, mode)
}

fn link_target(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<std::path::PathBuf>> {
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}
