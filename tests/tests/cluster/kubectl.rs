//! What people do with kubectl: every verb that reaches the node through the API server, and what controllers make of the node.

use std::process::{Command, Stdio};

use lab::agent::is_ready;
use lab::cluster::NODE;
use lab::{Cluster, http, images};
use serde_json::{Value, json};
use tests::cli::Following;
use tests::cluster::{apply, running, until};
use tests::{LATER, SOON, eventually, manifest, status};

fn kubectl(cluster: &Cluster, args: &[&str]) -> Command {
    let plane = cluster.plane();
    let mut command = plane.kubectl_command(plane.admin_kubeconfig(), args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// kubectl in a terminal of its own.
fn in_terminal(cluster: &Cluster, args: &[&str]) -> Following {
    let inner = kubectl(cluster, args);
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let quoted: Vec<String> =
        words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))).collect();
    let inside = format!("stty rows 33 cols 111; exec {}", quoted.join(" "));
    let mut command = Command::new("script");
    command.args(["-qefc", &inside, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    Following::start(command)
}

/// A pod that the scheduler binds.
fn plain(mut pod: Value) -> Value {
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    pod
}

#[test]
fn every_verb_reaches_the_pod_and_controllers_find_a_node() {
    let mut cluster = running();
    verbs_reach_the_pod(&cluster);
    controllers_find_a_node(&cluster);
    drain_waits_for_budgets(&cluster);
    the_api_server_restarts_and_follows_go_on(&mut cluster);
    cluster.close().unwrap();
}

fn verbs_reach_the_pod(cluster: &Cluster) {
    let plane = cluster.plane();
    let script = format!(
        "mkdir /www; echo page > /www/index.html; httpd -p 8080 -h /www; echo begun; {}",
        manifest::IDLE
    );
    let mut reader = manifest::shell("reader", "while read line; do echo \"read $line\"; done");
    reader["stdin"] = json!(true);
    let pod = manifest::pod("web", json!({ "containers": [manifest::shell("main", &script), reader] }));
    apply(plane, "web", &plain(pod));
    let ready = until(plane, "web", "ready", is_ready);
    assert_eq!(ready["spec"]["nodeName"], NODE);

    // logs -f ends with its reader, and shows what comes.
    let mut logs = Following::start(kubectl(cluster, &["logs", "-f", "web", "-c", "main"]));
    logs.until("begun", SOON);
    let say = [
        "exec",
        "web",
        "-c",
        "main",
        "--",
        "sh",
        "-c",
        "echo more > /proc/1/fd/1; echo seen; echo bad >&2; exit 3",
    ];
    let said = kubectl(cluster, &say).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(3), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout), "seen\n");
    assert!(String::from_utf8_lossy(&said.stderr).contains("bad"));
    logs.until("more", SOON);
    drop(logs);
    let previous = plane.kubectl(&["logs", "web", "-c", "main", "--previous"]);
    assert!(previous.unwrap_err().to_string().contains("not found"), "there was no container before");

    let mut cat =
        Following::start(kubectl(cluster, &["exec", "-i", "web", "-c", "main", "--", "head", "-n1"]));
    cat.send("typed\n");
    cat.until("typed", SOON);
    assert_eq!(cat.end(), 0);
    let mut shell = in_terminal(cluster, &["exec", "-it", "web", "-c", "main", "--", "sh"]);
    // kubectl tells the size beside what is typed, and a person does not type before there is a prompt.
    shell.send("until stty size | grep -q 111; do sleep 0.1; done; stty size; tty; exit 7\n");
    let seen = shell.until("/dev/pts/", SOON);
    assert!(seen.contains("33 111"), "{seen:?}");
    assert_eq!(shell.end(), 7);

    let mut attach = Following::start(kubectl(cluster, &["attach", "-i", "web", "-c", "reader"]));
    attach.send("this\n");
    attach.until("read this", SOON);
    drop(attach);

    let file = plane.dir().join("there.txt");
    std::fs::write(&file, "there and back").unwrap();
    let back = plane.dir().join("back.txt");
    plane.kubectl(&["cp", &file.display().to_string(), "web:/www/there.txt", "-c", "main"]).unwrap();
    plane.kubectl(&["cp", "web:/www/there.txt", &back.display().to_string(), "-c", "main"]).unwrap();
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "there and back");

    let mut forward = Following::start(kubectl(cluster, &["port-forward", "web", ":8080"]));
    let line = forward.until(" -> 8080", SOON);
    let address =
        line.split("Forwarding from ").nth(1).and_then(|rest| rest.split(" -> ").next()).unwrap().to_owned();
    for _ in 0..2 {
        assert_eq!(http::get(&address, "/index.html").unwrap().body, "page\n");
    }
    drop(forward);

    // A container beside the others, which sees the processes of one of them.
    let image = format!("--image={}", images::BUSYBOX);
    let args =
        ["debug", "web", &image, "--target=main", "-c", "looker", "--profile=general", "--", "sh", "-c"];
    let args: Vec<&str> =
        args.into_iter().chain(["grep -al httpd /proc/[0-9]*/cmdline && echo found; sleep 1000"]).collect();
    plane.kubectl(&args).unwrap();
    eventually("the debug container to see the others", LATER, || {
        let said = plane.kubectl(&["logs", "web", "-c", "looker"]).map_err(|error| format!("{error:#}"))?;
        if said.contains("found") { Ok(()) } else { Err(said) }
    });
    let health = plane.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{NODE}/proxy/healthz")]).unwrap();
    assert_eq!(health, "ok");
    plane.kubectl(&["delete", "pod", "web", "--timeout=60s"]).unwrap();
}

