//! Where variables and names come from, and what becomes of too much of either.

use serde_json::{Value, json};
use tests::{
    Node,
    manifest::{IDLE, pod, shell, with},
    status,
};

fn from_file(name: &str, path: &str, key: &str, optional: bool) -> Value {
    let reference = json!({ "volumeName": "shared", "path": path, "key": key, "optional": optional });
    json!({ "name": name, "valueFrom": { "fileKeyRef": reference } })
}

/// A pod whose init container writes env files, and whose container has these variables.
fn with_files(name: &str, writes: &str, env: Value) -> Value {
    let mounts = json!({ "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }] });
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{ "name": "shared", "emptyDir": {} }],
        "initContainers": [with(shell("write", writes), mounts)],
        "containers": [with(shell("main", IDLE), json!({ "env": env }))],
    });
    pod(name, spec)
}

#[test]
fn variables_come_from_files_of_the_pod() {
    let mut node = Node::started();
    let file = "printf '%s\\n' '# made by init' \"ONE='1 # no comment'\" \"TWO='a\" \"b' # end\" \"NONE=''\"";
    let env = json!([
        from_file("FIRST", "conf/env", "ONE", false),
        from_file("SECOND", "conf/env", "TWO", false),
        from_file("LEFT_OUT", "conf/env", "ABSENT", true),
        from_file("LINKED", "link", "ONE", false),
        { "name": "BOTH", "value": "<$(FIRST)|$(LEFT_OUT)>" },
    ]);
    // The absolute link leads where the pod means it: inside its volume.
    let writes = format!("mkdir /shared/conf; {file} > /shared/conf/env; ln -s /conf/env /shared/link");
    node.put(&with_files("told", &writes, env));
    let secret = "ln -s ../../../../../../../../../../etc/hostname /shared/env";
    node.put(&with_files("curious", secret, json!([from_file("A", "env", "A", true)])));
    node.put(&with_files(
        "keyless",
        &format!("{file} > /shared/env"),
        json!([from_file("A", "env", "A", false)]),
    ));
    node.put(&with_files(
        "broken",
        "echo 'A=\"1\"' > /shared/env",
        json!([from_file("A", "env", "A", true)]),
    ));
    node.put(&with_files("pipe", "mkfifo /shared/env", json!([from_file("A", "env", "A", true)])));
    let on_disk = json!([{ "name": "shared", "hostPath": { "path": "/tmp" } }]);
    let mut wrong = with_files("wrong", "true", json!([from_file("A", "env", "A", true)]));
    wrong["spec"]["volumes"] = on_disk;
    node.put(&wrong);

    node.ready("told");
    let text = node.cri.sh("told", "main", "tr '\\0' '|' < /proc/1/environ");
    for found in [
        "|FIRST=1 # no comment|",
        "|SECOND=a\nb|",
        "|LINKED=1 # no comment|",
        "|BOTH=<1 # no comment|$(LEFT_OUT)>|",
    ] {
        assert!(text.contains(found), "{found} in {text}");
    }
    assert!(!text.contains("LEFT_OUT="), "{text}");
    let message = |node: &mut Node, name: &str| {
        let waiting = node.waiting(name, "CreateContainerConfigError");
        waiting["state"]["waiting"]["message"].as_str().unwrap().to_owned()
    };
    let keyless = message(&mut node, "keyless");
    assert!(keyless.starts_with("environment variable key \"A\" not found in file \"/"), "{keyless}");
    for name in ["broken", "pipe", "curious"] {
        assert_eq!(message(&mut node, name), "couldn't parse env file", "{name}");
    }
    node.logged(0, &["line 1: value must be enclosed in single quotes"]);
    node.logged(
        0,
        &[
            "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName",
            "referenced volume must be of type emptyDir",
        ],
    );
}

