//! Probes of real containers: readiness, liveness and startup, by command, HTTP, TCP and gRPC.

use serde_json::{Value, json};
use tests::{
    Node, SOON, eventually,
    manifest::{IDLE, pod, shell, with},
    status,
};

fn ready(pod: &Value) -> String {
    status::conditions(pod)["Ready"].0.clone()
}

fn probed(name: &str, script: &str, probes: Value) -> Value {
    pod(name, json!({ "containers": [with(shell("main", script), probes)] }))
}

#[test]
fn readiness_by_command_and_http_follows_the_container() {
    let mut node = Node::started();
    let exec =
        json!({ "exec": { "command": ["cat", "/tmp/ready"] }, "periodSeconds": 1, "failureThreshold": 1 });
    node.put(&probed("by-exec", IDLE, json!({ "readinessProbe": exec })));
    let http = json!({ "httpGet": { "port": "web", "path": "/ok.html" }, "periodSeconds": 1, "failureThreshold": 1 });
    let ports = json!([{ "name": "web", "containerPort": 8080 }]);
    let serve = "mkdir -p /tmp/www; httpd -p 8080 -h /tmp/www; sleep 100000 & wait";
    node.put(&probed("by-http", serve, json!({ "readinessProbe": http, "ports": ports })));
    let tcp = json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1 });
    node.put(&probed("by-tcp", serve, json!({ "readinessProbe": tcp })));
    for name in ["by-exec", "by-http"] {
        let pod = node.until(name, "running and not ready", SOON, |pod| {
            pod["status"]["phase"] == "Running" && status::only(pod)["started"] == true
        });
        assert_eq!((ready(&pod).as_str(), &status::only(&pod)["ready"]), ("False", &json!(false)));
    }
    node.ready("by-tcp");
    node.cri.sh("by-exec", "main", "touch /tmp/ready");
    node.cri.sh("by-http", "main", "echo hello > /tmp/www/ok.html");
    for name in ["by-exec", "by-http"] {
        node.ready(name);
    }
    node.crash();
    for name in ["by-exec", "by-http", "by-tcp"] {
        assert_eq!(status::only(&node.ready(name))["restartCount"], 0);
    }
    node.cri.sh("by-exec", "main", "rm /tmp/ready");
    node.cri.sh("by-http", "main", "rm /tmp/www/ok.html");
    for name in ["by-exec", "by-http"] {
        let pod = node.until(name, "not ready any more", SOON, |pod| ready(pod) == "False");
        assert_eq!(status::restarts(&pod), 0);
    }
}

#[test]
fn a_failed_liveness_probe_restarts_and_a_startup_probe_holds_it_back() {
    let mut node = Node::started();
    let exec = |test: &str| json!({ "exec": { "command": ["sh", "-c", test] }, "periodSeconds": 1, "failureThreshold": 1 });
    node.put(&probed("lively", IDLE, json!({ "livenessProbe": exec("! test -e /tmp/sick") })));
    let startup = with(exec("test -e /tmp/started"), json!({ "failureThreshold": 1000 }));
    let slow = json!({ "startupProbe": startup, "livenessProbe": exec("test -e /tmp/started") });
    node.put(&probed("slow", IDLE, slow));
    let before = status::id(&status::only(&node.ready("lively")));
    node.cri.sh("lively", "main", "touch /tmp/sick");
    let after = node.until("lively", "restarted", SOON, |pod| {
        status::restarts(pod) == 1 && status::only(pod)["state"]["running"].is_object()
    });
    assert_ne!(status::id(&status::only(&after)), before);
    let slow = node.until("slow", "running", SOON, |pod| pod["status"]["phase"] == "Running");
    let main = status::only(&slow);
    assert_eq!((&main["started"], status::restarts(&slow)), (&json!(false), 0));
    node.cri.sh("slow", "main", "touch /tmp/started");
    let slow = node.ready("slow");
    assert_eq!((&status::only(&slow)["started"], status::restarts(&slow)), (&json!(true), 0));
    sidecar(&mut node, &exec);
}

#[test]
fn probes_speak_http_2_and_tls_where_their_gates_are_on() {
    let mut node = Node::prepared();
    node.agent.config["featureGates"] = json!({ "H2CContainerProbe": true, "GRPCContainerProbeTLS": true });
    node.start();
    // A connection whose probe was too late to say anything is followed by others.
    let hears = "exec nc -ll -p 8080 -e sh -c 'cat >> /tmp/heard'";
    let get = json!({ "port": 8080, "scheme": "HTTP", "protocol": "HTTP2" });
    let probe = |action: Value| json!({ "readinessProbe": with(action, json!({ "periodSeconds": 1 })) });
    node.put(&probed("http-2", hears, probe(json!({ "httpGet": get }))));
    node.put(&probed("grpc-tls", hears, probe(json!({ "grpc": { "port": 8080, "mode": "TLS" } }))));
    // The first words of HTTP/2, and the type and version of a TLS record.
    for (name, words) in [("http-2", "5052 4920 2a20"), ("grpc-tls", "1603")] {
        node.until(name, "running", SOON, |pod| {
            status::containers(pod).iter().any(|container| !container["state"]["running"].is_null())
        });
        eventually(&format!("{name} to hear its probe"), SOON, || {
            let heard = node.cri.sh(name, "main", "hexdump -e '2/1 \"%02x\" \" \"' /tmp/heard | head -n 1");
            if heard.starts_with(words) { Ok(()) } else { Err(heard) }
        });
    }
}

