//! Counting on real directories.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU64, Ordering};

use core_stats::Coverage;
use core_types::{MonoTime, WallTime};
use core_volumes::VolumePlugin;

use super::*;

/// A clock that goes on by `step` at each look.
#[derive(Default)]
struct TestClock {
    nanos: AtomicU64,
    step_nanos: AtomicU64,
}

impl Clock for TestClock {
    fn now(&self) -> MonoTime {
        let step = self.step_nanos.load(Ordering::SeqCst);
        MonoTime::from_nanos(self.nanos.fetch_add(step, Ordering::SeqCst))
    }

    fn wall(&self) -> WallTime {
        WallTime::from_unix_secs(1_800_000_000)
    }
}

struct Node {
    temp: tempfile::TempDir,
    clock: Arc<TestClock>,
    storage: HostLocalStorage,
}

impl Node {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let (root, logs) = (temp.path().join("root"), temp.path().join("logs"));
        Self { storage: HostLocalStorage::new(&root, &logs, clock.clone()), clock, temp }
    }

    fn volume(&self, name: &str) -> (VolumeTarget, PathBuf) {
        let target = VolumeTarget { uid: "u1".into(), plugin: VolumePlugin::EmptyDir, name: name.to_owned() };
        let path = self.temp.path().join("root").join(relative(&target));
        std::fs::create_dir_all(&path).unwrap();
        (target, path)
    }

    fn pass(&self, secs: u64) {
        self.clock.nanos.fetch_add(secs * 1_000_000_000, Ordering::SeqCst);
    }

    async fn count(&self, target: &VolumeTarget) -> Option<VolumeUse> {
        let minute = Duration::from_secs(60);
        self.storage.volumes(std::slice::from_ref(target), minute).await.remove(0)
    }
}

fn write(path: PathBuf, bytes: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, vec![1; bytes]).unwrap();
}

/// What `du` says, which counts a file with several names once.
fn du(path: &Path) -> DiskUse {
    let number = |flags: &[&str]| {
        let output = std::process::Command::new("du").args(flags).arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    DiskUse { bytes: number(&["-sxB1"]), inodes: number(&["-sx", "--inodes"]) }
}

#[tokio::test]
async fn a_volume_is_counted_as_du_counts_it() {
    let node = Node::new();
    let (target, path) = node.volume("data");
    write(path.join("a/b/c/deep"), 100_000);
    for index in 0..700 {
        write(path.join(format!("many/{index}")), index % 9);
    }
    for name in ["one", "two", "a/three"] {
        std::fs::hard_link(path.join("a/b/c/deep"), path.join(name)).unwrap();
    }
    symlink("/usr", path.join("link")).unwrap();
    let found = node.count(&target).await.unwrap();
    let wanted = du(&path);
    assert_eq!((found.used.inodes, found.coverage), (wanted.inodes, Coverage::Whole));
    assert!(found.used.bytes.abs_diff(wanted.bytes) < 512, "{found:?}, du says {wanted:?}");
    assert!(found.filesystem.capacity_bytes >= found.used.bytes);
    assert_eq!(found.taken_at, node.clock.wall());
}

#[tokio::test]
async fn figures_are_shared_until_they_are_old() {
    let node = Node::new();
    let (target, path) = node.volume("data");
    let before = node.count(&target).await.unwrap();
    write(path.join("file"), 5000);
    node.pass(59);
    assert_eq!(node.count(&target).await, Some(before.clone()));
    node.pass(1);
    let after = node.count(&target).await.unwrap();
    assert_eq!(after.used.inodes, before.used.inodes + 1);
    std::fs::remove_dir_all(&path).unwrap();
    node.pass(60);
    assert_eq!(node.count(&target).await, Some(after), "nothing newer is known");
    let (other, _) = node.volume("other");
    node.count(&other).await.unwrap();
    assert_eq!(node.count(&target).await, None, "it was forgotten");
}

#[tokio::test]
async fn a_count_ends_in_time_and_says_that_there_is_more() {
    let node = Node::new();
    let (target, path) = node.volume("huge");
    for index in 0..2000 {
        write(path.join(index.to_string()), 1);
    }
    node.clock.step_nanos.store(4_000_000_000, Ordering::SeqCst);
    let found = node.count(&target).await.unwrap();
    assert_eq!(found.coverage, Coverage::AtLeast);
    assert!((500..2000).contains(&found.used.inodes), "{found:?}");
}

#[tokio::test]
async fn a_tree_that_is_too_deep_is_counted_as_far_as_it_goes() {
    let node = Node::new();
    let (target, path) = node.volume("deep");
    let mut dir = Dir::open(&path).unwrap();
    for _ in 0..600 {
        dir = dir.make_dir("d", 0o700).unwrap();
    }
    let found = node.count(&target).await.unwrap();
    assert_eq!((found.used.inodes, found.coverage), (513, Coverage::AtLeast));
}

#[tokio::test]
async fn a_volume_that_hangs_holds_up_no_other() {
    let node = Node::new();
    let (hung, _) = node.volume("hung");
    let (well, _) = node.volume("well");
    // Stands for a call that does not come back: it holds the key of the volume.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let key = name(&hung);
    let call = node.storage.counts.run(&key, move || {
        let _ = begun.send(());
        held.recv()
    });
    let ask = async {
        has_begun.await.unwrap();
        node.storage.volumes(&[hung.clone(), well.clone()], Duration::from_secs(60)).await
    };
    tokio::select! {
        _ = call => panic!("it hangs"),
        found = ask => assert!(found[0].is_none() && found[1].is_some(), "{found:?}"),
    }
    drop(release);
    let again = async { while node.count(&hung).await.is_none() {} };
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("it answers again");
}

#[tokio::test]
async fn logs_and_the_hosts_file_are_looked_at_each_time() {
    let node = Node::new();
    let (key, uid) = (PodKey::new("shop", "web"), PodUid::from("u1"));
    let nothing = node.storage.pod_files(&key, &uid).await.unwrap();
    assert_eq!((nothing.container_logs.len(), nothing.etc_hosts), (0, None));
    let logs = node.temp.path().join("logs/shop_web_u1");
    write(logs.join("main/0.log"), 10_000);
    write(logs.join("main/1.log"), 10_000);
    write(logs.join("main/below/not.log"), 10_000);
    write(logs.join("pod.log"), 1);
    write(node.temp.path().join("root/pods/u1/etc-hosts"), 1);
    let found = node.storage.pod_files(&key, &uid).await.unwrap();
    let main = found.container_logs["main"];
    assert!(main.bytes >= 20_000 && main.bytes < 40_000, "{main:?}");
    assert_eq!((main.inodes, found.pod_logs.inodes), (2, 1));
    assert_eq!(found.etc_hosts.map(|hosts| hosts.inodes), Some(1));
    assert!(node.storage.pod_files(&PodKey::new("..", "/x"), &"u1".into()).await.is_err());
    assert!(node.storage.pod_files(&key, &"../u1".into()).await.is_err());
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_counted() {
    let node = Node::new();
    node.volume("data");
    let outside = node.temp.path().join("outside");
    write(outside.join("file"), 1);
    let (target, path) = node.volume("link");
    std::fs::remove_dir(&path).unwrap();
    symlink(&outside, &path).unwrap();
    assert_eq!(node.count(&target).await, None);
    let target = VolumeTarget { name: "../../../../outside".to_owned(), ..target };
    assert_eq!(node.count(&target).await, None);
}
