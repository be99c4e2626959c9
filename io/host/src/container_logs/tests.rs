//! Log files in temporary directories: options, formats, rotation while following.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use ports::logs::{LogStreams, LogTimestamps};

use super::*;

const LOG: &str = "\
2026-01-01T00:00:01.1Z stdout F one
2026-01-01T00:00:02.000000002Z stderr F two
2026-01-01T00:00:03Z stdout P thr
2026-01-01T00:00:03Z stdout F ee
garbage
2026-01-01T02:00:04+02:00 stdout F four
";

fn request(path: &Path) -> LogRequest {
    LogRequest {
        path: path.to_owned(),
        tail_lines: None,
        limit_bytes: None,
        since: None,
        timestamps: LogTimestamps::Hide,
        streams: LogStreams::All,
        follow: LogFollow::No,
    }
}

async fn read(request: LogRequest) -> String {
    let mut chunks = HostContainerLogs::new().open(request).await.expect("opens");
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.expect("reads"));
    }
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn options_choose_lines() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("0.log");
    fs::write(&file, LOG).expect("write");
    let link = dir.path().join("link.log");
    std::os::unix::fs::symlink(&file, &link).expect("link");
    let base = || request(&link);
    let table: [(&str, LogRequest, &str); 9] = [
        ("all", base(), "one\ntwo\nthree\nfour\n"),
        ("tail 0", LogRequest { tail_lines: Some(0), ..base() }, ""),
        ("tail 1", LogRequest { tail_lines: Some(1), ..base() }, "four\n"),
        ("tail counts lines of the file", LogRequest { tail_lines: Some(3), ..base() }, "ee\nfour\n"),
        ("tail beyond the file", LogRequest { tail_lines: Some(99), ..base() }, "one\ntwo\nthree\nfour\n"),
        ("limit", LogRequest { limit_bytes: Some(6), ..base() }, "one\ntw"),
        (
            "since",
            LogRequest { since: Some(WallTimeOf("2026-01-01T00:00:03Z").into()), ..base() },
            "three\nfour\n",
        ),
        ("stderr", LogRequest { streams: LogStreams::Stderr, ..base() }, "two\n"),
        (
            "timestamps",
            LogRequest { timestamps: LogTimestamps::Show, ..base() },
            "2026-01-01T00:00:01.100000000Z one\n2026-01-01T00:00:02.000000002Z two\n\
             2026-01-01T00:00:03.000000000Z three\n2026-01-01T02:00:04.000000000+02:00 four\n",
        ),
    ];
    for (name, request, want) in table {
        assert_eq!(read(request).await, want, "{name}");
    }
}

struct WallTimeOf(&'static str);

impl From<WallTimeOf> for core_types::WallTime {
    fn from(text: WallTimeOf) -> Self {
        let time: jiff::Timestamp = text.0.parse().expect("time");
        Self::from_unix_nanos(i64::try_from(time.as_nanosecond()).expect("range"))
    }
}

#[tokio::test]
async fn docker_json_lines_are_read() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("0.log");
    fs::write(&file, "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:01Z\"}\n")
        .expect("write");
    assert_eq!(read(request(&file)).await, "hi\n");
}

#[tokio::test]
async fn a_file_of_another_format_and_a_missing_file_are_errors() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("0.log");
    let missing = HostContainerLogs::new().open(request(&file)).await;
    assert!(matches!(missing, Err(LogError::Resolve { .. })));
    fs::write(&file, "not a log\n").expect("write");
    let mut chunks = HostContainerLogs::new().open(request(&file)).await.expect("opens");
    assert!(matches!(chunks.next().await, Some(Err(LogError::Format { .. }))));
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn tail_of_a_file_larger_than_a_block() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("0.log");
    let lines: String = (0..20_000).map(|n| format!("2026-01-01T00:00:01Z stdout F line {n}\n")).collect();
    fs::write(&file, lines).expect("write");
    let text = read(LogRequest { tail_lines: Some(5_000), ..request(&file) }).await;
    assert_eq!(text.lines().count(), 5_000);
    assert_eq!(text.lines().next(), Some("line 15000"));
}

