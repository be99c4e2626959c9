//! How mounts behave inside a container: propagation, recursive read-only, owners, live files, huge pages.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually, eventually_true,
    manifest::{IDLE, pod, shell, with},
    runtime, status,
};

/// A tmpfs on the host. It goes when this goes, with everything mounted on it.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn on(path: &Path, propagation: MountPropagationFlags) -> Self {
        fs::create_dir_all(path).unwrap();
        mount("none", path, "tmpfs", MountFlags::empty(), None).unwrap();
        let made = Self(path.to_owned());
        mount_change(path, propagation).unwrap();
        made
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn mounting(name: &str, mounts: Value) -> Value {
    with(shell(name, IDLE), json!({ "volumeMounts": mounts }))
}

fn mounted_on_host(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}

#[test]
fn mounts_travel_as_far_as_they_may() {
    let mut node = Node::started();
    let place = node.agent.root_dir().parent().unwrap().join("shared");
    let _shared = Tmpfs::on(&place, MountPropagationFlags::SHARED);
    let _below = Tmpfs::on(&place.join("below"), MountPropagationFlags::PRIVATE);
    let one = |name: &str, mount: Value, context: Value| {
        let mount = with(json!({ "name": "v", "mountPath": "/v" }), mount);
        with(mounting(name, json!([mount])), json!({ "securityContext": context }))
    };
    let private = || one("private", json!({}), json!({}));
    let slave = || one("slave", json!({ "mountPropagation": "HostToContainer" }), json!({}));
    let both = one("both", json!({ "mountPropagation": "Bidirectional" }), json!({ "privileged": true }));
    let volumes = json!([{ "name": "v", "hostPath": { "path": place } }]);
    node.put(&pod("travel", json!({ "containers": [private(), slave(), both], "volumes": volumes })));
    node.ready("travel");
    let from_host = Tmpfs::on(&place.join("from-host"), MountPropagationFlags::SHARED);
    let sees = |container: &str, path: &str| {
        node.cri.sh_any("travel", container, &format!("grep -q ' /v/{path} ' /proc/self/mounts")).1 == 0
    };
    eventually_true("the mount to arrive", SOON, || sees("slave", "from-host") && sees("both", "from-host"));
    assert!(!sees("private", "from-host"));
    node.cri.sh("travel", "both", "mkdir /v/from-inside && mount -t tmpfs none /v/from-inside");
    assert!(mounted_on_host(&place.join("from-inside")), "Bidirectional reaches the host");
    assert!(sees("slave", "from-inside") && !sees("private", "from-inside"));
    node.cri.sh("travel", "both", "umount /v/from-inside");
    assert!(!mounted_on_host(&place.join("from-inside")));
    drop(from_host);

    // Recursive read-only takes the mounts below along, where the runtime can.
    let read_only =
        |name: &str, mode: &str| one(name, json!({ "readOnly": true, "recursiveReadOnly": mode }), json!({}));
    let modes = json!([read_only("off", "Disabled"), read_only("maybe", "IfPossible")]);
    node.put(&pod("locked", json!({ "containers": modes, "volumes": volumes })));
    let must = pod("must", json!({ "containers": [read_only("must", "Enabled")], "volumes": volumes }));
    node.put(&must);
    let locked = node.ready("locked");
    let writes =
        |node: &Node, pod: &str, container: &str| node.cri.sh_any(pod, container, "touch /v/below/x").1 == 0;
    let shown = |pod: &Value, container: &str| {
        status::container(pod, container)["volumeMounts"][0]["recursiveReadOnly"].clone()
    };
    assert!(writes(&node, "locked", "off"), "only the volume itself is read-only");
    assert_eq!(shown(&locked, "off"), "Disabled");
    if runtime::is_1_6() {
        assert_eq!(shown(&locked, "maybe"), "Disabled");
        let waiting = node.waiting("must", "CreateContainerConfigError");
        let message = waiting["state"]["waiting"]["message"].as_str().unwrap();
        assert!(message.contains("it is not supported by the runtime"), "{message}");
    } else {
        assert!(!writes(&node, "locked", "maybe"));
        assert_eq!(shown(&locked, "maybe"), "Enabled");
        let must = node.ready("must");
        assert!(!writes(&node, "must", "must"));
        assert_eq!(shown(&must, "must"), "Enabled");
    }
    for name in ["travel", "locked", "must"] {
        node.take(name);
        node.gone(name);
    }
}

