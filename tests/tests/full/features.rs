//! What a container finds inside: environment, command line, names, users, capabilities, its neighbours.

use std::fs;

use core_types::runtime::ContainerState;
use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually,
    manifest::{IDLE, pod, shell, with},
    node::{NODE_NAME, full_name},
    status,
};

/// The variables of a container's first process.
fn environment(node: &Node, name: &str) -> Vec<(String, String)> {
    let text = node.cri.sh(name, "main", "tr '\\0' '\\n' < /proc/1/environ");
    let split = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.lines().filter_map(split).collect()
}

fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

fn resource(name: &str, resource: &str, divisor: &str) -> Value {
    json!({ "name": name, "valueFrom": { "resourceFieldRef": { "resource": resource, "divisor": divisor } } })
}

#[test]
fn variables_commands_and_arguments() {
    let mut node = Node::started();
    let env = json!([
        { "name": "PLAIN", "value": "a b=c" },
        { "name": "EXPANDED", "value": "<$(PLAIN)>" },
        { "name": "ESCAPED", "value": "$$(PLAIN)" },
        { "name": "UNKNOWN", "value": "$(NOBODY)" },
        { "name": "LATER", "value": "$(LAST)" },
        { "name": "EMPTY" },
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
        field("POD_LABEL", "metadata.labels['app']"),
        field("POD_NOTE", "metadata.annotations['example.com/note']"),
        field("NODE_NAME", "spec.nodeName"),
        field("POD_IP", "status.podIP"),
        field("POD_IPS", "status.podIPs"),
        field("HOST_IP", "status.hostIP"),
        resource("CPU_LIMIT", "limits.cpu", "1m"),
        resource("CPU_REQUEST", "requests.cpu", "1"),
        resource("MEMORY_LIMIT", "limits.memory", "1Mi"),
        resource("MEMORY_REQUEST", "requests.memory", "1"),
        { "name": "LAST", "value": "end" },
    ]);
    let main = json!({
        "name": "main", "image": lab::images::BUSYBOX, "imagePullPolicy": "Never", "env": env,
        "workingDir": "/tmp",
        "command": ["/bin/sh", "-c"],
        "args": [format!("echo '$(PLAIN)' '$$(PLAIN)' '$(NOBODY)' > args; {IDLE}"), "unused-$(POD_LABEL)"],
        "resources": { "limits": { "cpu": "250m", "memory": "64Mi" }, "requests": { "cpu": "100m", "memory": "32Mi" } },
    });
    let mut one = pod("vars", json!({ "containers": [main] }));
    one["metadata"]["labels"] = json!({ "app": "shop" });
    one["metadata"]["annotations"] = json!({ "example.com/note": "two words" });
    node.put(&one);
    let pod = node.ready("vars");
    let (uid, ip) = (status::uid(&pod), status::ip(&pod));
    let host_ip = pod["status"]["hostIP"].as_str().unwrap().to_owned();
    let found = environment(&node, "vars");
    for (key, value) in [
        ("PLAIN", "a b=c"),
        ("EXPANDED", "<a b=c>"),
        ("ESCAPED", "$(PLAIN)"),
        ("UNKNOWN", "$(NOBODY)"),
        ("LATER", "$(LAST)"),
        ("EMPTY", ""),
        ("POD_NAME", &full_name("vars")),
        ("POD_NAMESPACE", "default"),
        ("POD_UID", &uid),
        ("POD_LABEL", "shop"),
        ("POD_NOTE", "two words"),
        ("NODE_NAME", NODE_NAME),
        ("POD_IP", &ip),
        ("POD_IPS", &ip),
        ("HOST_IP", &host_ip),
        ("CPU_LIMIT", "250"),
        ("CPU_REQUEST", "1"),
        ("MEMORY_LIMIT", "64"),
        ("MEMORY_REQUEST", "33554432"),
        ("PATH", "/bin"),
        ("HOSTNAME", &full_name("vars")),
    ] {
        let of_key: Vec<_> =
            found.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect();
        assert_eq!(of_key, [value], "{key}");
    }
    assert_eq!(node.cri.sh("vars", "main", "cat /tmp/args"), "a b=c $(PLAIN) $(NOBODY)\n");
    let line = node.cri.sh("vars", "main", "tr '\\0' '|' < /proc/1/cmdline");
    assert!(
        line.starts_with("/bin/sh|-c|echo 'a b=c' '$(PLAIN)'") && line.ends_with("|unused-shop|"),
        "{line}"
    );
}