#[tokio::test]
async fn following_reads_on_through_rotation_and_ends_with_the_container() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("0.log");
    let mut file = fs::File::create(&path).expect("create");
    writeln!(file, "2026-01-01T00:00:01Z stdout F old").expect("write");
    let running = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&running);
    let follow = LogFollow::WhileRunning(Arc::new(move || seen.load(Ordering::SeqCst)));
    let mut chunks =
        HostContainerLogs::new().open(LogRequest { follow, ..request(&path) }).await.expect("opens");
    let mut next = async || {
        String::from_utf8(chunks.next().await.expect("more").expect("reads").to_vec()).expect("text")
    };
    assert_eq!(next().await, "old\n");

    writeln!(file, "2026-01-01T00:00:02Z stdout F more").expect("write");
    assert_eq!(next().await, "more\n");

    // The runtime rotates: the last line of the old file and the first of the new one must both come out.
    fs::rename(&path, dir.path().join("0.log.20260101")).expect("rename");
    writeln!(file, "2026-01-01T00:00:03Z stdout F last").expect("write");
    let mut file = fs::File::create(&path).expect("create");
    writeln!(file, "2026-01-01T00:00:04Z stdout F new").expect("write");
    let mut text = next().await;
    while !text.ends_with("new\n") {
        text.push_str(&next().await);
    }
    assert_eq!(text, "last\nnew\n");

    running.store(false, Ordering::SeqCst);
    writeln!(file, "2026-01-01T00:00:05Z stdout F end").expect("write");
    assert_eq!(next().await, "end\n");
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn a_follower_that_is_behind_reads_the_files_moved_aside_in_order() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("0.log");
    fs::write(&path, "2026-01-01T00:00:01Z stdout F one\n").expect("write");
    let follow = LogFollow::WhileRunning(Arc::new(|| true));
    let mut chunks =
        HostContainerLogs::new().open(LogRequest { follow, ..request(&path) }).await.expect("opens");
    for (number, word) in [(1, "two"), (2, "three"), (3, "four")] {
        fs::rename(&path, dir.path().join(format!("0.log.20260101-00000{number}"))).expect("rename");
        fs::write(&path, format!("2026-01-01T00:00:02Z stdout F {word}\n")).expect("write");
    }
    fs::write(dir.path().join("0.log.20260101-000000.gz"), "old").expect("write");
    let mut text = String::new();
    while !text.ends_with("four\n") {
        text.push_str(
            std::str::from_utf8(&chunks.next().await.expect("more").expect("reads")).expect("text"),
        );
    }
    assert_eq!(text, "one\ntwo\nthree\nfour\n");
}

#[tokio::test]
async fn what_the_runtime_still_writes_to_the_old_file_comes_before_the_new_one() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("0.log");
    let mut old = fs::File::create(&path).expect("create");
    writeln!(old, "2026-01-01T00:00:01Z stdout F one").expect("write");
    let follow = LogFollow::WhileRunning(Arc::new(|| true));
    let mut chunks =
        HostContainerLogs::new().open(LogRequest { follow, ..request(&path) }).await.expect("opens");
    assert_eq!(chunks.next().await.expect("more").expect("reads"), "one\n");
    fs::rename(&path, dir.path().join("0.log.20260101-000001")).expect("rename");
    let mut new = fs::File::create(&path).expect("create");
    let silent = tokio::time::timeout(Duration::from_millis(200), chunks.next()).await;
    assert!(silent.is_err(), "an empty new file is not gone on with");
    writeln!(old, "2026-01-01T00:00:02Z stdout F two").expect("write");
    assert_eq!(chunks.next().await.expect("more").expect("reads"), "two\n");
    writeln!(new, "2026-01-01T00:00:03Z stdout F three").expect("write");
    assert_eq!(chunks.next().await.expect("more").expect("reads"), "three\n");
}

/// Memory that this process uses, in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// inotify instances that this process has.
fn inotify_instances() -> usize {
    let links = fs::read_dir("/proc/self/fd").expect("files").flatten();
    links
        .filter(|link| fs::read_link(link.path()).is_ok_and(|to| to.to_string_lossy().contains("inotify")))
        .count()
}

#[tokio::test]
async fn a_thousand_followers_need_one_inotify_instance_and_little_memory() {
    const FOLLOWERS: usize = 1000;
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("0.log");
    let line = |number: usize| format!("2026-01-01T00:00:01Z stdout F {number} {}\n", "x".repeat(1000));
    fs::write(&path, (0..100).map(line).collect::<String>()).expect("write");
    let (logs, running) = (HostContainerLogs::new(), Arc::new(AtomicBool::new(true)));
    let (instances, before_kib) = (inotify_instances(), resident_kib());
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        let running = Arc::clone(&running);
        let follow = LogFollow::WhileRunning(Arc::new(move || running.load(Ordering::Relaxed)));
        let mut chunks = logs.open(LogRequest { follow, ..request(&path) }).await.expect("opens");
        followers.push(tokio::spawn(async move {
            let mut bytes = 0;
            while let Some(chunk) = chunks.next().await {
                bytes += chunk.expect("reads").len();
            }
            bytes
        }));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let grown_kib = resident_kib().saturating_sub(before_kib);
    println!("{FOLLOWERS} followers at rest need {grown_kib} KiB");
    assert!(grown_kib < 60 * 1024, "{grown_kib} KiB");
    // Other tests of this process have some, too.
    assert!(inotify_instances() < instances + FOLLOWERS / 10, "followers share one");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("open");
    file.write_all(line(100).as_bytes()).expect("write");
    running.store(false, Ordering::Relaxed);
    let whole: usize = (0..=100).map(|number| format!("{number} {}\n", "x".repeat(1000)).len()).sum();
    for follower in followers {
        assert_eq!(follower.await.expect("ends with the container"), whole);
    }
}

#[tokio::test]
async fn there_is_a_bound_for_readers() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("0.log");
    fs::write(&path, LOG).expect("write");
    let logs = HostContainerLogs { watches: None, places: Arc::new(Semaphore::new(1)) };
    let first = logs.open(request(&path)).await.expect("opens");
    let refused = logs.open(request(&path)).await;
    assert!(matches!(refused, Err(LogError::TooMany { .. })));
    drop(first);
    drop(logs.open(request(&path)).await.expect("a place is free again"));
}
