//! `podwright doctor` on a node that was broken on purpose.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use core_types::runtime::SandboxConfig;
use rcgen::{CertificateParams, KeyPair};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};
use tests::{
    LATER, Node, cgroup, eventually, eventually_true,
    manifest::{IDLE, pod, shell, with},
    status,
};

/// Where upstream links logs to, on every node of the machine.
const LINKS: &str = "/var/log/containers";

/// Controllers whose hierarchies hold a cgroup of a pod.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// What stays on the machine unless somebody takes it away; dropping takes it away.
#[derive(Default)]
struct Breakage {
    mounts: Vec<PathBuf>,
    link: Option<PathBuf>,
    namespace: Option<String>,
    process: Option<Child>,
}

impl Drop for Breakage {
    fn drop(&mut self) {
        // Each may be gone already.
        for place in &self.mounts {
            let _gone = unmount(place, UnmountFlags::DETACH);
        }
        if let Some(link) = &self.link {
            let _gone = fs::remove_file(link);
        }
        if let Some(name) = &self.namespace {
            let _gone = Command::new("ip").args(["netns", "delete", name]).status();
        }
        if let Some(process) = &mut self.process {
            let _gone = process.kill();
            let _reaped = process.wait();
        }
    }
}

/// The findings by subject: kind and fix. Namespaces that others left on this machine are left out.
fn findings(said: &tests::Said, code: i32) -> BTreeMap<String, (String, String)> {
    assert_eq!(said.code, code, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    let of_others = |one: &&Value| {
        let subject = one["subject"].as_str().unwrap_or_default();
        one["kind"] == "orphan-network-namespace" && !subject.contains("podwright-doctor")
    };
    all.filter(|one| !of_others(one))
        .map(|one| {
            assert!(one["why"].as_str().is_some_and(|why| !why.is_empty()), "{one}");
            assert!(one["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{one}");
            (text(&one["subject"]), (text(&one["kind"]), text(&one["fix"])))
        })
        .collect()
}

fn expired_certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["podwright-lab".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let (certificate, key_file) = (dir.join("old.crt"), dir.join("old.key"));
    fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    (certificate, key_file)
}

fn make_cgroup(node: &Node, uid: &str) -> Vec<PathBuf> {
    let path = format!("kubepods/besteffort/pod{uid}");
    let mut dirs: Vec<_> =
        CONTROLLERS.iter().map(|controller| cgroup::dir(&node.instance, controller, &path)).collect();
    dirs.sort();
    dirs.dedup();
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    dirs
}

/// Breaks the node. Gives what is to be found: kind and what `--fix` makes of it, by subject.
fn break_it(node: &Node, breakage: &mut Breakage) -> BTreeMap<String, (&'static str, &'static str)> {
    let mut expected = BTreeMap::new();
    let root = fs::canonicalize(node.agent.root_dir()).unwrap();
    let logs = node.agent.pod_logs_dir();
    let text = |path: &Path| path.display().to_string();

    let dir = root.join("pods/ghost-dir");
    fs::create_dir_all(dir.join("volumes/kubernetes.io~empty-dir/v")).unwrap();
    fs::write(dir.join("volumes/kubernetes.io~empty-dir/v/file"), "x").unwrap();
    expected.insert(text(&dir), ("orphan-pod-dir", "done"));

    let dir = root.join("pods/ghost-mount");
    let place = dir.join("volumes/kubernetes.io~empty-dir/memory");
    fs::create_dir_all(&place).unwrap();
    mount("tmpfs", &place, "tmpfs", MountFlags::empty(), None).unwrap();
    breakage.mounts.push(place.clone());
    expected.insert(text(&place), ("orphan-mount", "done"));
    expected.insert(text(&dir), ("orphan-pod-dir", "done"));

    let dir = root.join("pods/ghost-data");
    let place = dir.join("volumes/kubernetes.io~csi/pv/mount");
    fs::create_dir_all(&place).unwrap();
    mount("data", &place, "tmpfs", MountFlags::empty(), None).unwrap();
    breakage.mounts.push(place.clone());
    fs::write(place.join("precious"), "data").unwrap();
    expected.insert(text(&place), ("orphan-mount", "none"));
    expected.insert(text(&dir), ("orphan-pod-dir", "none"));

    make_cgroup(node, "ghost-cgroup");
    expected.insert("/kubepods/besteffort/podghost-cgroup".to_owned(), ("orphan-cgroup", "done"));
    let process = Command::new("sleep").arg("1000").spawn().unwrap();
    for dir in make_cgroup(node, "ghost-busy") {
        fs::write(dir.join("cgroup.procs"), process.id().to_string()).unwrap();
    }
    breakage.process = Some(process);
    expected.insert("/kubepods/besteffort/podghost-busy".to_owned(), ("orphan-cgroup", "none"));

    let dir = logs.join("default_ghost_ghost-logs");
    fs::create_dir_all(dir.join("main")).unwrap();
    fs::write(dir.join("main/0.log"), "x").unwrap();
    expected.insert(text(&dir), ("orphan-log-dir", "done"));

    let aside = root.join("actuated_pods_state.corrupt");
    fs::write(&aside, "nonsense").unwrap();
    expected.insert(text(&aside), ("state-file-set-aside", "none"));
    let record = root.join("image_manager/pulled/sha256-0000");
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    fs::write(&record, "nonsense").unwrap();
    expected.insert(text(&record), ("state-file-broken", "none"));

    let namespace = format!("cni-podwright-doctor-{}", std::process::id());
    assert!(Command::new("ip").args(["netns", "add", &namespace]).status().unwrap().success());
    expected.insert(format!("/run/netns/{namespace}"), ("orphan-network-namespace", "none"));
    breakage.namespace = Some(namespace);

    let sandbox = node.cri.make_sandbox(&SandboxConfig {
        name: "stranger".to_owned(),
        namespace: "default".to_owned(),
        log_directory: text(&node.instance.dir().join("stranger-logs")),
        linux: core_types::runtime::SandboxLinux {
            cgroup_parent: format!("{}/stranger", node.instance.cgroups().path()),
            ..Default::default()
        },
        ..Default::default()
    });
    expected.insert(sandbox.to_string(), ("unknown-sandbox", "none"));
    expected
}

/// A dead link to a log is named, and removed on demand. The agent takes such links away too, once a minute: one that it took
/// before the doctor came is made again.
fn a_dead_link_goes(node: &Node, breakage: &mut Breakage) {
    let link = Path::new(LINKS).join(format!("ghost-{}.log", std::process::id()));
    breakage.link = Some(link.clone());
    let log = node.agent.pod_logs_dir().join("default_gone_gone/main/0.log");
    for (args, fix) in [(&[][..], "offered"), (&["--fix"], "done")] {
        let found = eventually("the doctor to come before the agent", LATER, || {
            let _is_there = symlink(&log, &link);
            let found = findings(&doctor(node, args), 5);
            found.get(&link.display().to_string()).cloned().ok_or_else(|| format!("{found:?}"))
        });
        assert_eq!(found, ("dead-log-link".to_owned(), fix.to_owned()));
    }
    assert!(link.symlink_metadata().is_err(), "it is gone");
}

fn doctor(node: &Node, args: &[&str]) -> tests::Said {
    let mut all = vec!["doctor", "-o", "json"];
    all.extend(args);
    node.podwright().run(&all)
}

#[test]
fn what_is_broken_is_named_and_only_what_is_safe_is_removed() {
    let mut node = Node::started();
    let volumes = json!([{ "name": "memory", "emptyDir": { "medium": "Memory" } }]);
    let main = with(
        shell("main", IDLE),
        json!({ "volumeMounts": [{ "name": "memory", "mountPath": "/memory", "subPath": "a" }] }),
    );
    node.put(&pod("web", json!({ "containers": [main], "volumes": volumes })));
    let web = node.ready("web");
    let id = status::only(&web)["containerID"].clone();
    node.cri.sh("web", "main", "echo kept > /memory/file");
    let sound = doctor(&node, &[]);
    assert!(findings(&sound, sound.code).is_empty(), "{sound:?}");

    let (certificate, key) = expired_certificate(node.instance.dir());
    node.agent.stop(Duration::from_secs(10)).unwrap();
    node.agent.config["tlsCertFile"] = json!(certificate);
    node.agent.config["tlsPrivateKeyFile"] = json!(key);
    // An agent that starts takes away what it finds of nobody: it must have looked before there is something for the doctor.
    let early = node.agent.root_dir().join("pods/ghost-early");
    fs::create_dir(&early).unwrap();
    node.start();
    eventually_true("what was there before the start to be removed", LATER, || !early.exists());
    node.ready("web");
    let mut breakage = Breakage::default();
    a_dead_link_goes(&node, &mut breakage);
    let mut expected = break_it(&node, &mut breakage);
    expected.insert(certificate.display().to_string(), ("certificate-expired", "none"));

    let told = |from: &dyn Fn(&str) -> String| -> BTreeMap<String, (String, String)> {
        let of = |(subject, (kind, fix)): (&String, &(&str, &str))| {
            (subject.clone(), ((*kind).to_owned(), from(fix)))
        };
        expected.iter().map(of).collect()
    };
    let offered = |fix: &str| if fix == "done" { "offered".to_owned() } else { fix.to_owned() };
    assert_eq!(findings(&doctor(&node, &[]), 5), told(&offered));
    assert!(node.agent.root_dir().join("pods/ghost-dir").exists(), "a look changes nothing");
    let screen = node.podwright().run(&["doctor"]);
    assert!(screen.code == 5 && screen.out.contains("can be removed with --fix"), "{screen:?}");
    assert!(screen.out.contains(&breakage.process.as_ref().unwrap().id().to_string()), "{screen:?}");

    assert_eq!(findings(&doctor(&node, &["--fix"]), 5), told(&|fix: &str| fix.to_owned()));
    let left: BTreeMap<_, _> =
        told(&|fix: &str| fix.to_owned()).into_iter().filter(|(_, (_, fix))| fix != "done").collect();
    assert_eq!(findings(&doctor(&node, &[]), 5), left);
    for gone in ["pods/ghost-dir", "pods/ghost-mount"] {
        assert!(!node.agent.root_dir().join(gone).exists(), "{gone}");
    }
    let precious = node.agent.root_dir().join("pods/ghost-data/volumes/kubernetes.io~csi/pv/mount/precious");
    assert_eq!(fs::read_to_string(precious).unwrap(), "data");
    assert!(breakage.process.as_mut().unwrap().try_wait().unwrap().is_none(), "what runs is left alone");
    let web = node.ready("web");
    assert_eq!(status::only(&web)["containerID"], id);
    assert_eq!(node.cri.sh("web", "main", "cat /memory/file").trim(), "kept");

    without_an_agent(&mut node, &left);
    drop(breakage);
    node.cri.wipe("stranger");
}

/// Files tell the same, and nothing is removed that a source may want.
fn without_an_agent(node: &mut Node, left: &BTreeMap<String, (String, String)>) {
    node.agent.stop(Duration::from_secs(10)).unwrap();
    let dir = fs::canonicalize(node.agent.root_dir()).unwrap().join("pods/ghost-late");
    fs::create_dir_all(&dir).unwrap();
    let root = node.agent.root_dir().display().to_string();
    let said = node.podwright().run(&["doctor", "-o", "json", "--fix", "--root-dir", &root]);
    let found = findings(&said, 5);
    assert_eq!(found["agent"].0, "no-agent", "{found:?}");
    assert_eq!(found[&dir.display().to_string()], ("orphan-pod-dir".to_owned(), "none".to_owned()));
    let missing: Vec<_> = left
        .iter()
        .filter(|(subject, (kind, _))| kind != "unknown-sandbox" && !found.contains_key(*subject))
        .collect();
    assert!(missing.is_empty(), "{missing:?} in {found:?}");
    assert!(dir.exists(), "only the agent knows whether a source wants it");
    let elsewhere = node.podwright().run(&["doctor", "--root-dir", "/nowhere"]);
    assert!(elsewhere.code == 4 && elsewhere.err.contains("--root-dir"), "{elsewhere:?}");
}
