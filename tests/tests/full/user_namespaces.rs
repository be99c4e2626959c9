//! Pods with a user namespace of their own.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually, eventually_true,
    manifest::{IDLE, pod, shell, with},
    runtime::{is_1_6, kill_container, pid_of},
    status,
};

/// Upstream's default: the first block above the host's own IDs.
const FIRST: u32 = 65536;

fn own_ids(name: &str, more: Value) -> Value {
    let mounts = json!([{ "name": "disk", "mountPath": "/disk" }, { "name": "memory", "mountPath": "/memory" },
        { "name": "info", "mountPath": "/info" }, { "name": "disk", "mountPath": "/sub", "subPath": "deep/er" }]);
    let container = |name: &str, context: Value| {
        with(shell(name, IDLE), json!({ "volumeMounts": mounts, "securityContext": context }))
    };
    let containers = json!([
        container("main", json!({})),
        container("user", json!({ "runAsUser": 1000, "runAsGroup": 2000 })),
        container("unmasked", json!({ "procMount": "Unmasked" })),
    ]);
    let items = json!([{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }]);
    let volumes = json!([{ "name": "disk", "emptyDir": {} }, { "name": "memory", "emptyDir": { "medium": "Memory" } },
        { "name": "info", "downwardAPI": { "items": items } }]);
    let spec = json!({ "hostUsers": false, "containers": containers, "volumes": volumes,
        "securityContext": { "fsGroup": 3000 } });
    pod(name, with(spec, more))
}

fn mapping_file(node: &Node, pod: &Value) -> PathBuf {
    node.pod_dir(&status::uid(pod)).join("userns")
}

/// First ID of the host in the map that a container sees.
fn first_id(node: &Node, name: &str, map: &str) -> String {
    let text = node.cri.sh(name, "main", &format!("cat /proc/self/{map}"));
    let fields: Vec<&str> = text.split_whitespace().collect();
    assert!(matches!(fields.as_slice(), ["0", _, "65536"]), "{map}: {text}");
    fields[1].to_owned()
}

#[test]
fn pods_have_their_own_users() {
    let mut node = Node::started();
    node.put(&own_ids("one", json!({})));
    if is_1_6() {
        node.logged(0, &["can't set `spec.hostUsers: false`, runtime does not support user namespaces"]);
        assert!(node.cri.sandboxes("one").is_empty(), "a pod that asks for it does not run without");
        return;
    }
    let one = node.ready("one");
    assert_eq!(
        (first_id(&node, "one", "uid_map"), first_id(&node, "one", "gid_map")),
        (FIRST.to_string(), FIRST.to_string())
    );
    let file = mapping_file(&node, &one);
    let block = format!("[{{\"hostId\":{FIRST},\"containerId\":0,\"length\":65536}}]");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("{{\"uidMappings\":{block},\"gidMappings\":{block}}}")
    );
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);

    // Root inside is nobody outside, and owns what is the container's.
    let main = node.cri.running("one", "main").id;
    let process = pid_of(node.instance.containerd(), &main);
    let owner = |process: u32| fs::metadata(format!("/proc/{process}")).unwrap().uid();
    assert_eq!(owner(process), FIRST);
    let user = pid_of(node.instance.containerd(), &node.cri.running("one", "user").id);
    assert_eq!(owner(user), FIRST + 1000);
    let sh = |container: &str, script: &str| node.cri.sh("one", container, script).trim().to_owned();
    assert_eq!(sh("main", "id -u"), "0");
    assert_eq!(
        sh("main", "stat -c %u:%g /etc/hosts /dev/termination-log /disk /memory"),
        "0:0\n0:0\n0:3000\n0:3000"
    );
    assert_eq!(sh("user", "id -u; id -G"), "1000\n2000 3000");
    sh(
        "main",
        "echo x > /disk/root; echo y >> /etc/hosts; echo z > /dev/termination-log; echo w > /memory/w; echo s > /sub/s",
    );
    sh("user", "echo x > /disk/user");
    assert_eq!(sh("user", "stat -c %u:%g /disk/root /disk/user"), "0:3000\n1000:3000");
    assert_eq!(
        sh("user", "cat /info/name /disk/deep/er/s"),
        format!("{}s", one["metadata"]["name"].as_str().unwrap())
    );
    // Volumes keep the IDs of the inside: another block tomorrow finds its files.
    let disk = node.pod_dir(&status::uid(&one)).join("volumes/kubernetes.io~empty-dir/disk");
    assert_eq!(disk.join("user").metadata().unwrap().uid(), 1000);

    // Without masks a container may mount a new proc; nothing of the host's is hidden or read-only below /proc.
    assert_eq!(sh("unmasked", "grep -c ' /proc/' /proc/self/mounts || true"), "0");
    assert_ne!(sh("main", "grep -c ' /proc/' /proc/self/mounts || true"), "0");

    // A second pod has other IDs, and both keep theirs over a restart of the agent and of a container.
    node.put(&own_ids("two", json!({})));
    let two = node.ready("two");
    assert_eq!(first_id(&node, "two", "uid_map"), (2 * FIRST).to_string());
    node.crash();
    kill_container(node.instance.containerd(), &node.cri.running("two", "main").id);
    node.until("two", "ready again", SOON, |pod| {
        lab::agent::is_ready(pod) && status::container(pod, "main")["restartCount"] == 1
    });
    assert_eq!(first_id(&node, "two", "uid_map"), (2 * FIRST).to_string());

    // A file that cannot be used holds up its own pod only.
    node.agent.kill().unwrap();
    fs::write(&file, "{").unwrap();
    let mark = node.log_mark();
    node.start();
    kill_container(node.instance.containerd(), &main);
    node.logged(mark, &["one", "user namespace: invalid user namespace mappings file"]);
    kill_container(node.instance.containerd(), &node.cri.running("two", "user").id);
    node.until("two", "ready again", SOON, |pod| {
        lab::agent::is_ready(pod) && status::container(pod, "user")["restartCount"] == 1
    });
    node.take("one");
    node.gone("one");
    eventually_true("the directory to go", SOON, || !file.exists());

    // A pod that has ended gives its IDs back though it is still wanted.
    node.put(&pod(
        "ended",
        json!({ "hostUsers": false, "restartPolicy": "Never",
        "containers": [shell("main", "cat /proc/self/uid_map")] }),
    ));
    let ended = node.phase("ended", "Succeeded");
    eventually("the IDs to be given back", SOON, || {
        if mapping_file(&node, &ended).exists() { Err("the file is there".to_owned()) } else { Ok(()) }
    });
    let log = node.log_of("ended", "main");
    node.put(&own_ids("three", json!({})));
    node.ready("three");
    assert_eq!(first_id(&node, "three", "uid_map"), log.split_whitespace().nth(1).unwrap());
    assert!(mapping_file(&node, &two).exists());
}
