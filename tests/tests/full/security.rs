//! Security contexts as a process inside finds them.

use std::fs;

use serde_json::{Value, json};
use tests::{
    LATER, Node, SOON, eventually_true,
    manifest::{IDLE, pod, shell, with},
    runtime, status,
};

/// A profile that takes `mkdir` away and nothing else.
const NO_MKDIR: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW",
    "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;

fn secured(name: &str, of_pod: Value, of_container: Value) -> Value {
    let main = with(shell("main", IDLE), json!({ "securityContext": of_container }));
    pod(name, json!({ "securityContext": of_pod, "containers": [main] }))
}

fn seccomp(kind: &str) -> Value {
    json!({ "seccompProfile": { "type": kind } })
}

fn local(file: &str) -> Value {
    json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": file } })
}

#[test]
fn seccomp_profiles_apply_and_a_missing_one_stops_the_container() {
    let mut node = Node::prepared();
    let profiles = node.agent.root_dir().join("seccomp/audit");
    fs::create_dir_all(&profiles).unwrap();
    fs::write(profiles.join("no-mkdir.json"), NO_MKDIR).unwrap();
    node.start();
    node.put(&secured("none", json!({}), json!({})));
    node.put(&secured("unconfined", seccomp("RuntimeDefault"), seccomp("Unconfined")));
    node.put(&secured("default", seccomp("RuntimeDefault"), json!({})));
    node.put(&secured("local", json!({}), local("audit/no-mkdir.json")));
    node.put(&secured("missing", json!({}), local("audit/absent.json")));
    node.put(&secured("empty", json!({}), local("")));
    node.put(&secured("armored", json!({}), json!({ "appArmorProfile": { "type": "RuntimeDefault" } })));
    for name in ["none", "unconfined", "default", "local"] {
        node.until(name, "Ready", LATER, lab::agent::is_ready);
    }
    let mode = |name: &str| {
        node.cri.sh(name, "main", "grep '^Seccomp:' /proc/self/status").replace(['\t', '\n'], "")
    };
    assert_eq!(
        ["none", "unconfined", "default", "local"].map(mode),
        ["Seccomp:0", "Seccomp:0", "Seccomp:2", "Seccomp:2"]
    );
    // The runtime's own profile keeps user namespaces from who has no capabilities for them; ours keeps mkdir.
    let code = |name: &str, script: &str| node.cri.sh_any(name, "main", script).1;
    assert_eq!(code("none", "mkdir /tmp/made"), 0);
    let (said, denied) = node.cri.sh_any("local", "main", "mkdir /tmp/made");
    assert!(denied != 0 && said.contains("Operation not permitted"), "{denied} {said}");
    assert_eq!(code("local", "touch /tmp/made"), 0);

    // Nothing weaker takes the place of a profile that is not there.
    let waiting = node.waiting("missing", "CreateContainerError");
    let message = waiting["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("absent.json"), "{message}");
    let empty = node.waiting("empty", "CreateContainerConfigError");
    let message = empty["state"]["waiting"]["message"].as_str().unwrap();
    assert_eq!(message, "localhostProfile must be set if seccompProfile type is Localhost.");
    assert!(node.cri.containers("empty").is_empty(), "an empty name is no profile");
    let armored = node.phase("armored", "Failed");
    assert_eq!(
        (armored["status"]["reason"].as_str(), armored["status"]["message"].as_str()),
        (
            Some("AppArmor"),
            Some("Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host")
        )
    );
}

#[test]
fn namespaces_and_sysctls_are_as_asked() {
    let mut node = Node::prepared();
    node.agent.config["seccompDefault"] = json!(true);
    node.agent.config["allowedUnsafeSysctls"] = json!(["kernel.msg*"]);
    node.start();
    let sysctls = |all: Value| json!({ "sysctls": all });
    node.put(&secured(
        "tuned",
        sysctls(json!([
            { "name": "net.ipv4.ip_local_port_range", "value": "20000 20100" },
            { "name": "net/ipv4/tcp_fin_timeout", "value": "17" },
            { "name": "kernel.shm_rmid_forced", "value": "1" },
            { "name": "kernel.msgmax", "value": "16384" },
        ])),
        json!({}),
    ));
    node.put(&secured(
        "forbidden",
        sysctls(json!([{ "name": "kernel.sem", "value": "1 2 3 4" }])),
        json!({}),
    ));
    let on_host =
        json!({ "hostPID": true, "hostIPC": true, "hostNetwork": true, "containers": [shell("main", IDLE)] });
    node.put(&pod("on-host", on_host));
    node.put(&secured("root", json!({}), json!({ "allowPrivilegeEscalation": false, "privileged": false })));
    node.put(&secured("almighty", json!({}), json!({ "privileged": true })));
    for name in ["tuned", "on-host", "root", "almighty"] {
        node.until(name, "Ready", LATER, lab::agent::is_ready);
    }
    let refused = node.phase("forbidden", "Failed");
    let sh = |name: &str, script: &str| node.cri.sh(name, "main", script).trim().to_owned();
    let cat = "cd /proc/sys; cat net/ipv4/ip_local_port_range net/ipv4/tcp_fin_timeout kernel/shm_rmid_forced kernel/msgmax";
    assert_eq!(sh("tuned", cat), "20000\t20100\n17\n1\n16384");
    assert_eq!(refused["status"]["reason"], "SysctlForbidden");
    assert_eq!(
        refused["status"]["message"],
        "Pod was rejected: forbidden sysctl: \"kernel.sem\" not allowlisted"
    );

    let own =
        |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    for kind in ["net", "pid", "ipc"] {
        let inside = |name: &str| sh(name, &format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(inside("on-host"), own(kind), "{kind}");
        assert_ne!(inside("tuned"), own(kind), "{kind}");
    }
    let of = |name: &str, field: &str| {
        sh(name, &format!("grep '^{field}:' /proc/1/status")).replace(['\t', ' '], "")
    };
    assert_eq!(
        (of("root", "NoNewPrivs"), of("tuned", "NoNewPrivs")),
        ("NoNewPrivs:1".to_owned(), "NoNewPrivs:0".to_owned())
    );
    // seccompDefault, which privilege takes away.
    assert_eq!(
        (of("root", "Seccomp"), of("almighty", "Seccomp")),
        ("Seccomp:2".to_owned(), "Seccomp:0".to_owned())
    );
    assert_ne!(of("almighty", "CapEff"), of("root", "CapEff"));
    node.take("tuned");
    node.gone("tuned");
    eventually_true("the rest to go on", SOON, || lab::agent::is_ready(&node.pod("root")));
}

#[test]
fn processes_have_the_groups_that_the_pod_asks_for() {
    let mut node = Node::started();
    let groups = |policy: &str| {
        json!({ "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 4000, "supplementalGroups": [5000, 6000],
            "supplementalGroupsPolicy": policy })
    };
    node.put(&secured("merged", groups("Merge"), json!({})));
    node.put(&secured("strict", groups("Strict"), json!({})));
    let ids = |node: &Node, name: &str| node.cri.sh(name, "main", "id -u; id -g; id -G");
    node.ready("merged");
    assert_eq!(ids(&node, "merged"), "1000\n1000\n1000 4000 5000 6000\n");
    if runtime::is_1_6() {
        let refused = node.phase("strict", "Failed");
        assert_eq!(refused["status"]["reason"], "SupplementalGroupsPolicyNotSupported");
        return;
    }
    let strict = node.ready("strict");
    assert_eq!(ids(&node, "strict"), "1000\n1000\n1000 4000 5000 6000\n");
    let user = &status::only(&strict)["user"]["linux"];
    assert_eq!(user["supplementalGroups"], json!([1000, 4000, 5000, 6000]));
}
