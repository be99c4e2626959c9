//! Paths below a directory handle: what is followed, made, read and removed.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn temp() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    (temp, dir)
}

type Opener = fn(BorrowedFd<'_>, &Path, OFlags, Mode, Links) -> rustix::io::Result<OwnedFd>;

#[test]
fn openat2_and_the_walk_agree_on_every_path() {
    let (temp, dir) = temp();
    std::fs::create_dir_all(temp.path().join("a/b")).unwrap();
    std::fs::write(temp.path().join("a/file"), "inside").unwrap();
    symlink("a/b/../file", temp.path().join("relative")).unwrap();
    symlink("/etc/passwd", temp.path().join("absolute")).unwrap();
    symlink("../../../../../etc/passwd", temp.path().join("a/up")).unwrap();
    symlink("a", temp.path().join("dirlink")).unwrap();
    symlink("/a/../a/file", temp.path().join("rooted")).unwrap();
    symlink("../../../../a/file", temp.path().join("a/above")).unwrap();
    symlink("loop", temp.path().join("loop")).unwrap();
    symlink("nowhere", temp.path().join("dangling")).unwrap();
    let cases: &[(&str, Links, Result<(), Errno>)] = &[
        ("a/file", Links::Refuse, Ok(())),
        ("./a//file", Links::Refuse, Ok(())),
        ("a/missing", Links::Refuse, Err(Errno::NOENT)),
        ("a/file/x", Links::Refuse, Err(Errno::NOTDIR)),
        ("../etc", Links::Refuse, Err(Errno::XDEV)),
        ("/etc", Links::Refuse, Err(Errno::XDEV)),
        ("a/../a/file", Links::Beneath, Err(Errno::XDEV)),
        ("relative", Links::Refuse, Err(Errno::LOOP)),
        ("dirlink/file", Links::Refuse, Err(Errno::LOOP)),
        ("relative", Links::Beneath, Ok(())),
        ("dirlink/file", Links::Beneath, Ok(())),
        ("absolute", Links::Beneath, Err(Errno::XDEV)),
        ("a/up", Links::Beneath, Err(Errno::XDEV)),
        ("loop", Links::Beneath, Err(Errno::LOOP)),
        ("dangling", Links::Beneath, Err(Errno::NOENT)),
        ("relative", Links::Inside, Ok(())),
        ("absolute", Links::Inside, Err(Errno::NOENT)),
        ("rooted", Links::Inside, Ok(())),
        ("a/up", Links::Inside, Err(Errno::NOENT)),
        ("a/above", Links::Inside, Ok(())),
        ("loop", Links::Inside, Err(Errno::LOOP)),
    ];
    for (how, opener) in [("openat2", open_beneath as Opener), ("walk", walk_plain as Opener)] {
        for (path, links, expected) in cases {
            let result =
                opener(dir.fd(), Path::new(path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), *links);
            assert_eq!(result.map(drop), *expected, "{how} {path} {links:?}");
        }
    }
}

fn walk_plain(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    links: Links,
) -> rustix::io::Result<OwnedFd> {
    if path.is_absolute() || path.components().any(|c| c == std::path::Component::ParentDir) {
        return Err(Errno::XDEV);
    }
    open::walk(dir, path, flags, mode, links)
}

#[test]
fn made_directories_and_files_have_their_mode_whatever_the_umask() {
    let (temp, dir) = temp();
    dir.make_dir("x/y", 0o777).unwrap();
    dir.create_new("x/file", 0o666).unwrap();
    let mode = |path: &str| std::fs::metadata(temp.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("x"), mode("x/y"), mode("x/file")), (0o777, 0o777, 0o666));
    std::fs::set_permissions(temp.path().join("x"), std::fs::Permissions::from_mode(0o700)).unwrap();
    dir.make_dir("x/y", 0o777).unwrap();
    assert_eq!(mode("x"), 0o700, "what was there keeps its mode");
}

#[test]
fn symlinks_are_refused_and_files_of_other_kinds_do_not_block() {
    let (temp, dir) = temp();
    symlink("/etc", temp.path().join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        temp.path().join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(matches!(dir.read("link/passwd", 100), Err(FileError::Refused { .. })));
    assert!(matches!(dir.make_dir("link/new", 0o755), Err(FileError::Refused { .. } | FileError::Io { .. })));
    assert!(matches!(dir.read("fifo", 100), Err(FileError::Refused { .. })));
    assert!(dir.read("missing", 100).unwrap().is_none());
    assert!(!Path::new("/etc/new").exists());
}

#[test]
fn reading_is_bounded() {
    let (temp, dir) = temp();
    std::fs::write(temp.path().join("big"), vec![b'x'; 10_000]).unwrap();
    assert_eq!(dir.read("big", 100).unwrap().unwrap().len(), 100);
}

#[test]
fn removing_a_tree_leaves_what_its_links_point_to() {
    let (temp, dir) = temp();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("kept"), "kept").unwrap();
    std::fs::create_dir_all(temp.path().join("tree/deep/er")).unwrap();
    symlink(outside.path(), temp.path().join("tree/deep/link")).unwrap();
    symlink(outside.path(), temp.path().join("top")).unwrap();
    dir.remove_tree("tree").unwrap();
    dir.remove_tree("top").unwrap();
    dir.remove_tree("tree").unwrap();
    assert!(!temp.path().join("tree").exists());
    assert!(outside.path().join("kept").exists());
}

#[test]
fn a_tree_of_any_depth_and_width_is_removed() {
    let (temp, dir) = temp();
    let mut current = dir.make_dir("tree", 0o755).unwrap();
    for index in 0..1000 {
        current.create_new("file", 0o644).unwrap();
        current.create_new(format!(".removing-{index}"), 0o644).unwrap();
        current = current.make_dir("d", 0o755).unwrap();
    }
    let wide = dir.dir("tree").unwrap().make_dir("wide", 0o755).unwrap();
    for index in 0..3000 {
        wide.create_new(format!("f{index}"), 0o644).unwrap();
    }
    dir.remove_tree("tree").unwrap();
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn names_that_are_no_single_component_are_refused() {
    for name in ["", ".", "..", "a/b", "/", "a\0b", &"x".repeat(256)] {
        assert!(component(Path::new("/p"), name).is_err(), "{name:?}");
    }
    assert_eq!(component(Path::new("/p"), "..data").unwrap(), "..data");
}
