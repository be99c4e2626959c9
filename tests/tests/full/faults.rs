//! What is around the agent fails: the runtime is down, hangs or restarts, the disk is full.

use std::fs;

use lab::agent::is_ready;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tests::{
    LATER, Node, SOON, eventually,
    manifest::{self, IDLE},
    status,
};

#[test]
fn a_runtime_that_is_down_at_the_start_is_named_and_waited_for() {
    let mut node = Node::prepared();
    node.instance.containerd_mut().stop().unwrap();
    node.put(&manifest::idle("early"));
    node.start();
    let socket = node.instance.containerd().socket();
    node.logged(0, &[&socket.to_string_lossy()]);
    assert_eq!(node.agent.healthz("/healthz").unwrap().status, 200);
    let said = node.podwright().run(&["ps"]);
    assert!(said.err.contains("container runtime is not ready"), "{said:?}");
    eventually("podwright why to name the runtime", SOON, || {
        let said = node.podwright().run(&["why", "early"]);
        if said.out.contains("runtime") { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let lines = node.log_lines(0, &[&socket.to_string_lossy()]);
    assert!(lines.len() <= 5, "one message, not a flood: {lines:#?}");
    node.instance.containerd_mut().start().unwrap();
    node.cri.wait_up();
    node.ready("early");
    assert!(!node.podwright().run(&["ps"]).err.contains("not ready"));
}

#[test]
fn pods_outlive_a_restart_of_the_runtime() {
    let mut node = Node::started();
    for name in ["one", "two"] {
        node.put(&manifest::idle(name));
    }
    let before = ["one", "two"].map(|name| node.ready(name));
    let ids = node.cri.running_ids();
    let mark = node.log_mark();
    node.instance.containerd_mut().kill().unwrap();
    node.put(&manifest::idle("meanwhile"));
    eventually("the agent to notice", SOON, || {
        let said = node.podwright().run(&["ps"]);
        if said.err.contains("container runtime is not ready") { Ok(()) } else { Err(format!("{said:?}")) }
    });
    assert_eq!(node.agent.healthz("/healthz").unwrap().body, "ok");
    node.instance.containerd_mut().start().unwrap();
    node.cri.wait_up();
    node.until("meanwhile", "Ready", LATER, is_ready);
    let now = node.cri.running_ids();
    assert!(ids.iter().all(|id| now.contains(id)) && now.len() == 3, "{ids:?} became {now:?}");
    for (name, old) in ["one", "two"].iter().zip(&before) {
        assert_eq!(status::conditions(&node.pod(name)), status::conditions(old), "{name}");
    }
    let lines = node.log_lines(mark, &["cannot reach the container runtime"]);
    assert!((1..=10).contains(&lines.len()), "{lines:#?}");
    // The stream of events is back: an end is noticed without waiting for the slow relist.
    let victim = node.cri.running("one", "main").id;
    tests::runtime::kill_container(node.instance.containerd(), &victim);
    node.until("one", "restarted", SOON, |pod| status::restarts(pod) == 1 && is_ready(pod));
}

#[test]
fn a_runtime_that_hangs_delays_only_what_needs_it() {
    let mut node = Node::started();
    node.put(&manifest::idle("before"));
    let before = node.ready("before");
    let ids = node.cri.running_ids();
    node.instance.containerd().freeze().unwrap();
    node.put(&manifest::idle("during"));
    let clock = lab::wait::Stopwatch::start();
    while clock.elapsed().as_secs() < 6 {
        let asked = lab::wait::Stopwatch::start();
        assert_eq!(node.agent.healthz("/healthz").unwrap().body, "ok");
        assert!(is_ready(&node.pod("before")));
        assert!(asked.elapsed().as_millis() < 2000, "two answers took {:?}", asked.elapsed());
        lab::wait::let_pass(std::time::Duration::from_millis(200));
    }
    node.instance.containerd().thaw().unwrap();
    node.ready("during");
    assert!(ids.iter().all(|id| node.cri.running_ids().contains(id)));
    assert_eq!(status::conditions(&node.pod("before")), status::conditions(&before));
}

/// A small file system below the root directory; dropping it unmounts it.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf) -> Self {
        mount("small", &at, "tmpfs", MountFlags::empty(), Some(c"size=256k,nr_inodes=200")).unwrap();
        Self(at)
    }

    fn fill(&self) {
        // The error is the point: it stops when nothing fits any more.
        let _full = fs::write(self.0.join("ballast"), vec![1; 1 << 20]);
        for number in 0..400 {
            if fs::write(self.0.join(format!("ballast-{number}")), b"x").is_err() {
                return;
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("ballast") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

#[test]
fn a_full_disk_is_named_and_survived() {
    let mut node = Node::prepared();
    let disk = SmallDisk::mount(node.agent.root_dir());
    node.start();
    node.put(&manifest::idle("before"));
    let before = node.ready("before");
    disk.fill();
    let mark = node.log_mark();
    node.put(&manifest::idle("after"));
    node.logged(mark, &["No space left on device", "after"]);
    let why = eventually("podwright why to name the cause", SOON, || {
        let said = node.podwright().run(&["why", "after"]);
        if said.out.contains("No space left on device") { Ok(said.out) } else { Err(format!("{said:?}")) }
    });
    assert!(why.contains("after"), "{why}");
    let refused = node.podwright().run_with(&["run", "--no-wait", "-"], &manifest::idle("local").to_string());
    assert!(refused.code == 1 && refused.err.contains("No space left on device"), "{refused:?}");
    assert_eq!(node.agent.healthz("/healthz").unwrap().body, "ok");
    assert_eq!(status::only(&node.pod("before"))["containerID"], status::only(&before)["containerID"]);
    // A restart on a full disk works too.
    node.crash();
    assert_eq!(status::only(&node.ready("before"))["containerID"], status::only(&before)["containerID"]);
    disk.free();
    node.until("after", "Ready", LATER, is_ready);
    node.podwright().run_with(&["run", "-"], &manifest::script("local", IDLE).to_string()).ok();
    node.agent.stop(SOON).unwrap();
}