#[test]
fn names_hosts_and_resolv_conf() {
    let mut node = Node::started();
    let idle = json!([shell("main", IDLE)]);
    let aliases = json!([{ "ip": "10.1.2.3", "hostnames": ["one.example", "two.example"] }]);
    node.put(&pod(
        "named",
        json!({ "containers": idle, "hostAliases": aliases, "hostname": "short", "dnsPolicy": "Default" }),
    ));
    let dns = json!({ "nameservers": ["10.9.9.9"], "searches": ["example.org"], "options": [{ "name": "ndots", "value": "3" }, { "name": "rotate" }] });
    node.put(&pod("own-dns", json!({ "containers": idle, "dnsPolicy": "None", "dnsConfig": dns })));
    node.put(&pod("on-host", json!({ "containers": idle, "hostNetwork": true, "hostAliases": aliases })));
    let named = node.ready("named");
    node.ready("own-dns");
    let on_host = node.ready("on-host");

    let ip = status::ip(&named);
    let hosts = format!(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
         {ip}\tshort\n\n# Entries added by HostAliases.\n10.1.2.3\tone.example\ttwo.example\n"
    );
    assert_eq!(node.cri.sh("named", "main", "cat /etc/hosts"), hosts);
    assert_eq!(node.cri.sh("named", "main", "hostname"), "short\n");
    assert_eq!(node.cri.sh("own-dns", "main", "hostname").trim(), full_name("own-dns"));
    let servers = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("nameserver ")).map(str::to_owned).collect()
    };
    let of_host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let of_pod = node.cri.sh("named", "main", "cat /etc/resolv.conf");
    assert_eq!(servers(&of_pod), servers(&of_host)[..servers(&of_host).len().min(3)]);
    let own = node.cri.sh("own-dns", "main", "cat /etc/resolv.conf");
    assert_eq!(own, "search example.org\nnameserver 10.9.9.9\noptions ndots:3 rotate\n");

    assert_eq!(on_host["status"]["podIP"], on_host["status"]["hostIP"]);
    assert_eq!(on_host["spec"]["hostNetwork"], true);
    let own_net = fs::read_link("/proc/self/ns/net").unwrap();
    let pod_net = |name: &str| node.cri.sh(name, "main", "readlink /proc/self/ns/net").trim().to_owned();
    assert_eq!(pod_net("on-host"), own_net.to_string_lossy());
    assert_ne!(pod_net("named"), own_net.to_string_lossy());
    let hosts = node.cri.sh("on-host", "main", "cat /etc/hosts");
    let of_node = fs::read_to_string("/etc/hosts").unwrap();
    assert!(hosts.starts_with("# Kubernetes-managed hosts file (host network).\n"), "{hosts}");
    assert!(hosts.contains(&of_node) && hosts.ends_with("10.1.2.3\tone.example\ttwo.example\n"), "{hosts}");
}

