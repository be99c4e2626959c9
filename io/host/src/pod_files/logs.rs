//! Directories of container logs, old log files, and the legacy links to logs (CONTRACT 3.10).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use core_types::{PodKey, PodUid};
use ports::FileError;
use ports::pod_files::{LogLink, LogTail};
use rustix::fs::OFlags;

use super::{LOG_DIR, Layout, log_tail};
use crate::beneath::{Dir, component};
use crate::error::{AtPath, refused};

/// Longest name of a file.
const MAX_NAME: usize = 255;

const LINK_SUFFIX: &str = ".log";

/// Whose log directory that is: neither namespaces nor names hold an underscore.
pub(crate) fn log_dir_owner(name: &OsStr) -> Option<&str> {
    name.to_str().and_then(|name| name.splitn(3, '_').nth(2))
}

impl Layout {
    fn log_dir_name(&self, key: &PodKey, uid: &PodUid) -> Result<String, FileError> {
        let name = format!("{}_{}_{uid}", key.namespace, key.name);
        component(&self.pod_logs_dir, &name).map(str::to_owned)
    }

    /// See [`ports::PodFiles::ensure_log_dir`].
    pub(super) fn ensure_log_dir(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
    ) -> Result<Option<u32>, FileError> {
        let logs = Dir::open(&self.pod_logs_dir)?;
        let pod = logs.make_dir(self.log_dir_name(key, uid)?, LOG_DIR)?;
        let dir = pod.make_dir(component(pod.path(), container)?, LOG_DIR)?;
        Ok(dir.entries()?.iter().filter_map(|(name, _)| attempt(name)).max())
    }

    /// See [`ports::PodFiles::remove_container_logs`].
    pub(super) fn remove_container_logs(
        &self,
        key: &PodKey,
        uid: &PodUid,
        container: &str,
        keep_attempts: &[u32],
    ) -> Result<(), FileError> {
        let pod = self.pod_logs_dir.join(self.log_dir_name(key, uid)?);
        let name = component(&pod, container)?;
        let logs = Dir::open(&self.pod_logs_dir)?;
        let Some(dir) = logs.find(Path::new(&self.log_dir_name(key, uid)?).join(name))? else {
            return Ok(());
        };
        let mut removed = Vec::new();
        for (name, _) in dir.entries()? {
            if attempt(&name).is_some_and(|attempt| !keep_attempts.contains(&attempt)) {
                dir.unlink(&name)?;
                removed.push(dir.path().join(&name));
            }
        }
        if removed.is_empty() {
            Ok(())
        } else {
            self.remove_links(|target| removed.iter().any(|gone| gone == target))
        }
    }

    /// See [`ports::PodFiles::remove_pod_logs`].
    pub(super) fn remove_pod_logs(&self, key: &PodKey, uid: &PodUid) -> Result<(), FileError> {
        let logs = Dir::open(&self.pod_logs_dir)?;
        let names: Vec<OsString> = match key.name.is_empty() {
            true => logs
                .entries()?
                .into_iter()
                .map(|(name, _)| name)
                .filter(|name| log_dir_owner(name) == Some(uid.as_str()))
                .collect(),
            false => vec![self.log_dir_name(key, uid)?.into()],
        };
        for name in names {
            logs.remove_tree(&name)?;
            let gone = self.pod_logs_dir.join(name);
            self.remove_links(|target| target.starts_with(&gone))?;
        }
        Ok(())
    }

    /// See [`ports::PodFiles::list_log_dirs`]. What is not named as the kubelet names its log directories is somebody else's.
    pub(super) fn list_log_dirs(&self) -> Result<Vec<PodUid>, FileError> {
        let entries = Dir::open(&self.pod_logs_dir)?.entries()?;
        let owners = entries.iter().filter_map(|(name, _)| log_dir_owner(name));
        Ok(owners.filter(|uid| !uid.is_empty()).map(PodUid::from).collect())
    }

    /// See [`ports::PodFiles::remove_dead_log_links`].
    pub(super) fn remove_dead_log_links(&self) -> Result<(), FileError> {
        self.remove_links(|target| is_dead_log(target, &self.pod_logs_dir))
    }