/// The startup probe of a sidecar holds back what follows it, its liveness probe restarts it alone, and its readiness counts for
/// the pod.
fn sidecar(node: &mut Node, exec: &dyn Fn(&str) -> Value) {
    let side = with(
        shell("side", IDLE),
        json!({
            "restartPolicy": "Always",
            "startupProbe": with(exec("test -e /shared/started"), json!({ "failureThreshold": 1000 })),
            "livenessProbe": exec("! test -e /shared/sick"),
            "readinessProbe": exec("test -e /shared/ready"),
            "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }],
        }),
    );
    let spec = json!({
        "initContainers": [side], "containers": [shell("main", IDLE)], "volumes": [{ "name": "shared", "emptyDir": {} }],
    });
    node.put(&pod("escorted", spec));
    let side = |pod: &Value| pod["status"]["initContainerStatuses"][0].clone();
    let pod =
        node.until("escorted", "its sidecar to run", SOON, |pod| side(pod)["state"]["running"].is_object());
    assert_eq!((&side(&pod)["started"], &side(&pod)["ready"]), (&json!(false), &json!(false)));
    assert!(node.cri.containers("escorted").iter().all(|container| container.name == "side"));
    node.cri.sh("escorted", "side", "touch /shared/started");
    let pod = node.until("escorted", "its main container to run", SOON, |pod| {
        pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
    });
    assert_eq!((ready(&pod).as_str(), &side(&pod)["started"]), ("False", &json!(true)));
    node.cri.sh("escorted", "side", "touch /shared/ready");
    node.ready("escorted");
    node.cri.sh("escorted", "side", "touch /shared/sick");
    let pod =
        node.until("escorted", "its sidecar to be restarted", SOON, |pod| side(pod)["restartCount"] != 0);
    assert_eq!(status::container(&pod, "main")["restartCount"], 0);
}

/// Keeps a processor busy until it is dropped.
struct Busy(std::process::Child);

impl Busy {
    fn new() -> Self {
        let spin = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        Self(spin.unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs so far by result, of all probes.
fn runs(node: &Node) -> std::collections::BTreeMap<String, u64> {
    let text = node.agent.read_only("/metrics/probes").unwrap().body;
    let mut runs = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("prober_probe_total{")) {
        let result = line.split("result=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap();
        *runs.entry(result.to_owned()).or_default() += count;
    }
    runs
}

/// How many pods, and for how many seconds: few and short, or as `PODWRIGHT_PROBES_UNDER_LOAD=100,600` asks for.
fn scale() -> (usize, u64) {
    let asked = std::env::var("PODWRIGHT_PROBES_UNDER_LOAD").unwrap_or_default();
    let numbers = asked.split_once(',').map(|(pods, secs)| (pods.parse().unwrap(), secs.parse().unwrap()));
    numbers.unwrap_or((8, 20))
}

#[test]
fn probes_under_load_tell_no_false_failure_and_are_counted() {
    let (pods, secs) = scale();
    let mut node = Node::started();
    let probe = json!({ "httpGet": { "port": 8080, "path": "/ok.html" }, "periodSeconds": 1 });
    let both = json!({ "livenessProbe": probe, "readinessProbe": probe });
    let serve = "mkdir -p /tmp/www; echo ok > /tmp/www/ok.html; exec httpd -f -p 8080 -h /tmp/www";
    let names: Vec<String> = (0..pods).map(|number| format!("served-{number}")).collect();
    for name in &names {
        node.put(&probed(name, serve, both.clone()));
    }
    let ids: Vec<String> = names.iter().map(|name| status::id(&status::only(&node.ready(name)))).collect();
    let since: Vec<String> =
        names.iter().map(|name| status::conditions(&node.pod(name))["Ready"].1.clone()).collect();
    let busy: Vec<Busy> = std::iter::repeat_with(Busy::new).take(2).collect();
    let before = runs(&node);
    lab::wait::let_pass(std::time::Duration::from_secs(secs));
    let after = runs(&node);
    drop(busy);
    let made = |result: &str| after.get(result).unwrap_or(&0) - before.get(result).unwrap_or(&0);
    let (well, failed, passed_over) = (made("successful"), made("failed"), made("unknown"));
    println!(
        "{pods} pods, {secs} s with both processors busy: {well} probes well, {failed} failed, {passed_over} passed over"
    );
    for ((name, id), since) in names.iter().zip(ids).zip(since) {
        let pod = node.pod(name);
        assert_eq!(
            (status::id(&status::only(&pod)), ready(&pod).as_str()),
            (id, "True"),
            "{name} was restarted"
        );
        assert_eq!(status::conditions(&pod)["Ready"].1, since, "{name} was ready all the time");
    }
    assert!(well > secs * pods as u64, "more than one of two probes of each second was carried out");

    let text = node.agent.read_only("/metrics/probes").unwrap().body;
    for part in [
        "# TYPE prober_probe_total counter",
        "prober_probe_total{probe_type=\"Liveness\",result=\"successful\",container=\"main\",pod=\"served-0-",
        "prober_probe_duration_seconds_bucket{probe_type=\"Readiness\",container=\"main\",pod=\"served-0-",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!node.agent.read_only("/metrics").unwrap().body.contains("prober_probe_total"));
    node.take("served-0");
    node.gone("served-0");
    tests::eventually_true("the counts of a gone pod to go", SOON, || {
        !node.agent.read_only("/metrics/probes").unwrap().body.contains("pod=\"served-0-")
    });
}
