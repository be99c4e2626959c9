//! Pod directories, volumes, mounts and logs in temporary directories; what mounts runs only as root.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use core_types::Secret;
use core_volumes::{HostPathKind, PayloadFile, VolumePlugin};
use rustix::mount::UnmountFlags;

use super::*;
use crate::mountinfo;

/// Directories of one test. Unmounts what is left below them when it goes, also after a failure.
struct Place {
    temp: tempfile::TempDir,
    files: HostPodFiles,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let options = PodFilesOptions {
            root_dir: temp.path().join("root"),
            pod_logs_dir: temp.path().join("logs"),
            container_log_links_dir: Some(temp.path().join("links")),
        };
        let files = HostPodFiles::new(&options).unwrap();
        Self { temp, files }
    }

    fn at(&self, path: &str) -> PathBuf {
        std::fs::canonicalize(self.temp.path()).unwrap().join(path)
    }

    fn pod(&self, path: &str) -> PathBuf {
        self.at("root/pods/uid").join(path)
    }

    fn mode(&self, path: &str) -> u32 {
        std::fs::symlink_metadata(self.at(path)).unwrap().mode() & 0o7777
    }

    fn mounts(&self) -> Vec<PathBuf> {
        let below = self.at("");
        let all = mountinfo::read().unwrap().into_iter().map(|mount| mount.mount_point);
        all.filter(|mount_point| mount_point.starts_with(&below)).collect()
    }

    async fn empty_dir(&self, name: &str) -> PathBuf {
        let setup =
            VolumeSetup::EmptyDir { name: name.to_owned(), plugin: VolumePlugin::EmptyDir, fs_group: None };
        self.files.set_up_volume(&uid(), &setup).await.unwrap()
    }

    async fn sub_path(&self, volume_path: &Path, sub_path: &str) -> Result<PathBuf, FileError> {
        let request = SubPathRequest {
            volume: "data".to_owned(),
            volume_path: volume_path.to_path_buf(),
            container: "app".to_owned(),
            index: 3,
            sub_path: sub_path.to_owned(),
        };
        self.files.prepare_sub_path(&uid(), &request).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for mount_point in self.mounts().iter().rev() {
            let _ = rustix::mount::unmount(mount_point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
    }
}

fn uid() -> PodUid {
    PodUid::from("uid")
}

fn key() -> PodKey {
    PodKey::new("ns", "web")
}

/// Group and mode.
fn owned(path: &Path) -> (u32, u32) {
    let stat = std::fs::metadata(path).unwrap();
    (stat.gid(), stat.mode() & 0o7777)
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root may mount");
    }
    root
}

#[tokio::test]
async fn the_contract_holds() {
    ports::contract::pod_files(&Place::new().files).await;
}

#[tokio::test]
async fn directories_and_files_of_a_pod_are_upstreams() {
    let place = Place::new();
    place.files.ensure_pod_dirs(&uid()).await.unwrap();
    let hosts = place.files.write_etc_hosts(&uid(), "127.0.0.1 x\n").await.unwrap();
    let message = place.files.create_termination_log(&uid(), "app").await.unwrap();
    let volume = place.empty_dir("data").await;
    assert_eq!(hosts, place.pod("etc-hosts"));
    assert_eq!(message.parent().unwrap(), place.pod("containers/app"));
    let name = message.file_name().unwrap().to_str().unwrap();
    assert!(name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!(volume, place.pod("volumes/kubernetes.io~empty-dir/data"));
    for (path, mode) in [
        ("root", 0o750),
        ("root/pods", 0o750),
        ("root/pods/uid", 0o750),
        ("root/pods/uid/volumes", 0o750),
        ("root/pods/uid/plugins", 0o750),
        ("root/pods/uid/containers", 0o750),
        ("root/pods/uid/etc-hosts", 0o644),
        ("root/pods/uid/volumes/kubernetes.io~empty-dir/data", 0o777),
        ("root/pods/uid/plugins/kubernetes.io~empty-dir/data/ready", 0o640),
        ("logs", 0o750),
    ] {
        assert_eq!(place.mode(path), mode, "{path}");
    }
    assert_eq!(std::fs::metadata(&message).unwrap().mode() & 0o7777, 0o666);

    // A pod that has ended gives back the room that it took.
    std::fs::write(volume.join("big"), "x").unwrap();
    place.files.tear_down_volumes(&uid()).await.unwrap();
    assert!(!volume.exists() && hosts.exists());
    assert!(place.empty_dir("data").await.is_dir(), "set up again");
}

#[tokio::test]
async fn a_volume_that_is_ready_keeps_what_the_pod_changed() {
    let place = Place::new();
    let volume = place.empty_dir("data").await;
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o2770)).unwrap();
    place.empty_dir("data").await;
    assert_eq!(std::fs::metadata(&volume).unwrap().mode() & 0o7777, 0o2770);
    std::fs::remove_dir(&volume).unwrap();
    place.empty_dir("data").await;
    assert_eq!(std::fs::metadata(&volume).unwrap().mode() & 0o7777, 0o777, "made anew");
}