#[test]
fn users_capabilities_and_file_systems() {
    let mut node = Node::started();
    let secured = |name: &str, of_pod: Value, of_container: Value| {
        let main = with(shell("main", IDLE), json!({ "securityContext": of_container }));
        pod(name, json!({ "securityContext": of_pod, "containers": [main] }))
    };
    node.put(&secured(
        "user",
        json!({ "runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [3000] }),
        json!({}),
    ));
    node.put(&secured(
        "user-over",
        json!({ "runAsUser": 1000 }),
        json!({ "runAsUser": 1234, "runAsNonRoot": true }),
    ));
    node.put(&secured("no-caps", json!({}), json!({ "capabilities": { "drop": ["ALL"] } })));
    node.put(&secured(
        "one-cap",
        json!({}),
        json!({ "capabilities": { "drop": ["ALL"], "add": ["CHOWN"] } }),
    ));
    node.put(&secured("read-only", json!({}), json!({ "readOnlyRootFilesystem": true })));
    node.put(&secured("no-new", json!({}), json!({ "allowPrivilegeEscalation": false })));
    node.put(&secured("root-refused", json!({ "runAsNonRoot": true }), json!({})));
    node.put(&secured("root-asked", json!({}), json!({ "runAsNonRoot": true, "runAsUser": 0 })));
    let shared =
        json!({ "shareProcessNamespace": true, "containers": [shell("main", IDLE), shell("other", IDLE)] });
    node.put(&pod("shared-pids", shared));
    for name in ["user", "user-over", "no-caps", "one-cap", "read-only", "no-new", "shared-pids"] {
        node.ready(name);
    }
    let sh = |name: &str, script: &str| node.cri.sh(name, "main", script).trim().to_owned();
    assert_eq!(sh("user", "id -u; id -g; id -G"), "1000\n2000\n2000 3000");
    assert_eq!(sh("user-over", "id -u"), "1234");
    let effective = |name: &str| sh(name, "grep CapEff /proc/1/status").replace(['\t', ' '], "");
    assert_eq!(effective("no-caps"), "CapEff:0000000000000000");
    assert_eq!(effective("one-cap"), "CapEff:0000000000000001");
    let (said, code) = node.cri.sh_any("read-only", "main", "touch /tmp/x");
    assert!(code != 0 && said.contains("Read-only file system"), "{code} {said}");
    assert_eq!(sh("no-new", "grep NoNewPrivs /proc/1/status"), "NoNewPrivs:\t1");
    assert_eq!(sh("user", "grep NoNewPrivs /proc/1/status"), "NoNewPrivs:\t0");
    assert_eq!(sh("shared-pids", "ps -o args | grep -c 'sleep 100000$'"), "2");
    for (name, says) in [
        ("root-refused", "container has runAsNonRoot and image will run as root"),
        ("root-asked", "container's runAsUser breaks non-root policy"),
    ] {
        let refused = node.waiting(name, "CreateContainerConfigError");
        let message = refused["state"]["waiting"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
        assert!(node.cri.containers(name).iter().all(|c| c.state != ContainerState::Running));
    }
}

#[test]
fn init_containers_and_sidecars_keep_their_order() {
    let mut node = Node::started();
    let kept = tempfile::tempdir().unwrap();
    let volumes = json!([{ "name": "kept", "hostPath": { "path": kept.path() } }]);
    let mounts = json!({ "volumeMounts": [{ "name": "kept", "mountPath": "/kept" }] });
    let step = |name: &str, script: &str| with(shell(name, script), mounts.clone());
    let serving = |name: &str| {
        format!(
            "echo {name} >> /kept/order; trap 'echo stop-{name} >> /kept/order; exit 0' TERM; sleep 100000 & wait"
        )
    };
    let init = json!([
        step("first", "sleep 1; echo first >> /kept/order"),
        with(step("proxy", &serving("proxy")), json!({ "restartPolicy": "Always" })),
        with(step("agent", &serving("agent")), json!({ "restartPolicy": "Always" })),
        // It waits for a word from outside, so that the state in between can be looked at.
        step("second", "while ! test -e /kept/go; do sleep 0.1; done; echo second >> /kept/order"),
    ]);
    let spec = json!({
        "terminationGracePeriodSeconds": 10, "initContainers": init, "containers": [step("main", &serving("main"))],
        "volumes": volumes,
    });
    node.put(&pod("steps", spec));
    let order = || fs::read_to_string(kept.path().join("order")).unwrap_or_default();
    eventually("the sidecars to run", SOON, || if order().contains("agent") { Ok(()) } else { Err(order()) });
    let pod = node.until("steps", "initializing", SOON, |pod| {
        status::containers(pod).iter().any(|c| c["name"] == "second" && c["state"]["running"].is_object())
    });
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(status::conditions(&pod)["Initialized"].0, "False");
    assert_eq!(status::container(&pod, "main")["state"]["waiting"]["reason"], "PodInitializing");
    fs::write(kept.path().join("go"), "").unwrap();
    let pod = node.ready("steps");
    assert_eq!(status::conditions(&pod)["Initialized"].0, "True");
    assert_eq!(status::container(&pod, "first")["state"]["terminated"]["reason"], "Completed");
    assert_eq!(status::container(&pod, "proxy")["started"], true);
    eventually("main to run", SOON, || if order().contains("main") { Ok(()) } else { Err(order()) });
    assert_eq!(order(), "first\nproxy\nagent\nsecond\nmain\n");
    node.take("steps");
    node.gone("steps");
    assert_eq!(order(), "first\nproxy\nagent\nsecond\nmain\nstop-main\nstop-agent\nstop-proxy\n");
}

#[test]
fn a_failing_init_container_keeps_the_pod_from_starting() {
    let mut node = Node::started();
    let spec = |policy: &str| {
        json!({
            "restartPolicy": policy, "initContainers": [shell("init", "exit 9")], "containers": [shell("main", IDLE)],
        })
    };
    node.put(&pod("init-never", spec("Never")));
    node.put(&pod("init-always", spec("Always")));
    let failed = node.phase("init-never", "Failed");
    assert_eq!(status::container(&failed, "init")["state"]["terminated"]["exitCode"], 9);
    let waiting = node.until("init-always", "in back-off", SOON, |pod| {
        status::waiting(pod)
            .iter()
            .any(|text| text.starts_with("CrashLoopBackOff: back-off 10s restarting failed container=init"))
    });
    assert_eq!(waiting["status"]["phase"], "Pending");
    for name in ["init-never", "init-always"] {
        assert!(node.cri.containers(name).iter().all(|c| c.name == "init"), "{name}");
    }
}
