//! Directories, links and files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use core_doctor::Inventory;
use core_doctor::inventory::{DeadLink, LogDir, PodDir, PodMount, StateFile, StateFileKind};
use core_types::PodUid;
use core_types::local::OFFLINE_FILE;
use ports::FileError;
use rustix::fs::FileType;

use super::InspectionPlaces;
use crate::beneath::Dir;
use crate::mountinfo::{self, Mount};
use crate::pod_files::logs::{is_dead_log, log_dir_owner};

/// Largest state file that is read; the agent reads no larger ones.
const MAX_STATE_BYTES: usize = 64 << 20;

/// Most files of a directory of records.
const MAX_FILES: usize = 10_000;

/// Names of checkpoints in the root directory.
const CHECKPOINTS: [&str; 2] = ["allocated_pods_state", "actuated_pods_state"];

/// End of the names of files that were set aside.
const ASIDE_END: &str = ".corrupt";
/// Beginning of the names of records of pulls that were set aside.
const ASIDE_BEGIN: &str = "corrupt-";

/// Directories of pods, with what is mounted below them.
pub(super) fn pods(places: &InspectionPlaces, inventory: &mut Inventory) {
    let root = &places.files.root_dir;
    if let Err(error) = pod_dirs(root, inventory) {
        inventory.not_looked(root.display(), error);
    }
}

fn pod_dirs(root: &Path, inventory: &mut Inventory) -> Result<(), FileError> {
    let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf());
    let Some(pods) = Dir::open(&root)?.find("pods")? else { return Ok(()) };
    let mounts = mountinfo::read()?;
    for (name, file_type) in pods.entries()? {
        let is_dir = matches!(file_type, FileType::Directory | FileType::Unknown);
        let Some(uid) = name.to_str().filter(|_| is_dir) else { continue };
        match pod_dir(&pods, uid, &mounts) {
            Ok(dir) => inventory.pod_dirs.extend(dir),
            Err(error) => inventory.not_looked(pods.path().join(uid).display(), error),
        }
    }
    inventory.pod_dirs.sort_by(|a, b| a.uid.cmp(&b.uid));
    Ok(())
}

fn pod_dir(pods: &Dir, uid: &str, mounts: &[Mount]) -> Result<Option<PodDir>, FileError> {
    let Some(pod) = pods.find(uid)? else { return Ok(None) };
    let volumes = pod.find("volumes")?;
    let plugins = volumes.map(|volumes| volumes.entries()).transpose()?.unwrap_or_default();
    let below = mounts.iter().filter_map(|mount| {
        let relative = mount.mount_point.strip_prefix(pod.path()).ok()?;
        Some(PodMount { relative: relative.display().to_string(), fs_type: mount.fs_type.clone() })
    });
    Ok(Some(PodDir {
        uid: PodUid::from(uid),
        path: pod.path().display().to_string(),
        plugins: plugins.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect(),
        mounts: below.collect(),
    }))
}

/// Directories of logs, and links to logs that are gone. Without these directories there are none.
pub(super) fn logs(places: &InspectionPlaces, inventory: &mut Inventory) {
    let logs = &places.files.pod_logs_dir;
    if logs.exists()
        && let Err(error) = log_dirs(logs, inventory)
    {
        inventory.not_looked(logs.display(), error);
    }
    if let Some(links) = places.files.container_log_links_dir.as_ref().filter(|links| links.exists())
        && let Err(error) = dead_links(links, logs, inventory)
    {
        inventory.not_looked(links.display(), error);
    }
}

fn log_dirs(logs: &Path, inventory: &mut Inventory) -> Result<(), FileError> {
    let mut names: BTreeSet<_> = Dir::open(logs)?.entries()?.into_iter().map(|(name, _)| name).collect();
    names.retain(|name| log_dir_owner(name).is_some_and(|uid| !uid.is_empty()));
    for name in names {
        let uid = PodUid::from(log_dir_owner(&name).unwrap_or_default());
        let path = logs.join(&name).display().to_string();
        inventory.log_dirs.push(LogDir { uid, path });
    }
    Ok(())
}

fn dead_links(links: &Path, logs: &Path, inventory: &mut Inventory) -> Result<(), FileError> {
    let dir = Dir::open(links)?;
    for (name, _) in dir.entries()? {
        let Some(target) = dir.read_link(&name)? else { continue };
        let target = Path::new(&target);
        if is_dead_log(target, logs) {
            let (path, target) = (links.join(&name).display().to_string(), target.display().to_string());
            inventory.dead_links.push(DeadLink { path, target });
        }
    }
    Ok(())
}

/// Directories below the root directory that hold state, and what a file of a name in it should hold.
const STATE_DIRS: [(&str, KindOf); 5] = [
    ("", |name| CHECKPOINTS.contains(&name).then_some(StateFileKind::Checkpoint)),
    ("podwright", |name| (name == OFFLINE_FILE).then_some(StateFileKind::Sealed)),
    ("podwright/events", |name| matches!(name, "journal" | "journal.old").then_some(StateFileKind::Journal)),
    ("image_manager/pulling", |name| of_pull(name, StateFileKind::PullIntent)),
    ("image_manager/pulled", |name| of_pull(name, StateFileKind::PullRecord)),
];

/// What a file of this name should hold; `None` for a file of somebody else.
type KindOf = fn(&str) -> Option<StateFileKind>;

fn of_pull(name: &str, kind: StateFileKind) -> Option<StateFileKind> {
    name.starts_with(core_images::records::FILE_PREFIX).then_some(kind)
}

/// Checkpoints, records of pulls, the journal of events, and what of them was set aside.
pub(super) fn state(places: &InspectionPlaces, inventory: &mut Inventory) {
    let root = &places.files.root_dir;
    for (relative, kind_of) in STATE_DIRS {
        if let Err(error) = state_dir(root, relative, kind_of, inventory) {
            inventory.not_looked(root.join(relative).display(), error);
        }
    }
}

fn state_dir(
    root: &Path,
    relative: &str,
    kind_of: KindOf,
    inventory: &mut Inventory,
) -> Result<(), FileError> {
    let root = Dir::open(root)?;
    let dir = match relative {
        "" => Some(root),
        relative => root.find(relative)?,
    };
    let Some(dir) = dir else { return Ok(()) };
    for (name, _) in dir.some_entries(MAX_FILES)? {
        let Some(name) = name.to_str() else { continue };
        let was_set_aside = name.strip_suffix(ASIDE_END).or_else(|| name.strip_prefix(ASIDE_BEGIN));
        let kind = match was_set_aside {
            Some(original) => kind_of(original).map(|_| StateFileKind::SetAside),
            None => kind_of(name).filter(|_| !is_unfinished(name)),
        };
        let Some(kind) = kind else { continue };
        let path = dir.path().join(name).display().to_string();
        let content = match kind {
            StateFileKind::SetAside => Vec::new(),
            _ => match dir.read(OsStr::new(name), MAX_STATE_BYTES)? {
                Some(content) => content,
                None => continue,
            },
        };
        inventory.state_files.push(StateFile { path, kind, content });
    }
    Ok(())
}

/// Files that upstream's kubelet has not finished writing.
fn is_unfinished(name: &str) -> bool {
    name.ends_with(".tmp")
}