#[tokio::test]
async fn fs_group_gets_an_empty_dir_once() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let setup = VolumeSetup::EmptyDir {
        name: "data".to_owned(),
        plugin: VolumePlugin::EmptyDir,
        fs_group: Some(2000),
    };
    let volume = place.files.set_up_volume(&uid(), &setup).await.unwrap();
    assert_eq!(owned(&volume), (2000, 0o2777));
    std::os::unix::fs::chown(&volume, None, Some(3000)).unwrap();
    place.files.set_up_volume(&uid(), &setup).await.unwrap();
    assert_eq!(owned(&volume).0, 3000, "what the pod changed stays");
    std::fs::remove_dir(&volume).unwrap();
    place.files.set_up_volume(&uid(), &setup).await.unwrap();
    assert_eq!(owned(&volume), (2000, 0o2777), "made anew");
}

#[tokio::test]
async fn the_hosts_file_is_written_in_place_and_only_when_it_changes() {
    let place = Place::new();
    let path = place.files.write_etc_hosts(&uid(), "long content\n").await.unwrap();
    let before = std::fs::metadata(&path).unwrap();
    place.files.write_etc_hosts(&uid(), "long content\n").await.unwrap();
    let same = std::fs::metadata(&path).unwrap();
    assert_eq!((same.ino(), same.mtime_nsec()), (before.ino(), before.mtime_nsec()));
    place.files.write_etc_hosts(&uid(), "short\n").await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before.ino(), "containers have this file mounted");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "short\n");
}

#[tokio::test]
async fn of_a_long_termination_message_the_end_is_read() {
    let place = Place::new();
    let path = place.files.create_termination_log(&uid(), "app").await.unwrap();
    std::fs::write(&path, "0123456789").unwrap();
    let read = place.files.read_termination_log(&uid(), path.to_str().unwrap(), 4).await.unwrap();
    assert_eq!(read.unwrap(), b"6789");
    let link = place.pod("containers/app/link");
    symlink("/etc/passwd", &link).unwrap();
    assert!(place.files.read_termination_log(&uid(), link.to_str().unwrap(), 4).await.is_err());
}

