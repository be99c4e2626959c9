//! Replaces the files of a volume in one step, in upstream's layout (CONTRACT 6.5).
//!
//! ```text
//! <volume>/labels           -> ..data/labels
//! <volume>/..data           -> ..2026_02_01_15_04_05.1234567890
//! <volume>/..2026_02_01_15_04_05.1234567890/labels
//! ```
//!
//! Readers see the old files or the new ones, never a mixture. Nothing is written when nothing changed. What a killed
//! agent left half-made is removed by the next change. There is no fsync: after a crash of the machine the volume, which
//! lives in memory or belongs to a pod that starts anew, is written again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use core_types::WallTime;
use core_volumes::{PayloadFile, VolumePayload};
use ports::FileError;
use rustix::fs::{FileType, Gid, Mode, Uid};

use super::ownership::{self, GroupAccess};
use crate::beneath::{Dir, starts_with};
use crate::error::{AtPath, refused};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// Directories inside a payload are not nested deeper than a path is long; this bounds the look at what is there.
const MAX_DEPTH: usize = MAX_PATH / 2;

type Files<'a> = BTreeMap<PathBuf, &'a PayloadFile>;

/// Brings the volume in `target` to the payload.
pub(super) fn write(target: &Dir, payload: &VolumePayload, now: WallTime) -> Result<(), FileError> {
    let files = validate(target.path(), payload)?;
    let group = payload.fs_group.map(|group| ownership::group_id(target.path(), group)).transpose()?;
    let old = current_data(target)?;
    let old_dir = old.as_ref().map(|name| target.find(name)).transpose()?.flatten();
    let unchanged = match &old_dir {
        Some(dir) => is_current(dir, &files, group.is_some())?,
        None => false,
    };
    let current = match (&old, unchanged) {
        (Some(name), true) => name.clone(),
        _ => publish(target, &files, group, now)?,
    };
    let visible: BTreeSet<&OsStr> = files.keys().filter_map(|path| path.iter().next()).collect();
    for name in &visible {
        if target.stat_entry(name)?.is_none() {
            target.symlink(Path::new(DATA).join(name), name)?;
        }
    }
    remove_stale(target, &visible, &current)
}

/// Whether files were written into the volume and are still there.
pub(super) fn is_written(target: &Dir) -> Result<bool, FileError> {
    let Some(data) = current_data(target)? else { return Ok(false) };
    Ok(target.find(&data)?.is_some())
}

/// Checks the paths by upstream's rules and returns them cleaned.
fn validate<'a>(target: &Path, payload: &'a VolumePayload) -> Result<Files<'a>, FileError> {
    let mut files = Files::new();
    for (text, file) in &payload.files {
        let path = Path::new(text);
        let problem = if text.is_empty() {
            "must not be empty".to_owned()
        } else if path.is_absolute() {
            format!("must be relative path: {text}")
        } else if text.len() > MAX_PATH {
            format!("must be less than or equal to {MAX_PATH} characters")
        } else if text.split('/').any(|name| name == "..") {
            format!("must not contain '..': {text}")
        } else if text.split('/').any(|name| name.len() > MAX_NAME) {
            format!("filenames must be less than or equal to {MAX_NAME} characters")
        } else if text.starts_with("..") {
            format!("must not start with '..': {text}")
        } else {
            let clean: PathBuf = path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
            if !clean.as_os_str().is_empty() {
                files.insert(clean, file);
                continue;
            }
            "must not be empty".to_owned()
        };
        return Err(refused(target, format!("invalid path: {problem}")));
    }
    Ok(files)
}

/// Name of the directory that `..data` points to; `None` when there is none or it is not one of ours.
fn current_data(target: &Dir) -> Result<Option<OsString>, FileError> {
    let name = target.read_link(DATA)?;
    Ok(name.filter(|name| is_data_dir(name)))
}

fn is_data_dir(name: &OsStr) -> bool {
    starts_with(name, "..")
        && name != DATA
        && name != NEW_DATA
        && Path::new(name).components().count() == 1
        && name != ".."
}

