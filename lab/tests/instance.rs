//! The private runtime on the real machine: it works, and nothing of it stays, not even after a SIGKILL.
//!
//! Reads `PODWRIGHT_LAB_CONTAINERD`. Needs root.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use lab::{ContainerdVersion, Instance, Parts, images, process, registry::Access, sweep_stale, wait};

const LIMIT: Duration = Duration::from_secs(60);

/// Tells the test below to play the run that gets killed, and where to note its folder.
const VICTIM: &str = "PODWRIGHT_LAB_VICTIM";

fn instance() -> Instance {
    let version = ContainerdVersion::from_env().expect("a known version");
    Instance::new(&Parts::ready().expect("parts"), version).expect("an instance")
}

fn mounted_below(dir: &Path) -> bool {
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    text.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| Path::new(point).starts_with(dir))
}

fn named_by_a_process(dir: &Path) -> bool {
    let below = format!("{}/", dir.display());
    let runs = |entry: &process::Entry| {
        entry.program.starts_with("containerd") && entry.args.iter().any(|arg| arg.contains(&below))
    };
    process::table().iter().any(runs)
}

/// `ctr run` does not read the CRI settings, so it is told to keep its state below the instance's folder.
fn ctr_run(instance: &Instance, flag: &str, name: &str, command: &[&str]) -> String {
    let cgroup = format!("{}/{name}", instance.cgroups().path());
    let state = instance.dir().join("runc").display().to_string();
    let fifos = instance.dir().join("fifos").display().to_string();
    let mut args = vec![
        "run",
        flag,
        "--runc-root",
        &state,
        "--fifo-dir",
        &fifos,
        "--cgroup",
        &cgroup,
        images::BUSYBOX,
        name,
    ];
    args.extend(command);
    instance.containerd().ctr(&args).expect("a container")
}

fn start_sleeper(instance: &Instance) {
    ctr_run(instance, "--detach", "sleeper", &["sleep", "1000"]);
}

fn assert_nothing_left(dir: &Path, bridge: &str, cgroup: &Path) {
    assert!(!dir.exists(), "{} stayed", dir.display());
    assert!(!mounted_below(dir), "mounts stayed below {}", dir.display());
    assert!(!named_by_a_process(dir), "a process stayed");
    assert!(!Path::new("/sys/class/net").join(bridge).exists(), "the bridge {bridge} stayed");
    assert!(!cgroup.exists(), "the cgroup {} stayed", cgroup.display());
}

#[test]
fn a_container_runs_and_closing_leaves_nothing() {
    let instance = instance();
    let said = ctr_run(&instance, "--rm", "greeter", &["echo", "hello"]);
    assert_eq!(said, "hello\n");
    start_sleeper(&instance);
    let tasks = instance.containerd().ctr(&["tasks", "ls"]).expect("tasks");
    assert!(tasks.contains("sleeper") && tasks.contains("RUNNING"), "{tasks}");
    let dir = instance.dir().to_owned();
    let bridge = instance.network().bridge();
    let cgroup = instance.cgroups().dir("memory").expect("a memory controller");
    assert!(mounted_below(&dir) && named_by_a_process(&dir) && cgroup.join("sleeper").is_dir());
    instance.close().expect("closed");
    assert_nothing_left(&dir, &bridge, &cgroup);
}

#[test]
fn containers_outlive_a_restart_of_containerd() {
    let mut instance = instance();
    start_sleeper(&instance);
    instance.containerd_mut().kill().expect("killed");
    instance.containerd_mut().start().expect("started");
    let tasks = instance.containerd().ctr(&["tasks", "ls"]).expect("tasks");
    assert!(tasks.contains("sleeper") && tasks.contains("RUNNING"), "{tasks}");
    instance.close().expect("closed");
}

#[test]
fn an_image_pushed_to_a_registry_can_be_pulled_by_who_may() {
    let instance = instance();
    let containerd = instance.containerd();
    for access in [Access::Open, Access::SignIn] {
        let registry = instance.registry(access).expect("a registry");
        let image = registry.push(containerd, images::BUSYBOX, "library/busybox:1").expect("pushed");
        let anonymous = containerd.ctr(&["images", "pull", "--plain-http", &image]);
        assert_eq!(anonymous.is_ok(), access == Access::Open, "{anonymous:?}");
        let user = format!("{}:{}", lab::registry::USER, lab::registry::PASSWORD);
        containerd.ctr(&["images", "pull", "--plain-http", "--user", &user, &image]).expect("pulled");
    }
    instance.close().expect("closed");
}

#[test]
fn what_a_killed_run_left_is_swept_away() {
    if let Some(note) = std::env::var_os(VICTIM) {
        let instance = instance();
        start_sleeper(&instance);
        let lines = [
            instance.dir().display().to_string(),
            instance.network().bridge(),
            instance.cgroups().dir("memory").expect("a memory controller").display().to_string(),
        ];
        std::fs::write(note, lines.join("\n") + "\n").expect("noted");
        wait::let_pass(LIMIT);
        panic!("nobody killed this run");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("note");
    let mut victim = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "what_a_killed_run_left_is_swept_away"])
        .env(VICTIM, &note)
        .stdout(Stdio::null())
        .spawn()
        .expect("a victim");
    let noted = || std::fs::read_to_string(&note).is_ok_and(|text| text.lines().count() == 3);
    wait::until_true("the victim to be up", LIMIT, noted).expect("up");
    victim.kill().expect("killed");
    victim.wait().expect("ended");

    let text = std::fs::read_to_string(&note).expect("a note");
    let lines: Vec<&str> = text.lines().collect();
    let (dir, cgroup) = (PathBuf::from(lines[0]), PathBuf::from(lines[2]));
    assert!(mounted_below(&dir) && cgroup.join("sleeper").is_dir(), "nothing was left, so nothing is tested");
    sweep_stale().expect("swept");
    assert_nothing_left(&dir, lines[1], &cgroup);
}