#[tokio::test]
async fn a_tmpfs_is_mounted_once_with_its_size_and_goes_with_the_pod() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let setup = |name: &str, plugin, size_bytes| VolumeSetup::Tmpfs {
        name: name.to_owned(),
        plugin,
        size_bytes,
        fs_group: Some(2000),
    };
    let memory = setup("cache", VolumePlugin::EmptyDir, Some(1 << 20));
    let path = place.files.set_up_volume(&uid(), &memory).await.unwrap();
    place.files.set_up_volume(&uid(), &memory).await.unwrap();
    assert_eq!(place.mounts(), std::slice::from_ref(&path));
    let stat = rustix::fs::statvfs(&path).unwrap();
    assert_eq!(stat.f_blocks * stat.f_frsize, 1 << 20);
    assert_eq!(owned(&path), (2000, 0o3777), "the mode of a tmpfs with the bits of the group");
    let info = setup("podinfo", VolumePlugin::DownwardApi, None);
    let path = place.files.set_up_volume(&uid(), &info).await.unwrap();
    assert_eq!(path, place.pod("volumes/kubernetes.io~downward-api/podinfo"));
    assert!(place.pod("plugins/kubernetes.io~empty-dir/wrapped_podinfo/ready").is_file());
    let payload = VolumePayload {
        plugin: VolumePlugin::DownwardApi,
        files: BTreeMap::from([(
            "labels".to_owned(),
            PayloadFile { content: Secret::new(b"a=b".to_vec()), mode: 0o644, owner: None },
        )]),
        fs_group: Some(2000),
    };
    place.files.write_volume(&uid(), "podinfo", &payload).await.unwrap();
    assert_eq!(std::fs::read_to_string(path.join("labels")).unwrap(), "a=b");
    assert_eq!(std::fs::metadata(path.join("labels")).unwrap().gid(), 2000);
    place.files.tear_down_volumes(&uid()).await.unwrap();
    place.files.tear_down_volumes(&uid()).await.unwrap();
    assert!(place.mounts().is_empty());
    assert!(path.is_dir(), "the directories stay");
    place.files.set_up_volume(&uid(), &info).await.unwrap();
    assert_eq!(place.mounts(), std::slice::from_ref(&path), "set up again");
    assert_eq!(owned(&path), (2000, 0o3777), "and given to the group again");
    place.files.remove_pod_dir(&uid()).await.unwrap();
    assert!(place.mounts().is_empty());
    assert!(!place.pod("").exists());
}

#[tokio::test]
async fn huge_pages_are_mounted_with_a_size_that_the_kernel_has() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let setup = |name: &str, page_bytes| VolumeSetup::HugePages {
        name: name.to_owned(),
        page_bytes,
        fs_group: Some(2000),
    };
    let error = place.files.set_up_volume(&uid(), &setup("odd", 12_288)).await.unwrap_err().to_string();
    assert!(error.contains("this kernel has no huge pages of 12288 bytes"), "{error}");
    if !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        eprintln!("skipped: this kernel has no huge pages of 2 MiB");
        return;
    }
    let path = place.files.set_up_volume(&uid(), &setup("huge", 2 << 20)).await.unwrap();
    place.files.set_up_volume(&uid(), &setup("huge", 2 << 20)).await.unwrap();
    assert_eq!(place.mounts(), std::slice::from_ref(&path));
    assert_eq!(rustix::fs::statfs(&path).unwrap().f_bsize, 2 << 20);
    assert_eq!(owned(&path).0, 2000);
    place.files.remove_pod_dir(&uid()).await.unwrap();
    assert!(place.mounts().is_empty());
}

#[tokio::test]
async fn files_of_a_volume_are_read_as_the_pod_sees_them() {
    let place = Place::new();
    let volume = place.empty_dir("data").await;
    std::fs::create_dir(volume.join("conf")).unwrap();
    std::fs::write(volume.join("conf/env"), "A='1'").unwrap();
    symlink("/conf/env", volume.join("rooted")).unwrap();
    symlink("../../../../../../../etc/passwd", volume.join("curious")).unwrap();
    let read = |file: &'static str| {
        let (files, volume) = (&place.files, volume.clone());
        async move { files.read_volume_file(&uid(), &volume, file, 3).await }
    };
    assert_eq!(read("conf/env").await.unwrap().as_deref(), Some(&b"A='"[..]), "as much as was asked for");
    assert_eq!(read("rooted").await.unwrap().as_deref(), Some(&b"A='"[..]));
    assert_eq!(read("curious").await.unwrap(), None, "the volume has no /etc");
    assert!(read("conf").await.is_err(), "a directory is no file");
}

