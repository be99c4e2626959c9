//! Volumes: emptyDir, hostPath, the downward API.

use std::{fs, os::unix::fs::MetadataExt as _, os::unix::fs::PermissionsExt as _, path::Path};

use core_types::runtime::ContainerState;
use serde_json::{Value, json};
use tests::{
    HugePages, Node, SOON, eventually_true,
    manifest::{IDLE, pod, shell, with},
    node::full_name,
    status,
};

fn mounting(name: &str, mounts: Value) -> Value {
    with(shell(name, IDLE), json!({ "volumeMounts": mounts }))
}

#[test]
fn empty_dirs_are_shared_and_survive_a_container() {
    let mut node = Node::started();
    let volumes = json!([
        { "name": "disk", "emptyDir": {} },
        { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "8Mi" } },
    ]);
    let mounts =
        json!([{ "name": "disk", "mountPath": "/disk" }, { "name": "memory", "mountPath": "/memory" }]);
    let only_read = json!([
        { "name": "disk", "mountPath": "/disk", "readOnly": true },
        { "name": "disk", "mountPath": "/sub", "subPath": "deep/er" },
    ]);
    let spec = json!({ "containers": [mounting("main", mounts), mounting("reader", only_read)], "volumes": volumes });
    node.put(&pod("shared", spec));
    let uid = status::uid(&node.ready("shared"));
    let sh = |container: &str, script: &str| node.cri.sh("shared", container, script).trim().to_owned();
    assert_eq!(sh("main", "stat -c %a /disk /memory"), "777\n1777");
    assert!(sh("main", "grep ' /memory ' /proc/mounts").starts_with("tmpfs /memory tmpfs"), "tmpfs");
    assert_eq!(sh("main", "df -k /memory | tail -n 1 | awk '{print $2}'"), "8192");
    sh("main", "echo kept > /disk/x; echo below > /disk/deep/er/y; echo fast > /memory/z");
    assert_eq!(sh("reader", "cat /disk/x /sub/y"), "kept\nbelow");
    let (said, code) = node.cri.sh_any("shared", "reader", "touch /disk/no");
    assert!(code != 0 && said.contains("Read-only"), "{code} {said}");
    let on_host = node.pod_dir(&uid).join("volumes/kubernetes.io~empty-dir/disk");
    assert_eq!(fs::read_to_string(on_host.join("x")).unwrap(), "kept\n");
    assert_eq!(on_host.metadata().unwrap().permissions().mode() & 0o777, 0o777);

    // The containers of one pod come and go, its volumes stay.
    let main = node.cri.running("shared", "main").id;
    tests::runtime::kill_container(node.instance.containerd(), &main);
    node.until("shared", "ready again", SOON, |pod| {
        lab::agent::is_ready(pod) && status::container(pod, "main")["restartCount"] == 1
    });
    node.crash();
    node.ready("shared");
    assert_eq!(node.cri.sh("shared", "main", "cat /disk/x /memory/z"), "kept\nfast\n");
    node.take("shared");
    node.gone("shared");
    eventually_true("the volumes to go", SOON, || !node.pod_dir(&uid).exists());
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&uid));
}

#[test]
fn host_paths_are_what_their_type_says() {
    let mut node = Node::started();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("file"), "content\n").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let one = |name: &str, path: &Path, kind: &str| {
        let volumes = json!([{ "name": "v", "hostPath": { "path": path, "type": kind } }]);
        let main = mounting("main", json!([{ "name": "v", "mountPath": "/v" }]));
        pod(name, json!({ "containers": [main], "volumes": volumes }))
    };
    let good = [
        ("any", "dir", ""),
        ("dir", "dir", "Directory"),
        ("new-dir", "made/dir", "DirectoryOrCreate"),
        ("file", "file", "File"),
        ("new-file", "made-file", "FileOrCreate"),
        ("socket", "socket", "Socket"),
    ];
    for (name, path, kind) in good {
        node.put(&one(name, &root.join(path), kind));
    }
    node.put(&one("device", Path::new("/dev/null"), "CharDevice"));
    let bad = [
        ("no-dir", "absent", "Directory", "is not a directory"),
        ("no-file", "dir", "File", "is not a file, it's a Directory"),
        ("no-socket", "file", "Socket", "is not a socket file, it's a File"),
        ("no-device", "file", "BlockDevice", "is not a block device, it's a File"),
    ];
    for (name, path, kind, _) in bad {
        node.put(&one(name, &root.join(path), kind));
    }
    for (name, ..) in good {
        node.ready(name);
    }
    node.ready("device");
    let mode = |path: &str| root.join(path).metadata().unwrap().mode() & 0o777;
    assert_eq!((mode("made/dir"), mode("made-file")), (0o755, 0o644));
    assert_eq!(node.cri.sh("file", "main", "cat /v"), "content\n");
    assert!(!root.join("absent").exists());
    for (name, path, _, text) in bad {
        let path = root.join(path);
        node.logged(0, &["hostPath type check failed", &path.to_string_lossy(), text]);
        let pod = node.pod(name);
        assert_eq!(pod["status"]["phase"], "Pending", "{name}");
        assert!(node.cri.containers(name).iter().all(|c| c.state != ContainerState::Running), "{name}");
    }
    // What was missing appears, and the pod that waited for it goes on by itself.
    fs::create_dir(root.join("absent")).unwrap();
    node.until("no-dir", "Ready", tests::LATER, lab::agent::is_ready);
}

