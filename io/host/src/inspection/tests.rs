//! Looks and remedies on real directories and mounts.

use std::fs;
use std::os::unix::fs::symlink;

use core_doctor::inventory::StateFileKind;
use core_types::PodUid;

use super::*;

struct Machine {
    temp: tempfile::TempDir,
    inspection: HostInspection,
}

impl Machine {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for dir in ["root/pods", "root/podwright/events", "root/image_manager/pulled", "logs", "links"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let files = PodFilesOptions {
            root_dir: at("root"),
            pod_logs_dir: at("logs"),
            container_log_links_dir: Some(at("links")),
        };
        let places = InspectionPlaces { files, cgroup_root: "/podwright-no-such-root".to_owned() };
        Self { inspection: HostInspection::new(places), temp }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }
}

#[tokio::test]
async fn everything_is_seen_and_nothing_is_changed() {
    let machine = Machine::new();
    fs::create_dir_all(machine.at("root/pods/one/volumes/kubernetes.io~csi/v")).unwrap();
    fs::create_dir_all(machine.at("root/pods/two")).unwrap();
    symlink("/etc", machine.at("root/pods/three")).unwrap();
    fs::create_dir_all(machine.at("logs/ns_web_uid-1/main")).unwrap();
    fs::create_dir_all(machine.at("logs/of-somebody-else")).unwrap();
    symlink(machine.at("logs/ns_web_uid-1/main/0.log"), machine.at("links/rotated.log")).unwrap();
    symlink(machine.at("logs/ns_gone_uid-2/main/0.log"), machine.at("links/dead.log")).unwrap();
    symlink("/nowhere/main/0.log", machine.at("links/foreign.log")).unwrap();
    for (name, content) in [
        ("root/allocated_pods_state", "x"),
        ("root/actuated_pods_state.corrupt", "y"),
        ("root/other", "z"),
        ("root/podwright/events/journal", "nonsense\n"),
        ("root/podwright/offline.sealed", "x"),
        ("root/podwright/offline.key", "the key is not looked at"),
        ("root/image_manager/pulled/sha256-a", "{}"),
        ("root/image_manager/pulled/corrupt-sha256-b", "{}"),
        ("root/image_manager/pulled/sha256-c.tmp", "{}"),
    ] {
        fs::write(machine.at(name), content).unwrap();
    }
    let seen = machine.inspection.look().await;
    let dirs: Vec<_> = seen.pod_dirs.iter().map(|dir| (dir.uid.as_str(), dir.plugins.len())).collect();
    assert_eq!(dirs, [("one", 1), ("two", 0)], "a link is no directory of a pod");
    assert_eq!(seen.log_dirs.iter().map(|dir| dir.uid.as_str()).collect::<Vec<_>>(), ["uid-1"]);
    let links: Vec<_> = seen.dead_links.iter().map(|link| link.path.as_str()).collect();
    assert_eq!(links, [machine.at("links/dead.log").to_str().unwrap()]);
    let mut states: Vec<_> = seen
        .state_files
        .iter()
        .map(|file| (file.kind, file.path.rsplit('/').next().unwrap_or_default().to_owned()))
        .collect();
    states.sort_by(|a, b| a.1.cmp(&b.1));
    let named = |kind, name: &str| (kind, name.to_owned());
    assert_eq!(
        states,
        [
            named(StateFileKind::SetAside, "actuated_pods_state.corrupt"),
            named(StateFileKind::Checkpoint, "allocated_pods_state"),
            named(StateFileKind::SetAside, "corrupt-sha256-b"),
            named(StateFileKind::Journal, "journal"),
            named(StateFileKind::Sealed, "offline.sealed"),
            named(StateFileKind::PullRecord, "sha256-a"),
        ]
    );
    let blind: Vec<_> = seen.blind_spots.iter().map(|spot| spot.place.as_str()).collect();
    assert_eq!(blind, ["cgroups"], "{:?}", seen.blind_spots);
}

#[tokio::test]
async fn remedies_take_only_what_they_name_and_nothing_that_is_in_use() {
    let machine = Machine::new();
    let dir = machine.at("root/pods/gone/volumes/kubernetes.io~empty-dir/v");
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir_all(machine.at("root/pods/stays")).unwrap();
    let root = fs::canonicalize(&dir).unwrap();
    rustix::mount::mount("tmpfs", &root, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    let uid = PodUid::from("gone");
    let seen = machine.inspection.look().await;
    let mounts: Vec<_> =
        seen.pod_dirs[0].mounts.iter().map(|mount| (mount.relative.clone(), mount.fs_type.clone())).collect();
    let relative = "volumes/kubernetes.io~empty-dir/v".to_owned();
    assert_eq!(mounts, [(relative.clone(), "tmpfs".to_owned())]);

    let remove = Remedy::RemovePodDir { uid: uid.clone() };
    let held = machine.inspection.carry_out(&remove).await;
    assert!(matches!(held, Err(RemedyError::File(FileError::StillMounted { .. }))), "{held:?}");
    let unmount = Remedy::Unmount { uid, relative };
    {
        let _in_use = fs::File::create(dir.join("file")).unwrap();
        let busy = machine.inspection.carry_out(&unmount).await;
        assert!(matches!(busy, Err(RemedyError::File(FileError::StillMounted { .. }))), "{busy:?}");
    }
    machine.inspection.carry_out(&unmount).await.unwrap();
    machine.inspection.carry_out(&unmount).await.unwrap();
    machine.inspection.carry_out(&remove).await.unwrap();
    machine.inspection.carry_out(&remove).await.unwrap();
    assert!(!machine.at("root/pods/gone").exists());
    assert!(machine.at("root/pods/stays").exists());
    for name in ["..", "a/b", ""] {
        let outside = Remedy::RemovePodDir { uid: PodUid::from(name) };
        assert!(machine.inspection.carry_out(&outside).await.is_err(), "{name:?}");
    }
}