#[tokio::test]
async fn a_busy_mount_keeps_the_directory_and_is_named() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let memory = VolumeSetup::Tmpfs {
        name: "cache".to_owned(),
        plugin: VolumePlugin::EmptyDir,
        size_bytes: None,
        fs_group: None,
    };
    let path = place.files.set_up_volume(&uid(), &memory).await.unwrap();
    let in_use = std::fs::File::create(path.join("open")).unwrap();
    let error = place.files.remove_pod_dir(&uid()).await.unwrap_err();
    assert!(matches!(&error, FileError::StillMounted { path: named } if *named == path), "{error}");
    assert!(path.join("open").exists(), "nothing was removed");
    drop(in_use);
    place.files.remove_pod_dir(&uid()).await.unwrap();
    assert!(!place.pod("").exists());
}

#[tokio::test]
async fn removing_a_pod_never_reaches_what_it_links_or_mounts() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let kept = place.at("kept");
    std::fs::create_dir(&kept).unwrap();
    std::fs::write(kept.join("file"), "kept").unwrap();
    let volume = place.empty_dir("data").await;
    symlink(&kept, volume.join("link")).unwrap();
    let mounted = place.sub_path(&kept, ".").await.unwrap();
    assert!(mounted.join("file").exists());
    std::fs::create_dir(volume.join("bind mount")).unwrap();
    rustix::mount::mount_bind(&kept, volume.join("bind mount")).unwrap();
    place.files.remove_pod_dir(&uid()).await.unwrap();
    assert!(!place.pod("").exists());
    assert_eq!(std::fs::read_to_string(kept.join("file")).unwrap(), "kept");
}

#[tokio::test]
async fn a_host_path_is_checked_and_returned_as_it_is() {
    let place = Place::new();
    let path = place.at("made");
    let setup = |kind| VolumeSetup::HostPath { name: "h".to_owned(), path: path.clone(), kind };
    let error = place.files.set_up_volume(&uid(), &setup(HostPathKind::Directory)).await.unwrap_err();
    assert!(error.to_string().contains("hostPath type check failed"), "{error}");
    assert_eq!(
        place.files.set_up_volume(&uid(), &setup(HostPathKind::DirectoryOrCreate)).await.unwrap(),
        path
    );
    place.files.remove_pod_dir(&uid()).await.unwrap();
    assert!(path.is_dir(), "never removed");
}

#[tokio::test]
async fn sub_paths_are_made_mounted_and_follow_links_only_inside() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let volume = place.empty_dir("data").await;
    std::fs::create_dir_all(volume.join("real/inner")).unwrap();
    std::fs::write(volume.join("real/file"), "content").unwrap();
    symlink("real", volume.join("relative")).unwrap();
    symlink(volume.join("real"), volume.join("absolute")).unwrap();
    symlink("/etc", volume.join("outside")).unwrap();
    symlink("../../../..", volume.join("up")).unwrap();
    symlink("nowhere", volume.join("dangling")).unwrap();
    let target = place.pod("volume-subpaths/data/app/3");
    for (sub_path, same_as) in [
        ("new/deep", "new/deep"),
        ("relative/inner", "real/inner"),
        ("absolute/inner", "real/inner"),
        ("relative/made", "real/made"),
        ("real/file", "real/file"),
        ("relative/file", "real/file"),
        ("real", "real"),
        (".", "."),
    ] {
        let mounted =
            place.sub_path(&volume, sub_path).await.unwrap_or_else(|error| panic!("{sub_path}: {error}"));
        assert_eq!(mounted, target);
        let (there, wanted) =
            (std::fs::metadata(&mounted).unwrap(), std::fs::metadata(volume.join(same_as)).unwrap());
        assert_eq!((there.dev(), there.ino()), (wanted.dev(), wanted.ino()), "{sub_path}");
        assert_eq!(
            place.mounts(),
            std::slice::from_ref(&target),
            "one mount, and the one before is gone: {sub_path}"
        );
        place.sub_path(&volume, sub_path).await.unwrap();
        assert_eq!(place.mounts().len(), 1, "safe to repeat: {sub_path}");
    }
    assert_eq!(
        std::fs::metadata(volume.join("new")).unwrap().mode() & 0o7777,
        0o777,
        "the volume root's permission"
    );
    for sub_path in
        ["../x", "/etc", "real/../../x", "outside", "outside/passwd", "outside/new", "up/x", "dangling"]
    {
        let error = place.sub_path(&volume, sub_path).await.expect_err(sub_path).to_string();
        assert!(error.contains("not within volume path"), "{sub_path}: {error}");
    }
    assert!(!Path::new("/etc/new").exists());
}

