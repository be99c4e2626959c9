//! An archive from a container becomes files of this machine.
//!
//! The container is not trusted: nothing is written outside the target, and no link is followed, neither one that the
//! archive brings nor one that lies in the target. Each entry is reached name by name beneath a directory handle. Links,
//! devices and pipes are left out, with a line on standard error; files get their permission bits, and no more.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, open, openat2, unlinkat};
use tar::{Archive, EntryType};

use crate::error::CliError;

/// Permission bits of files and directories that are taken over: those of user, group and others.
const PERMISSIONS: u32 = 0o777;
/// Nothing above the handle, and no link anywhere.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Takes in what lies below `root` in the archive, as `new_name` in `directory`.
pub(super) fn extract(
    archive: impl Read,
    directory: &Path,
    root: &str,
    new_name: &Path,
) -> Result<(), CliError> {
    let failed = |source: io::Error| CliError::File { path: directory.to_owned(), source };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let target = open(directory, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let broken = |error: io::Error| CliError::Stream(format!("the archive from the container: {error}"));
    let mut archive = Archive::new(archive);
    let mut entries = 0;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let path = place(&name, root, new_name)?;
        let kind = entry.header().entry_type();
        let mode = entry.header().mode().unwrap_or(0o644) & PERMISSIONS;
        let written = match kind {
            EntryType::Directory => make_directory(&target, &path, mode).map(drop),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                write_file(&target, &path, mode, &mut entry)
            }
            EntryType::XGlobalHeader => Ok(()),
            other => {
                eprintln!("podwright: left out {}: {}", name.display(), describe(other));
                Ok(())
            }
        };
        let shown = || directory.join(path.iter().collect::<std::path::PathBuf>());
        written.map_err(|source| CliError::File { path: shown(), source })?;
        entries += 1;
    }
    // tar in the container has said why.
    if entries == 0 { Err(CliError::Refused("the container sent nothing".to_owned())) } else { Ok(()) }
}

fn describe(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink => "a symbolic link",
        EntryType::Link => "a hard link",
        EntryType::Fifo => "a pipe",
        EntryType::Block | EntryType::Char => "a device",
        _ => "no file and no directory",
    }
}

/// The names on the way from the target to an entry. An entry that is not below the root, or climbs, ends everything: no tar
/// makes such an archive by itself.
fn place(name: &Path, root: &str, new_name: &Path) -> Result<Vec<OsString>, CliError> {
    let strange = || {
        CliError::Refused(format!("the container sent {:?}, which leads out of the target: stopped", name))
    };
    let mut names = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(strange()),
        }
    }
    if root != "." {
        if names.first().is_none_or(|first| first != root) {
            return Err(strange());
        }
        names.remove(0);
    }
    let new_name = new_name.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    });
    Ok(new_name.chain(names).collect())
}

/// Opens, and makes where needed, the directory at the end of these names.
fn make_directory(target: &OwnedFd, names: &[OsString], mode: u32) -> io::Result<OwnedFd> {
    let mut directory = target.try_clone()?;
    for (at, name) in names.iter().enumerate() {
        // Directories on the way have the usual mode until their own entry comes.
        let mode = if at + 1 == names.len() { mode | 0o700 } else { 0o755 };
        match mkdirat(&directory, name, Mode::from_bits_truncate(mode)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        directory = openat2(&directory, name, flags, Mode::empty(), BENEATH)?;
    }
    Ok(directory)
}

/// Writes a file, in place of what has its name.
fn write_file(target: &OwnedFd, names: &[OsString], mode: u32, data: &mut impl Read) -> io::Result<()> {
    let Some((name, parents)) = names.split_last() else {
        return Err(io::Error::other("a file came where a directory was expected"));
    };
    let parent = make_directory(target, parents, 0o755)?;
    match unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(parent.as_fd(), name, flags, Mode::from_bits_truncate(mode), BENEATH)?;
    io::copy(data, &mut File::from(file)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// An archive with entries of this kind, name, mode and content or link target.
    fn archive(entries: &[(EntryType, &str, u32, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, name, mode, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            // The builder's own checks would refuse what a hostile archive holds.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            let data = if *kind == EntryType::Regular { content.as_bytes() } else { b"" };
            if data.is_empty() && !content.is_empty() {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data).expect("append");
        }
        builder.into_inner().expect("archive")
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn files_and_directories_come_in_under_the_new_name() {
        let folder = tempfile::tempdir().expect("directory");
        let bytes = archive(&[
            (EntryType::Directory, "./data/", 0o750, ""),
            (FILE, "./data/a", 0o4755, "A"),
            (FILE, "./data/deep/b", 0o600, "B"),
            (EntryType::Symlink, "./data/link", 0o777, "/etc/passwd"),
            (EntryType::Link, "./data/hard", 0o777, "/etc/passwd"),
            (EntryType::Fifo, "./data/pipe", 0o777, ""),
        ]);
        fs::create_dir(folder.path().join("copy")).expect("directory");
        fs::write(folder.path().join("copy/a"), "old and longer").expect("write");
        extract(&bytes[..], folder.path(), "data", Path::new("copy")).expect("extracted");
        let read = |name: &str| fs::read_to_string(folder.path().join("copy").join(name)).expect("read");
        assert_eq!((read("a").as_str(), read("deep/b").as_str()), ("A", "B"));
        let mode = folder.path().join("copy/a").metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o7022, 0, "no bits that give rights away: {mode:o}");
        for left_out in ["link", "hard", "pipe"] {
            assert!(folder.path().join("copy").join(left_out).symlink_metadata().is_err(), "{left_out}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_target() {
        let outside = tempfile::tempdir().expect("directory");
        for name in ["../evil", "data/../../evil", "/evil", "other/evil", "data/..", "evil"] {
            let folder = tempfile::tempdir_in(outside.path()).expect("directory");
            let bytes = archive(&[(FILE, name, 0o644, "evil")]);
            let error = extract(&bytes[..], folder.path(), "data", Path::new("data")).expect_err(name);
            assert!(error.to_string().contains("leads out of the target"), "{name}: {error}");
            assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 0, "{name}");
        }
        assert!(!outside.path().join("evil").exists());
    }

    #[test]
    fn no_link_is_followed_and_none_is_written_through() {
        let (folder, outside) = (tempfile::tempdir().expect("in"), tempfile::tempdir().expect("out"));
        fs::create_dir(folder.path().join("data")).expect("directory");
        symlink(outside.path(), folder.path().join("data/way")).expect("link");
        let bytes = archive(&[(FILE, "data/way/evil", 0o644, "evil")]);
        extract(&bytes[..], folder.path(), "data", Path::new("data")).expect_err("refused");
        assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 0);

        // A link with the name of a file is replaced, not written through.
        fs::write(outside.path().join("victim"), "safe").expect("write");
        symlink(outside.path().join("victim"), folder.path().join("data/file")).expect("link");
        let bytes = archive(&[(FILE, "data/file", 0o644, "new")]);
        extract(&bytes[..], folder.path(), "data", Path::new("data")).expect("extracted");
        assert_eq!(fs::read_to_string(outside.path().join("victim")).expect("read"), "safe");
        assert_eq!(fs::read_to_string(folder.path().join("data/file")).expect("read"), "new");
    }

    #[test]
    fn rubbish_is_an_error() {
        let folder = tempfile::tempdir().expect("directory");
        for bytes in [&b""[..], &[7; 2000]] {
            extract(bytes, folder.path(), "data", Path::new("data")).expect_err("refused");
        }
    }
}