fn template(labels: &Value) -> Value {
    let mut spec = plain(manifest::idle("x"))["spec"].clone();
    spec["terminationGracePeriodSeconds"] = json!(1);
    json!({ "metadata": { "labels": labels }, "spec": spec })
}

fn controllers_find_a_node(cluster: &Cluster) {
    let plane = cluster.plane();
    let labels = json!({ "app": "set" });
    let set = |kind: &str, more: Value| {
        let spec = manifest::with(
            json!({ "selector": { "matchLabels": { "kind": kind } }, "template": template(&json!({ "kind": kind })) }),
            more,
        );
        json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": kind.to_lowercase(), "labels": labels }, "spec": spec })
    };
    apply(plane, "daemons", &set("DaemonSet", json!({})));
    apply(plane, "stateful", &set("StatefulSet", json!({ "replicas": 2, "serviceName": "none" })));
    apply(plane, "deployment", &set("Deployment", json!({ "replicas": 3 })));
    for object in ["daemonset/daemonset", "statefulset/statefulset", "deployment/deployment"] {
        plane.kubectl(&["rollout", "status", object, "--timeout=120s"]).unwrap();
    }
    // A changed template rolls through, one by one and in order for the stateful set.
    for kind in ["deployment", "statefulset"] {
        let object = format!("{kind}/{kind}");
        plane.kubectl(&["set", "env", &object, "ROUND=2"]).unwrap();
        plane.kubectl(&["rollout", "status", &object, "--timeout=180s"]).unwrap();
    }
    let names = plane
        .kubectl(&["get", "pods", "-l=kind=StatefulSet", "-o=jsonpath={.items[*].metadata.name}"])
        .unwrap();
    assert_eq!(names, "statefulset-0 statefulset-1");
}

/// The eviction API and `kubectl drain` end pods as far as their budgets let them; daemons stay.
fn drain_waits_for_budgets(cluster: &Cluster) {
    let plane = cluster.plane();
    apply(
        plane,
        "budget",
        &json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "keep" },
            "spec": { "minAvailable": 2, "selector": { "matchLabels": { "kind": "StatefulSet" } } },
        }),
    );
    let drain = |limit: &str| plane.kubectl(&["drain", NODE, "--ignore-daemonsets", limit]);
    let refused = drain("--timeout=15s").unwrap_err();
    assert!(format!("{refused:#}").contains("disruption budget"), "{refused:#}");
    plane.kubectl(&["delete", "pdb", "keep"]).unwrap();
    drain("--timeout=120s").unwrap();
    let left = plane.kubectl(&[
        "get",
        "pods",
        &format!("--field-selector=spec.nodeName={NODE}"),
        "-o=jsonpath={.items[*].metadata.labels.kind}",
    ]);
    assert_eq!(left.unwrap(), "DaemonSet");
    plane.kubectl(&["uncordon", NODE]).unwrap();
    plane.kubectl(&["rollout", "status", "statefulset/statefulset", "--timeout=120s"]).unwrap();
    plane
        .kubectl(&[
            "delete",
            "daemonset,statefulset,deployment",
            "-l=app=set",
            "--cascade=foreground",
            "--timeout=120s",
        ])
        .unwrap();
}

/// The API server is another process afterwards: what the node follows goes on by itself.
fn the_api_server_restarts_and_follows_go_on(cluster: &mut Cluster) {
    cluster.plane_mut().stop_api_server().unwrap();
    cluster.plane_mut().start_api_server().unwrap();
    let plane = cluster.plane();
    apply(plane, "after", &plain(manifest::idle("after")));
    let ready = until(plane, "after", "ready", is_ready);
    assert_eq!(status::restarts(&ready), 0);
    plane.kubectl(&["delete", "pod", "after", "--timeout=60s"]).unwrap();
}