#[tokio::test]
async fn a_volume_that_changes_under_our_hands_never_leads_outside() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let outside = place.at("outside");
    std::fs::create_dir(&outside).unwrap();
    let volume = place.empty_dir("data").await;
    std::fs::create_dir(volume.join("dir")).unwrap();
    symlink(&outside, volume.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut inside, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = rustix::fs::open(&volume, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(&dir, "dir", &dir, "link", rustix::fs::RenameFlags::EXCHANGE)
                    .unwrap();
            }
        });
        let _stopped_at_the_end = Stop(&stop);
        let pod = place.files.layout.make_pod(&uid()).unwrap();
        // Until both outcomes were seen often; a busy machine may let one thread run alone for a while.
        for index in 0..100_000 {
            if inside >= 100 && refused >= 100 {
                break;
            }
            std::thread::yield_now();
            let request = SubPathRequest {
                volume: "data".to_owned(),
                volume_path: volume.clone(),
                container: "app".to_owned(),
                index: 0,
                sub_path: format!("dir/a{index}/b"),
            };
            match sub_path::prepare(&pod, &request) {
                Ok(mounted) => {
                    inside += 1;
                    std::fs::write(mounted.join("written"), "x").unwrap();
                    rustix::mount::unmount(&mounted, UnmountFlags::NOFOLLOW).unwrap();
                }
                Err(_) => refused += 1,
            }
        }
    });
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    assert!(inside > 0 && refused > 0, "the race was run: {inside} inside, {refused} refused");
}

/// Ends the other thread, also when this one panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn log_directories_know_their_highest_attempt_and_lose_old_ones() {
    let place = Place::new();
    assert_eq!(place.files.ensure_log_dir(&key(), &uid(), "app").await.unwrap(), None);
    let dir = place.at("logs/ns_web_uid/app");
    assert_eq!((place.mode("logs/ns_web_uid"), place.mode("logs/ns_web_uid/app")), (0o755, 0o755));
    for name in ["0.log", "2.log", "2.log.20260101-000000.gz", "1.log", "other"] {
        std::fs::write(dir.join(name), "").unwrap();
    }
    assert_eq!(place.files.ensure_log_dir(&key(), &uid(), "app").await.unwrap(), Some(2));
    let link = |attempt: u32, id: &str| LogLink {
        key: key(),
        container: "app".to_owned(),
        container_id: id.to_owned(),
        target: dir.join(format!("{attempt}.log")).to_str().unwrap().to_owned(),
    };
    for (attempt, id) in [(1, "one"), (2, "two"), (2, "two"), (1, "two")] {
        place.files.link_container_log(&link(attempt, id)).await.unwrap();
    }
    assert_eq!(std::fs::read_link(place.at("links/web_ns_app-two.log")).unwrap(), dir.join("1.log"));
    place.files.link_container_log(&link(2, "two")).await.unwrap();
    place.files.remove_container_logs(&key(), &uid(), "app", &[2]).await.unwrap();
    let mut left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["2.log", "2.log.20260101-000000.gz", "other"]);
    assert!(std::fs::symlink_metadata(place.at("links/web_ns_app-one.log")).is_err(), "its log is gone");
    place.files.link_container_log(&LogLink { target: String::new(), ..link(2, "two") }).await.unwrap();
    assert!(
        std::fs::symlink_metadata(place.at("links/web_ns_app-two.log")).is_err(),
        "removed by an empty target"
    );
    place.files.link_container_log(&link(2, "two")).await.unwrap();
    std::fs::write(place.at("links/foreign.log"), "").unwrap();
    std::fs::create_dir(place.at("logs/ns_web_other_uid")).unwrap();
    place.files.remove_pod_logs(&PodKey::new("", ""), &uid()).await.unwrap();
    assert!(!place.at("logs/ns_web_uid").exists());
    assert!(place.at("logs/ns_web_other_uid").exists(), "the logs of another pod");
    assert_eq!(std::fs::read_dir(place.at("links")).unwrap().count(), 1, "only what is not ours is left");
}

