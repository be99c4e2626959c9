//! `podwright exec -t`, `attach`, `port-forward` and `cp` on a real runtime.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::unix::fs::symlink,
    path::Path,
};

use serde_json::json;
use tests::{
    Node, Podwright, SOON, eventually,
    manifest::{IDLE, pod, shell},
    runtime,
};

/// What one large file holds.
const LARGE_BYTES: usize = 100 << 20;
/// What large transfers may add to the most memory that the agent has used.
const MEMORY_SLACK_KIB: u64 = 40 << 10;

#[test]
fn terminals_ports_and_files_go_through_podwright() {
    let mut node = Node::started();
    let podwright = node.podwright();
    let echo = shell("echo", "trap 'exit 0' TERM; nc -ll -p 7000 -e cat & nc -ll -p 7001 -e cat & wait");
    let mut reader = shell("reader", "while read line; do echo got $line; done; exec sleep 3600");
    reader["stdin"] = json!(true);
    node.put(&pod("tool", json!({ "containers": [shell("main", IDLE), echo, reader] })));
    node.ready("tool");

    terminal(&podwright);
    attach(&podwright);
    forward(&podwright);
    small_files(&podwright, &node);
    large_files(&podwright, &node);
    commands_end_with_their_readers(&podwright, &node);
}

fn terminal(podwright: &Podwright) {
    // Keys go to the command one by one, and the terminal has the size of ours.
    let script = "until [ \"$(stty size)\" = '33 111' ]; do sleep 0.1; done; echo size fits; \
        read word; echo got $word; exit 7";
    let command = ["exec", "-it", "-c", "main", "tool", "--", "sh", "-c", script];
    let mut session = podwright.in_terminal(&command);
    session.until("size fits\r\n", SOON);
    session.send("hello\r");
    session.until("got hello\r\n", SOON);
    assert_eq!(session.end(), 7);
}

fn attach(podwright: &Podwright) {
    let mut attached = podwright.follow(&["attach", "-i", "-c", "reader", "tool"]);
    attached.send("one\n");
    attached.until("got one\n", SOON);
    let mut second = podwright.follow(&["attach", "-c", "reader", "tool"]);
    attached.send("two\n");
    attached.until("got two\n", SOON);
    drop(attached);
    let mut third = podwright.follow(&["attach", "-i", "-c", "reader", "tool"]);
    third.send("three\n");
    third.until("got three\n", SOON);
    second.until("got three\n", SOON);
    let refused = podwright.run(&["attach", "-i", "-c", "main", "tool"]);
    assert!(refused.code == 1 && refused.err.contains("takes no input"), "{refused:?}");
}

fn forward(podwright: &Podwright) {
    let mut forwarding = podwright.follow(&["port-forward", "tool", ":7000", ":7001", ":7999"]);
    let said = forwarding.until("-> 7999\n", SOON);
    let address = |remote: &str| {
        let line = said.lines().find(|line| line.ends_with(remote)).unwrap();
        line.split(' ').nth(2).unwrap().to_owned()
    };
    let talks: Vec<_> = (0..6)
        .map(|number| {
            let address = address(if number % 2 == 0 { "-> 7000" } else { "-> 7001" });
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                let text = vec![b'a' + number; 500_000];
                let (mut writer, sent) = (stream.try_clone().unwrap(), text.clone());
                let writing = std::thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut back = vec![0; text.len()];
                stream.read_exact(&mut back).unwrap();
                writing.join().unwrap();
                assert!(back == text, "connection {number} brings back what it was given");
            })
        })
        .collect();
    for talk in talks {
        talk.join().unwrap();
    }
    // Nobody listens there: the connection ends, and the others go on.
    let mut refused = TcpStream::connect(address("-> 7999")).unwrap();
    refused.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
    let mut again = TcpStream::connect(address("-> 7000")).unwrap();
    again.write_all(b"x").unwrap();
    again.set_read_timeout(Some(SOON)).unwrap();
    again.read_exact(&mut [0]).unwrap();
}

fn small_files(podwright: &Podwright, node: &Node) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::create_dir_all(path("tree/deep")).unwrap();
    fs::write(path("tree/deep/b"), "B").unwrap();
    fs::write(path("tree/a"), "A").unwrap();
    symlink("a", path("tree/link")).unwrap();
    let cp = |from: &str, to: &str| podwright.run(&["cp", "-c", "main", from, to]);
    cp(&path("tree"), "tool:/tmp").ok();
    cp(&path("tree/a"), "tool:/tmp/renamed").ok();
    let seen = node.cri.sh("tool", "main", "cat /tmp/tree/a /tmp/tree/deep/b /tmp/tree/link /tmp/renamed");
    assert_eq!(seen, "ABAA");

    node.cri.sh("tool", "main", "ln -s /etc /tmp/tree/evil; mkfifo /tmp/tree/pipe");
    let said = cp("tool:/tmp/tree", &path("back"));
    assert!(said.code == 0 && said.err.contains("left out ./tree/evil: a symbolic link"), "{said:?}");
    assert_eq!(fs::read_to_string(path("back/deep/b")).unwrap(), "B");
    for left_out in ["back/evil", "back/link", "back/pipe"] {
        assert!(!Path::new(&path(left_out)).exists(), "{left_out}");
    }
    let missing = cp("tool:/no/such/file", &path("none"));
    assert!(missing.code == 1 && missing.err.contains("such"), "{missing:?}");
    let missing = cp(&path("none"), "tool:/tmp");
    assert!(missing.code == 1 && missing.err.contains("none"), "{missing:?}");
    assert_eq!(cp(&path("tree"), &path("other")).code, 2);
}

fn large_files(podwright: &Podwright, node: &Node) {
    let folder = tempfile::tempdir().unwrap();
    let (there, back) = (folder.path().join("large"), folder.path().join("back"));
    let bytes: Vec<u8> = (0..LARGE_BYTES / 4).flat_map(|number| (number as u32).to_le_bytes()).collect();
    fs::write(&there, &bytes).unwrap();
    let before = most_memory_kib(node);
    podwright.run(&["cp", "-c", "main", &there.to_string_lossy(), "tool:/tmp/large"]).ok();
    podwright.run(&["cp", "-c", "main", "tool:/tmp/large", &back.to_string_lossy()]).ok();
    assert!(fs::read(&back).unwrap() == bytes, "what went in came out");
    let grown = most_memory_kib(node).saturating_sub(before);
    assert!(grown < MEMORY_SLACK_KIB, "transfers of 2 x 100 MB took {grown} KiB of the agent's memory");
}

/// A reader that goes away in the middle takes the command with it. containerd 1.6 lets it go on.
fn commands_end_with_their_readers(podwright: &Podwright, node: &Node) {
    if runtime::is_1_6() {
        return;
    }
    let mut follow = podwright.follow(&["exec", "-c", "main", "tool", "--", "yes", "endless-words"]);
    follow.until("endless-words\n", SOON);
    drop(follow);
    eventually("the command to end with its reader", SOON, || {
        let left = node.cri.sh("tool", "main", "ps | grep -c '[y]es endless' || true");
        if left.trim() == "0" { Ok(()) } else { Err(left) }
    });
}

/// The most memory that the agent has had so far.
fn most_memory_kib(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.agent.pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().split(' ').next().unwrap().parse().unwrap()
}
