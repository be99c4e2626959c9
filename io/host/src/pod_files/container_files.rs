//! Small files: what containers get, the hosts file and the files for termination messages (CONTRACT 3.17, 3.18); the ID
//! mapping of the pod's user namespace (CONTRACT 3.22); and files of the host that the settings name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use core_types::PodUid;
use ports::FileError;
use rustix::fs::{Mode, OFlags};

use super::atomic_writer::random;
use super::{Layout, PRIVATE_DIR};
use crate::beneath::{Dir, component, read_at_most};
use crate::error::{AtPath, refused};

/// Largest hosts file that is compared before it is written anew.
const MAX_ETC_HOSTS: usize = 1 << 20;

/// Upstream's name of the file with a pod's ID mapping, and what it is written as first.
const USER_NAMESPACE: &str = "userns";
const NEW_USER_NAMESPACE: &str = ".userns.tmp";

impl Layout {
    /// See [`ports::PodFiles::write_etc_hosts`]. The file is written in place, because running containers have this very
    /// file mounted; an unchanged one is left alone.
    pub(super) fn write_etc_hosts(&self, uid: &PodUid, content: &str) -> Result<PathBuf, FileError> {
        const NAME: &str = "etc-hosts";
        let pod = self.make_pod(uid)?;
        let path = pod.path().join(NAME);
        if pod.read(NAME, MAX_ETC_HOSTS)?.as_deref() == Some(content.as_bytes()) {
            return Ok(path);
        }
        let mut file = match pod.open_file(NAME, OFlags::WRONLY | OFlags::TRUNC, 0)? {
            Some(file) => file,
            None => pod.create_new(NAME, 0o644)?,
        };
        file.write_all(content.as_bytes()).at("write", &path)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).at("set the mode of", &path)?;
        Ok(path)
    }

    /// See [`ports::PodFiles::read_user_namespace`].
    pub(super) fn read_user_namespace(
        &self,
        uid: &PodUid,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let Some(pod) = self.find_pod(uid)? else { return Ok(None) };
        pod.read(USER_NAMESPACE, max_bytes)
    }

    /// See [`ports::PodFiles::write_user_namespace`]. No fsync: what a crash of the machine takes with it, it also takes
    /// from the containers that run with it.
    pub(super) fn write_user_namespace(&self, uid: &PodUid, content: &[u8]) -> Result<(), FileError> {
        let pod = self.make_pod(uid)?;
        pod.unlink(NEW_USER_NAMESPACE)?;
        let mut file = pod.create_new(NEW_USER_NAMESPACE, 0o600)?;
        file.write_all(content).at("write", &pod.path().join(NEW_USER_NAMESPACE))?;
        pod.rename(NEW_USER_NAMESPACE, USER_NAMESPACE)
    }

    /// See [`ports::PodFiles::remove_user_namespace`].
    pub(super) fn remove_user_namespace(&self, uid: &PodUid) -> Result<(), FileError> {
        self.find_pod(uid)?.map_or(Ok(()), |pod| pod.unlink(USER_NAMESPACE))
    }

    /// See [`ports::PodFiles::create_termination_log`].
    pub(super) fn create_termination_log(&self, uid: &PodUid, container: &str) -> Result<PathBuf, FileError> {
        let pod = self.make_pod(uid)?;
        let dir =
            pod.make_dir(Path::new("containers").join(component(pod.path(), container)?), PRIVATE_DIR)?;
        loop {
            let name = format!("{:08x}", u32::from_ne_bytes(random(dir.path())?));
            if dir.stat_entry(&name)?.is_none() {
                dir.create_new(&name, 0o666)?;
                return Ok(dir.path().join(name));
            }
        }
    }

    /// See [`ports::PodFiles::read_termination_log`]. Of a longer file the end is read, as upstream does.
    pub(super) fn read_termination_log(
        &self,
        uid: &PodUid,
        host_path: &Path,
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let Some(pod) = self.find_pod(uid)? else { return Ok(None) };
        let Ok(relative) = host_path.strip_prefix(pod.path()) else {
            return Err(refused(host_path, format!("it is not below {}", pod.path().display())));
        };
        let Some(mut file) = pod.open_file(relative, OFlags::RDONLY, 0)? else { return Ok(None) };
        let size = file.metadata().at("stat", host_path)?.len();
        let start = size.saturating_sub(u64::try_from(max_bytes).unwrap_or(u64::MAX));
        file.seek(SeekFrom::Start(start)).at("read", host_path)?;
        read_at_most(file, max_bytes).at("read", host_path).map(Some)
    }
}

/// See [`ports::PodFiles::read_volume_file`].
pub(super) fn read_volume_file(
    volume_path: &Path,
    file: &Path,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, FileError> {
    let path = volume_path.join(file);
    let open = match Dir::open(volume_path)?.open_inside(file)? {
        Some(open) => open,
        None => return Ok(None),
    };
    read_at_most(open, max_bytes).at("read", &path).map(Some)
}

/// See [`ports::PodFiles::read_host_file`]. Symlinks are followed: `resolv.conf` usually is one.
pub(super) fn read_host_file(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, FileError> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", path),
    };
    if !file.metadata().at("stat", path)?.is_file() {
        return Err(refused(path, "it is not a regular file"));
    }
    let mut content = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content).at("read", path)?;
    if content.len() > max_bytes {
        return Err(refused(
            path,
            format!("it is larger than {max_bytes} bytes, the most that is read of it"),
        ));
    }
    Ok(Some(content))
}