/// True when the directory holds exactly these files with their content and mode.
fn is_current(dir: &Dir, files: &Files<'_>, has_group: bool) -> Result<bool, FileError> {
    let mut there = BTreeSet::new();
    collect(dir, Path::new(""), 0, &mut there)?;
    if !there.iter().eq(files.keys()) {
        return Ok(false);
    }
    for (path, file) in files {
        let Some(open) = dir.open_file(path, rustix::fs::OFlags::RDONLY, 0)? else { return Ok(false) };
        let stat = rustix::fs::fstat(&open).at("stat", &dir.path().join(path))?;
        let owner = owner(dir.path(), file)?.map_or(stat.st_uid, Uid::as_raw);
        if stat.st_mode & 0o7777 != file_mode(file, has_group) || stat.st_uid != owner {
            return Ok(false);
        }
        let content = crate::beneath::read_at_most(open, file.content.expose().len() + 1)
            .at("read", &dir.path().join(path))?;
        if content != *file.content.expose() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn collect(dir: &Dir, at: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> Result<(), FileError> {
    for (name, _) in dir.entries()? {
        let path = at.join(&name);
        match dir.kind(&name)? {
            Some(kind) if kind.file_type == FileType::Directory && depth < MAX_DEPTH => {
                collect(&dir.dir(&name)?, &path, depth + 1, found)?;
            }
            Some(_) => {
                found.insert(path);
            }
            None => {}
        }
    }
    Ok(())
}

/// The user who gets the file.
fn owner(volume: &Path, file: &PayloadFile) -> Result<Option<Uid>, FileError> {
    let Some(user) = file.owner else { return Ok(None) };
    let raw = u32::try_from(user).ok().filter(|&raw| raw != u32::MAX);
    raw.map(|raw| Some(Uid::from_raw(raw)))
        .ok_or_else(|| refused(volume, format!("runAsUser {user} is not a user ID")))
}

fn file_mode(file: &PayloadFile, has_group: bool) -> u32 {
    let group_bits = if has_group { GroupAccess::ReadOnly.bits(FileType::RegularFile) } else { 0 };
    file.mode & 0o7777 | group_bits
}

/// Writes the files into a new directory and makes `..data` point to it. Returns its name.
fn publish(
    target: &Dir,
    files: &Files<'_>,
    group: Option<Gid>,
    now: WallTime,
) -> Result<OsString, FileError> {
    let (name, dir) = new_data_dir(target, now)?;
    let written = write_files(&dir, files, group).and_then(|()| {
        target.unlink(NEW_DATA)?;
        target.symlink(&name, NEW_DATA)?;
        target.rename(NEW_DATA, DATA)
    });
    if let Err(error) = written {
        if let Err(left) = target.remove_tree(&name) {
            tracing::warn!(%left, "what was written of a volume could not be removed; the next change removes it");
        }
        return Err(error);
    }
    Ok(name)
}

fn new_data_dir(target: &Dir, now: WallTime) -> Result<(OsString, Dir), FileError> {
    let stamp = now.to_api().0.strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    loop {
        let name = OsString::from(format!("{stamp}.{}", u32::from_ne_bytes(random(target.path())?)));
        if target.stat_entry(&name)?.is_none() {
            let dir = target.make_dir(&name, 0o755)?;
            return Ok((name, dir));
        }
    }
}

/// Random bytes for names that must not be taken yet.
pub(super) fn random(path: &Path) -> Result<[u8; 4], FileError> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .at("choose a name in", path)?;
    Ok(bytes)
}

fn write_files(dir: &Dir, files: &Files<'_>, group: Option<Gid>) -> Result<(), FileError> {
    use std::io::Write as _;
    for (path, file) in files {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            dir.make_dir(parent, 0o755)?;
        }
        let full = dir.path().join(path);
        let mut open = dir.create_new(path, 0o600)?;
        open.write_all(file.content.expose()).at("write", &full)?;
        if let Some(owner) = owner(&full, file)? {
            rustix::fs::fchown(&open, Some(owner), None).at("set the owner of", &full)?;
        }
        rustix::fs::fchmod(&open, Mode::from_raw_mode(file_mode(file, false)))
            .at("set the mode of", &full)?;
    }
    group.map_or(Ok(()), |group| ownership::give(dir, group, GroupAccess::ReadOnly))
}

/// Removes links to files that are gone, and data directories that are not current.
fn remove_stale(target: &Dir, visible: &BTreeSet<&OsStr>, current: &OsStr) -> Result<(), FileError> {
    for (name, _) in target.entries()? {
        if name == NEW_DATA {
            target.unlink(&name)?;
        } else if is_data_dir(&name) {
            if name != current {
                target.remove_tree(&name)?;
            }
        } else if name != DATA
            && !visible.contains(name.as_os_str())
            && target.read_link(&name)?.is_some_and(|link| Path::new(&link) == Path::new(DATA).join(&name))
        {
            target.unlink(&name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use core_types::Secret;
    use core_volumes::VolumePlugin;

    use super::*;

    const NOW: WallTime = WallTime::from_unix_secs(1_700_000_000);

    fn file(content: &str, mode: u32) -> PayloadFile {
        PayloadFile { content: Secret::new(content.as_bytes().to_vec()), mode, owner: None }
    }

    fn payload(files: &[(&str, &str, u32)]) -> VolumePayload {
        let files =
            files.iter().map(|(path, content, mode)| ((*path).to_owned(), file(content, *mode))).collect();
        VolumePayload { plugin: VolumePlugin::DownwardApi, files, fs_group: None }
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn data(path: &Path) -> PathBuf {
        std::fs::read_link(path.join(DATA)).unwrap()
    }

    #[test]
    fn the_layout_is_upstreams() {
        let temp = tempfile::tempdir().unwrap();
        let target = Dir::open(temp.path()).unwrap();
        write(&target, &payload(&[("labels", "a=b", 0o644), ("dir/inner/file", "x", 0o400)]), NOW).unwrap();
        let stamp = data(temp.path());
        assert!(stamp.to_str().unwrap().starts_with("..2023_11_14_22_13_20."), "{stamp:?}");
        assert_eq!(names(temp.path()), [stamp.to_str().unwrap(), "..data", "dir", "labels"]);
        assert_eq!(std::fs::read_link(temp.path().join("labels")).unwrap(), Path::new("..data/labels"));
        assert_eq!(std::fs::read_link(temp.path().join("dir")).unwrap(), Path::new("..data/dir"));
        assert_eq!(std::fs::read_to_string(temp.path().join("dir/inner/file")).unwrap(), "x");
        let mode =
            |path: &str| std::fs::metadata(temp.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode("labels"), mode("dir/inner/file"), mode("..data/"), mode("dir")),
            (0o644, 0o400, 0o755, 0o755)
        );
    }

    #[test]
    fn an_equal_payload_writes_nothing_and_mends_missing_links() {
        let temp = tempfile::tempdir().unwrap();
        let target = Dir::open(temp.path()).unwrap();
        let wanted = payload(&[("a", "1", 0o644), ("b", "2", 0o644)]);
        write(&target, &wanted, NOW).unwrap();
        let first = data(temp.path());
        std::fs::remove_file(temp.path().join("b")).unwrap();
        write(&target, &wanted, NOW).unwrap();
        assert_eq!(data(temp.path()), first);
        assert_eq!(std::fs::read_to_string(temp.path().join("b")).unwrap(), "2");
    }

    #[test]
    fn each_change_replaces_the_whole_and_leaves_nothing_behind() {
        let temp = tempfile::tempdir().unwrap();
        let target = Dir::open(temp.path()).unwrap();
        let changes: &[&[(&str, &str, u32)]] = &[
            &[("a", "1", 0o644), ("d/x", "1", 0o644), ("d/y", "1", 0o644)],
            &[("a", "2", 0o644), ("d/x", "1", 0o644), ("d/y", "1", 0o644)],
            &[("a", "2", 0o600), ("d/x", "1", 0o644), ("d/y", "1", 0o644)],
            &[("a", "2", 0o600), ("d/x", "1", 0o644)],
            &[("d", "file now", 0o644)],
            &[],
        ];
        let mut before = PathBuf::new();
        for files in changes {
            // What a killed agent may have left.
            std::fs::create_dir(temp.path().join("..2020_01_01_00_00_00.1")).unwrap();
            std::os::unix::fs::symlink("..2020_01_01_00_00_00.1", temp.path().join(NEW_DATA)).unwrap();
            write(&target, &payload(files), NOW).unwrap();
            let now = data(temp.path());
            assert_ne!(now, before, "a change is written: {files:?}");
            before = now.clone();
            let tops: BTreeSet<&str> =
                files.iter().map(|(path, ..)| path.split('/').next().unwrap()).collect();
            let mut expected = vec![now.to_str().unwrap(), DATA];
            expected.extend(tops);
            assert_eq!(names(temp.path()), expected);
            for (path, content, mode) in *files {
                assert_eq!(std::fs::read_to_string(temp.path().join(path)).unwrap(), *content);
                assert_eq!(std::fs::metadata(temp.path().join(path)).unwrap().mode() & 0o7777, *mode);
            }
        }
    }

    #[test]
    fn fs_group_gets_the_files() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may give files to a group");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let target = Dir::open(temp.path()).unwrap();
        let wanted = VolumePayload { fs_group: Some(4711), ..payload(&[("d/secret", "x", 0o400)]) };
        write(&target, &wanted, NOW).unwrap();
        let first = data(temp.path());
        let see = |path: &str| {
            let stat = std::fs::metadata(temp.path().join(path)).unwrap();
            (stat.gid(), stat.mode() & 0o7777)
        };
        assert_eq!(see("d/secret"), (4711, 0o440));
        assert_eq!(see("d"), (4711, 0o2755));
        assert_eq!(see("..data/"), (4711, 0o2755));
        write(&target, &wanted, NOW).unwrap();
        assert_eq!(data(temp.path()), first, "the group does not make it look changed");
    }

    #[test]
    fn paths_that_leave_the_volume_or_hide_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let target = Dir::open(temp.path()).unwrap();
        let long_name = "x".repeat(256);
        let long_path = "x/".repeat(2049);
        for path in ["", "/etc/x", "../x", "a/../../x", "..x", "..data", "./", &long_name, &long_path] {
            let result = write(&target, &payload(&[(path, "x", 0o644)]), NOW);
            assert!(matches!(result, Err(FileError::Refused { .. })), "{path:?}");
        }
        assert!(names(temp.path()).is_empty());
    }
}
