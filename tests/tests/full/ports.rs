//! What the ports answer: 10248, 10250 and 10255.

use std::path::Path;

use lab::images;
use serde_json::{Value, json};
use tests::{
    Node,
    https::{self, Authority},
    manifest, status,
};

fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body:?}"))
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_example_serves_its_page_and_every_port_shows_it() {
    let mut node = Node::prepared();
    node.agent.put_manifest("web.yaml", &example("web.yaml")).unwrap();
    node.start();
    let pod = node.ready("web");
    let ip = status::ip(&pod);
    assert_eq!(node.page(&format!("{ip}:8080")), images::PAGE);
    assert_eq!(node.page("127.0.0.1:18080"), images::PAGE);
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["qosClass"], "Burstable");
    assert_eq!(pod["status"]["podIPs"], json!([{ "ip": ip }]));
    assert!(
        pod["status"]["hostIP"].is_string() && pod["status"]["startTime"].is_string(),
        "{}",
        pod["status"]
    );
    let conditions = status::conditions(&pod);
    for name in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(conditions.get(name).map(|(status, _)| status.as_str()), Some("True"), "{name}");
    }
    assert!(status::only(&pod)["imageID"].as_str().unwrap().starts_with("sha256:"), "{pod}");
    node.agent.put_manifest("two.yaml", &example("two.yaml")).unwrap();
    node.ready("two");

    read_only_port(&node);
    secure_port(&node);
    for path in ["/healthz", "/healthz/ping"] {
        let health = node.agent.healthz(path).unwrap();
        assert_eq!((health.status, health.body.as_str()), (200, "ok"), "{path}");
    }
    assert_eq!(node.agent.healthz("/pods").unwrap().status, 404);
}

fn read_only_port(node: &Node) {
    let get = |path: &str| node.agent.read_only(path).unwrap();
    let mut shown = names(&json(&get("/pods").body));
    shown.sort();
    assert_eq!(shown, ["two-podwright-lab", "web-podwright-lab"]);
    assert_eq!(get("/healthz").body, "ok");
    let machine = json(&get("/spec/").body);
    assert!(
        machine["num_cores"].as_u64() > Some(0) && machine["memory_capacity"].as_u64() > Some(0),
        "{machine}"
    );
    let metrics = get("/metrics").body;
    for name in ["kubelet_runtime_operations_total{", "kubelet_running_pods", "kubelet_running_containers"] {
        assert!(metrics.contains(name), "no {name} in /metrics");
    }
    assert_eq!(get("/containerLogs/default/web-podwright-lab/server").status, 405);
}

fn secure_port(node: &Node) {
    let get = |path: &str| https::get(node.agent.ports().secure, path, None);
    assert_eq!(get("/healthz"), (200, "ok".to_owned()));
    assert_eq!(names(&json(&get("/pods").1)).len(), 2);
    let mut running = names(&json(&get("/runningpods/").1));
    running.sort();
    assert_eq!(running, ["two-podwright-lab", "web-podwright-lab"]);
    let config = json(&get("/configz").1);
    assert_eq!(config["kubeletconfig"]["readOnlyPort"], node.agent.ports().read_only);
    assert_eq!(config["kubeletconfig"]["kind"], "KubeletConfiguration");
    assert!(get("/metrics").1.contains("kubelet_runtime_operations_total{"));
    let logs = |query: &str| get(&format!("/containerLogs/default/two-podwright-lab/reader{query}"));
    tests::eventually("the reader's log to have three lines", tests::SOON, || match logs("") {
        (200, text) if text.lines().count() >= 3 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let (code, tail) = logs("?tailLines=2&timestamps=true");
    assert_eq!((code, tail.lines().count()), (200, 2), "{tail}");
    assert!(
        tail.lines().all(|line| line.starts_with("20") && line.split(' ').next().unwrap().ends_with('Z')),
        "{tail}"
    );
    let (code, text) = get("/containerLogs/default/nobody/reader");
    assert!(code == 404 && text.contains("nobody"), "{code} {text}");
    assert_eq!(get("/no/such/path").0, 404);
}

#[test]
fn the_secure_port_asks_who_you_are() {
    let mut node = Node::prepared();
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(folder.path()), tempfile::tempdir().unwrap());
    let stranger = Authority::new(other.path()).sign("admin");
    node.agent.config["authentication"]["anonymous"]["enabled"] = json!(false);
    node.agent.config["authentication"]["x509"] = json!({ "clientCAFile": ours.file() });
    node.put(&manifest::idle("secret"));
    node.start();
    node.ready("secret");
    let port = node.agent.ports().secure;
    for path in ["/pods", "/healthz", "/metrics", "/configz", "/runningpods/"] {
        let (code, body) = https::get(port, path, None);
        assert!(code == 401 && body.contains("Unauthorized"), "{path}: {code} {body}");
        assert_eq!(
            https::get(port, path, Some(&stranger)).0,
            401,
            "{path} for a certificate of another authority"
        );
        assert_eq!(https::get(port, path, Some(&ours.sign("admin"))).0, 200, "{path}");
    }
    let (_, list) = https::get(port, "/pods", Some(&ours.sign("admin")));
    assert_eq!(names(&json(&list)), ["secret-podwright-lab"]);
}