#[tokio::test]
async fn log_tails_are_read_without_following_links() {
    let place = Place::new();
    place.files.ensure_log_dir(&key(), &uid(), "app").await.unwrap();
    let log = place.at("logs/ns_web_uid/app/0.log");
    std::fs::write(&log, "2026-01-01T00:00:00Z stderr F last words\n").unwrap();
    let tail = LogTail { lines: 80, bytes: 2048 };
    assert_eq!(place.files.read_log_tail(log.to_str().unwrap(), tail).await.unwrap(), b"last words\n");
    let link = place.at("logs/ns_web_uid/app/1.log");
    symlink("/etc/passwd", &link).unwrap();
    assert!(place.files.read_log_tail(link.to_str().unwrap(), tail).await.is_err());
    assert!(place.files.read_log_tail(&format!("{}/../../x", log.display()), tail).await.is_err());
}

#[tokio::test]
async fn host_files_are_bounded_and_regular() {
    let place = Place::new();
    let file = place.at("resolv.conf");
    std::fs::write(&file, "0123456789").unwrap();
    symlink(&file, place.at("link")).unwrap();
    let read = |path: PathBuf, max: usize| {
        let files = &place.files;
        async move { files.read_host_file(path.to_str().unwrap(), max).await }
    };
    assert_eq!(read(place.at("link"), 10).await.unwrap().unwrap(), b"0123456789");
    assert!(read(file, 9).await.is_err(), "larger than what is read");
    assert!(read("/dev/zero".into(), 9).await.is_err());
    assert_eq!(read(place.at("none"), 9).await.unwrap(), None);
}

#[tokio::test]
async fn without_a_directory_for_links_none_are_made() {
    let temp = tempfile::tempdir().unwrap();
    let options = PodFilesOptions {
        root_dir: temp.path().join("root"),
        pod_logs_dir: temp.path().join("logs"),
        container_log_links_dir: None,
    };
    let files = HostPodFiles::new(&options).unwrap();
    let link =
        LogLink { key: key(), container: "app".into(), container_id: "id".into(), target: "/x".into() };
    files.link_container_log(&link).await.unwrap();
    files.remove_pod_logs(&key(), &uid()).await.unwrap();
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_file_system_that_hangs_gives_an_error_that_names_the_pod() {
    let temp = tempfile::tempdir().unwrap();
    let options = PodFilesOptions {
        root_dir: temp.path().join("root"),
        pod_logs_dir: temp.path().join("logs"),
        container_log_links_dir: None,
    };
    let files = HostPodFiles::with_deadline(&options, Duration::from_millis(50)).unwrap();
    let (release, hang) = std::sync::mpsc::channel::<()>();
    let pod = uid();
    let stuck = files.for_pod(&pod, "set up a volume of the pod", move |_| {
        let _ = hang.recv();
        Ok(())
    });
    let error = stuck.await.unwrap_err();
    assert!(matches!(&error, FileError::Timeout { path, .. } if path.ends_with("pods/uid")), "{error}");
    assert!(files.ensure_pod_dirs(&PodUid::from("other")).await.is_ok(), "other pods go on");
    drop(release);
}