#[test]
fn groups_own_and_files_follow_the_pod() {
    let mut node = Node::started();
    let items = json!([
        { "path": "note", "fieldRef": { "fieldPath": "metadata.annotations['note']" } },
        { "path": "mine", "mode": 0o400, "fieldRef": { "fieldPath": "metadata.name" } },
    ]);
    let volumes = json!([
        { "name": "disk", "emptyDir": {} },
        { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } },
        { "name": "info", "downwardAPI": { "items": items, "defaultMode": 0o640 } },
        { "name": "part", "projected": { "sources": [{ "downwardAPI": { "items": items } }], "defaultMode": 0o400 } },
    ]);
    let mounts = json!([
        { "name": "disk", "mountPath": "/disk" }, { "name": "memory", "mountPath": "/memory" },
        { "name": "info", "mountPath": "/info" }, { "name": "part", "mountPath": "/part" },
        { "name": "disk", "mountPath": "/expanded", "subPathExpr": "logs/$(POD)" },
    ]);
    let env = json!([{ "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]);
    let main = with(
        mounting("main", mounts),
        json!({ "env": env, "resources": { "limits": { "memory": "64Mi" } } }),
    );
    let context = json!({ "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 3000, "fsGroupChangePolicy": "OnRootMismatch" });
    let mut one =
        pod("owned", json!({ "containers": [main], "volumes": volumes, "securityContext": context }));
    one["metadata"]["uid"] = json!("0f0f0f0f-1111-2222-3333-444444444444");
    one["metadata"]["annotations"] = json!({ "note": "first" });
    node.put(&one);
    let first = node.ready("owned");
    let sh = |script: &str| node.cri.sh("owned", "main", script);
    assert_eq!(sh("id -G").trim(), "1000 3000");
    assert_eq!(sh("stat -c '%g %a' /disk /memory"), "3000 2777\n3000 3777\n");
    sh("echo x > /disk/x; mkdir /disk/d; echo y > /disk/d/y; echo z > /memory/z; echo l > /expanded/l");
    assert_eq!(sh("stat -c '%u %g' /disk/x /disk/d/y /memory/z"), "1000 3000\n".repeat(3));
    assert_eq!(
        sh("stat -L -c '%u %g %a' /info/note /info/mine /part/note"),
        "0 3000 640\n0 3000 440\n0 3000 440\n"
    );
    assert_eq!(
        sh("cat /info/note /part/note /part/mine"),
        format!("firstfirst{}", tests::node::full_name("owned"))
    );
    assert_eq!(sh(&format!("cat /disk/logs/{}/l", tests::node::full_name("owned"))), "l\n");
    // The volume gets no more memory than the pod may use.
    assert_eq!(sh("df -k /memory | tail -n 1 | awk '{print $2}'").trim(), "65536");
    let noswap = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = noswap
        .lines()
        .find(|line| line.contains(&status::uid(&first)) && line.contains("empty-dir/memory"))
        .unwrap();
    assert!(line.contains("noswap"), "{line}");

    // The same pod with another annotation: its files tell at once, its container goes on.
    let before = status::only(&first);
    let data = sh("readlink /info/..data");
    one["metadata"]["annotations"]["note"] = json!("second");
    node.put(&one);
    eventually("the new note", SOON, || match sh("cat /info/note /part/note").as_str() {
        "secondsecond" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_ne!(sh("readlink /info/..data"), data, "replaced as a whole");
    assert_eq!(
        sh("ls -A /info | wc -l").trim(),
        "4",
        "nothing old is left: ..data, its directory and two links"
    );
    let after = status::only(&node.pod("owned"));
    assert_eq!((status::id(&before), after["restartCount"].as_u64()), (status::id(&after), Some(0)));

    // Huge pages: none on this machine, or none that are free, is said at once.
    let resources = json!({ "limits": { "cpu": "100m", "hugepages-2Mi": "4Mi" } });
    let huge = |name: &str, medium: &str, resources: Value| {
        let main = with(
            mounting("main", json!([{ "name": "huge", "mountPath": "/huge" }])),
            json!({ "resources": resources }),
        );
        pod(
            name,
            json!({ "containers": [main], "volumes": [{ "name": "huge", "emptyDir": { "medium": medium } }] }),
        )
    };
    let free =
        fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages").unwrap_or_default();
    node.put(&huge("huge", "HugePages", resources));
    node.put(&huge("unasked", "HugePages-2Mi", json!({})));
    if free.trim().parse().unwrap_or(0) < 2 {
        let huge = node.phase("huge", "Failed");
        assert_eq!(huge["status"]["reason"], "UnexpectedAdmissionError");
    } else {
        node.ready("huge");
        assert!(node.cri.sh("huge", "main", "grep ' /huge ' /proc/mounts").contains("hugetlbfs"));
    }
    node.logged(0, &["medium HugePages-2Mi: hugePages storage requested, but there is no resource request for huge pages"]);
    let disk = node.pod_dir(&status::uid(&first)).join("volumes/kubernetes.io~empty-dir/disk");
    assert_eq!((disk.metadata().unwrap().gid(), disk.metadata().unwrap().mode() & 0o7777), (3000, 0o2777));
}
