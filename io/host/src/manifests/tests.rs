//! Manifest directories as people change them: files that come, change, vanish or are not what they should be.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use futures_util::StreamExt;

use super::*;

fn shown(files: &[ManifestFile]) -> Vec<(String, Result<String, String>)> {
    let name = |file: &ManifestFile| file.path.file_name().unwrap().to_str().unwrap().to_owned();
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    files.iter().map(|file| (name(file), file.content.as_ref().map(text).map_err(Clone::clone))).collect()
}

#[tokio::test]
async fn a_directory_is_read_sorted_and_bad_files_speak_for_themselves() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    std::fs::write(at("b.yaml"), "b").unwrap();
    std::fs::write(at("a.yaml"), "a").unwrap();
    std::fs::write(at(".hidden"), "x").unwrap();
    std::fs::create_dir(at("dir")).unwrap();
    std::fs::write(at("dir/inner.yaml"), "x").unwrap();
    symlink("dir/inner.yaml", at("link.yaml")).unwrap();
    symlink("nowhere", at("dangling.yaml")).unwrap();
    symlink("/dev/zero", at("zero.yaml")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe.yaml"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.yaml")).unwrap();
    let large = File::create(at("large.yaml")).unwrap();
    large.set_len(u64::try_from(MAX_FILE_BYTES).unwrap() + 1).unwrap();
    let found = HostManifestFiles::new(temp.path()).read_all().await.unwrap();
    let expected = [
        ("a.yaml", Ok("a")),
        ("b.yaml", Ok("b")),
        ("dangling.yaml", Err("it is a symlink to a file that does not exist")),
        ("large.yaml", Err("it is larger than 10485760 bytes, the most that is read of a manifest")),
        ("link.yaml", Ok("x")),
        ("pipe.yaml", Err("it is a named pipe; a manifest must be a regular file")),
        ("socket.yaml", Err("it is a socket; a manifest must be a regular file")),
        ("zero.yaml", Err("it is a device; a manifest must be a regular file")),
    ];
    let expected =
        expected.map(|(name, content)| (name.to_owned(), content.map(str::to_owned).map_err(str::to_owned)));
    assert_eq!(shown(&found), expected);
}

#[tokio::test]
async fn a_single_file_a_missing_path_and_other_things() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("pod.yaml");
    let manifests = HostManifestFiles::new(&file);
    assert!(manifests.read_all().await.unwrap().is_empty());
    std::fs::write(&file, "pod").unwrap();
    assert_eq!(shown(&manifests.read_all().await.unwrap()), [("pod.yaml".to_owned(), Ok("pod".to_owned()))]);
    assert!(HostManifestFiles::new(Path::new("/dev/null")).read_all().await.is_err());
}

#[tokio::test]
async fn a_written_manifest_is_private_whole_and_removable() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("new/manifests");
    let manifests = HostManifestFiles::new(&dir);
    manifests.remove("a.yaml").await.unwrap();
    // What a killed agent may have left.
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(".a.yaml.new"), "half").unwrap();
    manifests.write("a.yaml", b"one").await.unwrap();
    manifests.write("a.yaml", b"two").await.unwrap();
    assert_eq!(std::fs::metadata(dir.join("a.yaml")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(shown(&manifests.read_all().await.unwrap()), [("a.yaml".to_owned(), Ok("two".to_owned()))]);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    for name in [".hidden", "../a", "", "a/b"] {
        assert!(manifests.write(name, b"x").await.is_err(), "{name:?}");
        assert!(manifests.remove(name).await.is_err(), "{name:?}");
    }
    manifests.remove("a.yaml").await.unwrap();
    manifests.remove("a.yaml").await.unwrap();
    assert!(manifests.read_all().await.unwrap().is_empty());
}

/// Waits until a hint comes after which `done` holds: hints before may be about earlier changes.
async fn until(hints: &mut FileHints, what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        loop {
            hints.next().await.expect("the watch goes on");
            if done() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("no hint: {what}"));
}

/// Takes the hints that are there already.
async fn drain(hints: &mut FileHints) {
    while tokio::time::timeout(Duration::from_millis(50), hints.next()).await.is_ok() {}
}

#[tokio::test]
async fn every_change_in_a_directory_gives_a_hint() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let mut hints = HostManifestFiles::new(temp.path()).watch().await.unwrap();
    type Change<'a> = Box<dyn Fn() + 'a>;
    let changes: Vec<(&str, Change<'_>)> = vec![
        ("create", Box::new(|| std::fs::write(at("a"), "1").unwrap())),
        ("write", Box::new(|| std::fs::write(at("a"), "2").unwrap())),
        (
            "chmod",
            Box::new(|| std::fs::set_permissions(at("a"), std::fs::Permissions::from_mode(0o600)).unwrap()),
        ),
        ("rename", Box::new(|| std::fs::rename(at("a"), at("b")).unwrap())),
        ("delete", Box::new(|| std::fs::remove_file(at("b")).unwrap())),
        ("volume update", Box::new(|| symlink("x", at("..data")).unwrap())),
    ];
    for (what, change) in changes {
        drain(&mut hints).await;
        change();
        until(&mut hints, what, || true).await;
    }
    drain(&mut hints).await;
    std::fs::write(at(".swp"), "x").unwrap();
    let hidden = tokio::time::timeout(Duration::from_millis(100), hints.next()).await;
    assert!(hidden.is_err(), "hidden files give no hint");
}

#[tokio::test]
async fn a_directory_may_appear_vanish_and_be_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b/manifests");
    let manifests = HostManifestFiles::new(&dir);
    let mut hints = manifests.watch().await.unwrap();
    std::fs::create_dir_all(&dir).unwrap();
    until(&mut hints, "appears", || dir.exists()).await;
    drain(&mut hints).await;
    std::fs::write(dir.join("x"), "1").unwrap();
    until(&mut hints, "file in the new directory", || true).await;
    drain(&mut hints).await;
    std::fs::rename(temp.path().join("a/b"), temp.path().join("a/old")).unwrap();
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("y"), "1").unwrap();
    // The parent was moved away with its watch, so this comes with the first change of what is watched now.
    std::fs::remove_dir_all(temp.path().join("a/old")).unwrap();
    until(&mut hints, "replaced", || dir.join("y").exists()).await;
    drain(&mut hints).await;
    std::fs::write(dir.join("z"), "1").unwrap();
    until(&mut hints, "file in the directory that replaced it", || true).await;
    drain(&mut hints).await;
    std::fs::remove_dir_all(temp.path().join("a")).unwrap();
    until(&mut hints, "vanishes", || !dir.exists()).await;
    drain(&mut hints).await;
    std::fs::create_dir_all(&dir).unwrap();
    until(&mut hints, "appears again", || dir.exists()).await;
}

#[tokio::test]
async fn a_single_file_is_watched_through_replacement() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("pod.yaml");
    let mut hints = HostManifestFiles::new(&file).watch().await.unwrap();
    std::fs::write(&file, "1").unwrap();
    until(&mut hints, "appears", || file.exists()).await;
    drain(&mut hints).await;
    std::fs::write(temp.path().join("other"), "1").unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(100), hints.next()).await.is_err(), "another file");
    std::fs::write(temp.path().join("new"), "2").unwrap();
    std::fs::rename(temp.path().join("new"), &file).unwrap();
    until(&mut hints, "replaced", || true).await;
    drain(&mut hints).await;
    std::fs::write(&file, "3").unwrap();
    until(&mut hints, "written after it was replaced", || true).await;
}