#[test]
fn much_is_carried_and_too_much_is_named() {
    let mut node = Node::started();
    let many: Vec<Value> = (0..10_000)
        .map(|n| json!({ "name": format!("V{n}"), "value": format!("value {n} $(V0)") }))
        .collect();
    let main = |env: Value| json!([with(shell("main", IDLE), json!({ "env": env }))]);
    node.put(&pod("many", json!({ "containers": main(json!(many)) })));
    node.put(&pod(
        "large",
        json!({ "containers": main(json!([{ "name": "LARGE", "value": "x".repeat(120_000) }])) }),
    ));
    let mut doubled = vec![json!({ "name": "V0", "value": "x".repeat(1024) })];
    doubled.extend(
        (1..40).map(|n| json!({ "name": format!("V{n}"), "value": format!("$(V{0})$(V{0})", n - 1) })),
    );
    node.put(&pod("endless", json!({ "containers": main(json!(doubled)) })));
    node.put(&pod("after", json!({ "containers": main(json!([])) })));
    node.ready("after");
    node.ready("many");
    node.ready("large");
    assert_eq!(
        node.cri.sh("many", "main", "tr '\\0' '\\n' < /proc/1/environ | grep -c '^V.*value 0 $(V0)$'").trim(),
        "10000"
    );
    assert_eq!(
        node.cri.sh("large", "main", "tr '\\0' '\\n' < /proc/1/environ | grep ^LARGE= | wc -c").trim(),
        "120007"
    );
    let endless = node.waiting("endless", "CreateContainerConfigError");
    let message = endless["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("variable V12: ") && message.contains("longer than 6291456 bytes"), "{message}");
}

#[test]
fn names_and_resolvers_have_limits() {
    let mut node = Node::prepared();
    node.agent.config["clusterDomain"] = json!("cluster.local");
    node.agent.config["clusterDNS"] = json!(["10.96.0.10"]);
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    let of_host: Vec<String> = (0..30).map(|n| format!("h{n}.example.org")).collect();
    std::fs::write(&resolv_conf, format!("search {}\n", of_host.join(" "))).unwrap();
    node.agent.config["resolvConf"] = json!(resolv_conf);
    node.start();
    let idle = || json!([shell("main", IDLE)]);
    node.put(&pod(
        "full",
        json!({ "containers": idle(), "hostname": "web", "subdomain": "shop", "setHostnameAsFQDN": true }),
    ));
    node.put(&pod("renamed", json!({ "containers": idle(), "hostnameOverride": "own.example.org" })));
    let long = "a".repeat(50);
    node.put(&pod(
        "long",
        json!({ "containers": idle(), "hostname": long, "subdomain": "shop", "setHostnameAsFQDN": true }),
    ));
    let searches: Vec<String> = (0..30).map(|n| format!("s{n}.example.org")).collect();
    let dns = json!({ "nameservers": ["10.9.9.1", "10.9.9.2", "10.9.9.3"], "searches": searches, "options": [{ "name": "ndots", "value": "2" }] });
    node.put(&pod("crowded", json!({ "containers": idle(), "dnsConfig": dns })));
    for name in ["full", "renamed", "crowded"] {
        node.ready(name);
    }
    let sh = |name: &str, script: &str| node.cri.sh(name, "main", script);
    assert_eq!(sh("full", "hostname").trim(), "web.shop.default.svc.cluster.local");
    let ip = status::ip(&node.pod("full"));
    assert!(
        sh("full", "cat /etc/hosts").contains(&format!("\n{ip}\tweb.shop.default.svc.cluster.local\tweb\n"))
    );
    assert_eq!(sh("renamed", "hostname").trim(), "own.example.org");
    let ip = status::ip(&node.pod("renamed"));
    assert!(sh("renamed", "cat /etc/hosts").contains(&format!("\n{ip}\town.example.org\n")));
    let conf = sh("crowded", "cat /etc/resolv.conf");
    let lines = |start: &str| {
        conf.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines("nameserver"), ["nameserver 10.96.0.10", "nameserver 10.9.9.1", "nameserver 10.9.9.2"]);
    let search = lines("search");
    assert_eq!(search[0].split_whitespace().count(), 1 + 32);
    assert!(
        search[0].starts_with("search default.svc.cluster.local svc.cluster.local cluster.local "),
        "{conf}"
    );
    assert_eq!(lines("options"), ["options ndots:2"]);
    let of_node = node.podwright().run(&["events"]).all();
    assert!(of_node.contains("CheckLimitsForResolvConf"), "{of_node}");
    assert!(of_node.contains("contains search line consisting of more than 29 domains!"), "{of_node}");
    let why = node.podwright().run(&["why", "crowded"]).all();
    assert!(why.contains("DNSConfigForming"), "{why}");
    node.logged(
        0,
        &[
            "failed to construct FQDN from pod hostname and cluster domain",
            "(64 characters is the max, 81 characters requested)",
        ],
    );
    assert!(node.cri.sandboxes("long").is_empty());
}