    /// See [`ports::PodFiles::link_container_log`]; an empty target removes the link.
    pub(super) fn link_container_log(&self, link: &LogLink) -> Result<(), FileError> {
        let Some(path) = &self.container_log_links_dir else { return Ok(()) };
        let links = Dir::open(path)?;
        let name = link_name(link);
        let name = component(path, &name)?;
        if link.target.is_empty() {
            return links.unlink(name);
        }
        if links.read_link(name)?.is_some_and(|target| target == *link.target) {
            return Ok(());
        }
        links.unlink(name)?;
        links.symlink(&link.target, name)
    }

    /// Removes the links whose target fits; other files stay.
    fn remove_links(&self, fits: impl Fn(&Path) -> bool) -> Result<(), FileError> {
        let Some(path) = &self.container_log_links_dir else { return Ok(()) };
        let links = Dir::open(path)?;
        for (name, _) in links.entries()? {
            if let Some(target) = links.read_link(&name)?
                && fits(&self.canonical_log(Path::new(&target)))
            {
                links.unlink(&name)?;
            }
        }
        Ok(())
    }

    /// A log path as the runtime says it, below the canonical log directory.
    fn canonical_log(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.pod_logs_dir_as_given)
            .map_or_else(|_| path.to_path_buf(), |relative| self.pod_logs_dir.join(relative))
    }

    /// See [`ports::PodFiles::read_log_tail`]. Only files below the directory of pod logs are read, and no symlink is
    /// followed: a pod that may write there must not read the node's files through its log.
    pub(super) fn read_log_tail(&self, log_path: &Path, tail: LogTail) -> Result<Vec<u8>, FileError> {
        let path = self.canonical_log(log_path);
        let Ok(relative) = path.strip_prefix(&self.pod_logs_dir) else {
            return Err(refused(log_path, format!("it is not below {}", self.pod_logs_dir.display())));
        };
        let file = Dir::open(&self.pod_logs_dir)?.open_file(relative, OFlags::RDONLY, 0)?;
        let file =
            file.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound)).at("open", log_path)?;
        log_tail::read(&file, tail).at("read", log_path)
    }
}

/// Whether the directory of this log, below the directory of pod logs, is gone. A log that alone is missing may be under rotation.
pub(crate) fn is_dead_log(target: &Path, pod_logs_dir: &Path) -> bool {
    target.starts_with(pod_logs_dir) && target.parent().is_some_and(|dir| !dir.exists())
}

/// The restart count in the name of a log file: `3` of `3.log` and of `3.log.20260101-000000.gz`.
fn attempt(name: &OsStr) -> Option<u32> {
    let (number, rest) = name.to_str()?.split_once('.')?;
    let is_log =
        rest.strip_prefix("log").is_some_and(|rotated| rotated.is_empty() || rotated.starts_with('.'));
    if is_log && number.bytes().all(|byte| byte.is_ascii_digit()) { number.parse().ok() } else { None }
}

/// Name of the legacy link, cut so that it fits a file name.
fn link_name(link: &LogLink) -> String {
    let mut name =
        format!("{}_{}_{}-{}", link.key.name, link.key.namespace, link.container, link.container_id);
    let mut end = name.len().min(MAX_NAME - LINK_SUFFIX.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name + LINK_SUFFIX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_from_current_and_rotated_logs_only() {
        let cases = [
            ("0.log", Some(0)),
            ("12.log", Some(12)),
            ("3.log.20260101-000000", Some(3)),
            ("3.log.20260101-000000.gz", Some(3)),
            ("3.logs", None),
            ("a.log", None),
            (".log", None),
            ("+3.log", None),
            ("99999999999.log", None),
            ("log", None),
        ];
        for (name, expected) in cases {
            assert_eq!(attempt(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_name_of_a_link_fits_a_file_name() {
        let link = |pod: &str| LogLink {
            key: PodKey::new("ns", pod),
            container: "app".into(),
            container_id: "f00".into(),
            target: String::new(),
        };
        assert_eq!(link_name(&link("web")), "web_ns_app-f00.log");
        let long = link_name(&link(&"p".repeat(253)));
        assert_eq!(long.len(), 255);
        assert!(long.ends_with(".log"));
    }
}
