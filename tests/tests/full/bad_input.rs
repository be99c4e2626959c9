//! Manifests that cannot be used: one clear message each, and nothing else suffers.

use std::{fs, io::Write as _, path::Path};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tests::{
    Node, SOON, eventually, eventually_true,
    manifest::{self, pod, shell, with},
    status,
};

const HUGE_BYTES: u64 = 100 << 20;

/// A manifest that cannot be used: its file, and what the message has to say.
struct Bad {
    file: &'static str,
    says: &'static [&'static str],
}

fn write_bad(dir: &Path) -> Vec<Bad> {
    let put = |file: &str, bytes: &[u8]| fs::write(dir.join(file), bytes).unwrap();
    let text = manifest::idle("x").to_string();
    put("truncated.yaml", &text.as_bytes()[..text.len() / 2]);
    put("binary.yaml", &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0xff, 0xfe]);
    put("cyclic.yaml", b"apiVersion: v1\nkind: Pod\nmetadata: &m\n  name: x\n  labels: *m\n");
    put("laughs.yaml", laughs().as_bytes());
    put("deployment.yaml", b"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\n");
    put(
        "nameless.yaml",
        b"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: podwright.test/busybox:1\n",
    );
    put("indent.yaml", b"apiVersion: v1\nkind: Pod\nmetadata:\n\tname: x\n");
    put("empty.yaml", b"");
    let mount = json!({ "name": "v", "mountPath": "/v", "bindMountOptions": ["noexec"] });
    let main = with(shell("main", "true"), json!({ "volumeMounts": [mount] }));
    let volumes = json!([{ "name": "v", "emptyDir": {} }]);
    put(
        "mount.json",
        pod("mount", json!({ "containers": [main], "volumes": volumes })).to_string().as_bytes(),
    );
    let secret = json!([{ "name": "s", "secret": { "secretName": "s" } }]);
    put(
        "secret.json",
        pod("secret", json!({ "containers": [shell("main", "true")], "volumes": secret }))
            .to_string()
            .as_bytes(),
    );
    let huge = fs::File::create(dir.join("huge.yaml")).unwrap();
    (&huge).write_all(b"# big\n").unwrap();
    huge.set_len(HUGE_BYTES).unwrap();
    mknodat(CWD, dir.join("pipe.yaml"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    vec![
        Bad { file: "truncated.yaml", says: &["line 1"] },
        Bad { file: "binary.yaml", says: &["not a text file"] },
        Bad { file: "cyclic.yaml", says: &["line 5", "anchor"] },
        Bad { file: "laughs.yaml", says: &["alias"] },
        Bad { file: "deployment.yaml", says: &["Deployment"] },
        Bad { file: "nameless.yaml", says: &["metadata.name"] },
        Bad { file: "indent.yaml", says: &["line 4", "tab"] },
        Bad { file: "empty.yaml", says: &["no pod"] },
        Bad {
            file: "mount.json",
            says: &["spec.containers[0].volumeMounts[0].bindMountOptions", "not implemented"],
        },
        Bad { file: "secret.json", says: &["spec.volumes[0]", "secret"] },
        Bad { file: "huge.yaml", says: &["10485760"] },
        Bad { file: "pipe.yaml", says: &["named pipe"] },
    ]
}

/// Aliases that would expand to gigabytes.
fn laughs() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
    }
    text
}

#[test]
fn bad_manifests_are_named_and_disturb_nobody() {
    let mut node = Node::started();
    node.put(&manifest::idle("before"));
    let before = node.ready("before");
    let bad = write_bad(&node.agent.manifest_dir());
    node.put(&manifest::idle("after"));
    node.ready("after");
    for Bad { file, says } in &bad {
        let mut parts = vec![*file];
        parts.extend(*says);
        node.logged(0, &parts);
    }
    let problems = eventually("podwright ps to name every bad file", SOON, || {
        let said = node.podwright().run(&["ps"]);
        if bad.iter().all(|bad| said.err.contains(bad.file)) { Ok(said.err) } else { Err(said.err) }
    });
    for Bad { file, says } in &bad {
        let lines: Vec<&str> = problems.lines().filter(|line| line.contains(file)).collect();
        assert!(lines.iter().any(|line| says.iter().all(|part| line.contains(part))), "{file}: {lines:?}");
    }
    assert_eq!(status::only(&node.pod("before"))["containerID"], status::only(&before)["containerID"]);
    assert!(node.agent.is_running());
    assert_eq!(node.agent.pods().unwrap().len(), 2);

    // Reading them again says nothing new.
    let mark = node.log_mark();
    node.put(&manifest::idle("marker"));
    node.ready("marker");
    for Bad { file, .. } in &bad {
        assert_eq!(node.log_lines(mark, &[file]), Vec::<String>::new(), "{file} is named again");
    }

    // Mended files work, removed ones are forgotten.
    node.agent.put_manifest("truncated.yaml", &manifest::idle("mended").to_string()).unwrap();
    node.ready("mended");
    for Bad { file, .. } in bad.iter().filter(|bad| bad.file != "truncated.yaml") {
        fs::remove_file(node.agent.manifest_dir().join(file)).unwrap();
    }
    eventually_true("every problem to be forgotten", SOON, || {
        !node.podwright().run(&["ps"]).err.contains("warning")
    });
    assert_eq!(status::only(&node.pod("before"))["containerID"], status::only(&before)["containerID"]);
}

#[test]
fn a_manifest_that_breaks_leaves_its_pod_running() {
    let mut node = Node::started();
    node.put(&manifest::idle("steady"));
    node.put(&manifest::idle("twin"));
    let steady = node.ready("steady");
    node.ready("twin");
    let mark = node.log_mark();
    node.agent.put_manifest("steady.json", "{ half of it").unwrap();
    node.logged(mark, &["steady.json"]);
    assert_eq!(status::only(&node.pod("steady"))["containerID"], status::only(&steady)["containerID"]);
    // The same name in a second file: the first one stays, the second one is named.
    let mark = node.log_mark();
    node.agent.put_manifest("zzz.json", &manifest::script("twin", "echo other").to_string()).unwrap();
    node.logged(mark, &["duplicate pod name", "twin"]);
    assert_eq!(node.agent.pods().unwrap().len(), 2);
    node.agent.put_manifest("steady.json", &manifest::idle("steady").to_string()).unwrap();
    node.put(&manifest::idle("marker"));
    node.ready("marker");
    assert_eq!(status::only(&node.pod("steady"))["containerID"], status::only(&steady)["containerID"]);
}