#[test]
fn downward_api_files_tell_of_the_pod() {
    let mut node = Node::started();
    let field = |path: &str, field: &str| json!({ "path": path, "fieldRef": { "fieldPath": field } });
    let items = json!([
        field("labels", "metadata.labels"),
        field("annotations", "metadata.annotations"),
        field("deep/name", "metadata.name"),
        field("uid", "metadata.uid"),
        { "path": "cpu", "resourceFieldRef": { "containerName": "main", "resource": "limits.cpu", "divisor": "1m" } },
        { "path": "private", "mode": 0o400, "fieldRef": { "fieldPath": "metadata.namespace" } },
    ]);
    let volumes = json!([
        { "name": "info", "downwardAPI": { "items": items } },
        { "name": "both", "projected": { "sources": [{ "downwardAPI": { "items": [field("one", "metadata.labels['b']")] } }] } },
    ]);
    let mounts = json!([{ "name": "info", "mountPath": "/info" }, { "name": "both", "mountPath": "/both" }]);
    let main = with(mounting("main", mounts), json!({ "resources": { "limits": { "cpu": "250m" } } }));
    let mut one = pod("told", json!({ "containers": [main], "volumes": volumes }));
    one["metadata"]["labels"] = json!({ "b": "2", "a": "say \"hi\"" });
    one["metadata"]["labels"]["a"] = json!("1");
    one["metadata"]["annotations"] = json!({ "note": "say \"hi\"" });
    node.put(&one);
    let uid = status::uid(&node.ready("told"));
    let sh = |script: &str| node.cri.sh("told", "main", script);
    assert_eq!(sh("cat /info/labels").trim_end(), "a=\"1\"\nb=\"2\"");
    assert!(
        sh("cat /info/annotations").contains("note=\"say \\\"hi\\\"\""),
        "{}",
        sh("cat /info/annotations")
    );
    assert_eq!(sh("cat /info/deep/name"), full_name("told"));
    assert_eq!(sh("cat /info/uid"), uid);
    assert_eq!(sh("cat /info/cpu"), "250");
    assert_eq!(sh("cat /both/one"), "2");
    assert_eq!(sh("stat -L -c %a /info/uid /info/private"), "644\n400\n");
    assert!(sh("readlink /info/uid").starts_with("..data/"), "written in one step, as ConfigMaps are");
    let (_, code) = node.cri.sh_any("told", "main", "echo x > /info/uid");
    assert_ne!(code, 0, "the files are not the pod's to change");
}

#[test]
fn huge_pages_are_mounted_and_not_given_twice() {
    let Some(pages) = HugePages::reserve(8) else {
        return lab::skip("the kernel cannot set 8 huge pages aside");
    };
    let mut node = Node::started();
    let of = |name: &str, size: &str| {
        let amount = json!({ "hugepages-2Mi": size, "memory": "32Mi", "cpu": "10m" });
        let main = with(
            mounting("main", json!([{ "name": "huge", "mountPath": "/huge" }])),
            json!({ "resources": { "requests": amount, "limits": amount } }),
        );
        let volumes = json!([{ "name": "huge", "emptyDir": { "medium": "HugePages" } }]);
        pod(name, json!({ "containers": [main], "volumes": volumes }))
    };
    node.put(&of("huge", "12Mi"));
    let uid = status::uid(&node.ready("huge"));
    let mounted = node.cri.sh("huge", "main", "grep ' /huge ' /proc/mounts");
    assert!(mounted.contains("hugetlbfs") && mounted.contains("pagesize=2M"), "{mounted}");
    node.cri.sh("huge", "main", "fallocate -l 8M /huge/a");
    assert_eq!(pages.free(), 4, "the file is in four of the eight pages");
    // Eight pages are there, six of them are the pod's.
    node.put(&of("more", "8Mi"));
    let refused = node.until("more", "refused", SOON, |pod| pod["status"]["phase"] == "Failed");
    assert!(
        refused["status"]["message"].as_str().is_some_and(|text| text.contains("hugepages-2Mi")),
        "{refused}"
    );
    node.take("more");
    node.take("huge");
    node.gone("huge");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&uid));
    assert_eq!(pages.free(), 8, "the pages went with the pod");
}
