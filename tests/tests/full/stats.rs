//! What the node says that its pods use, against what the kernel says.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lab::wait::Stopwatch;
use serde_json::{Value, json};
use tests::{
    Node, Podwright, SOON, cgroup, eventually_true, https,
    hung_mount::HungMount,
    manifest::{IDLE, pod, shell, with},
    node::full_name,
    prometheus::{self, Page},
    status,
};

const MIB: u64 = 1 << 20;

/// Longer than the agent takes to say that a volume hangs.
const HANGS: Duration = Duration::from_secs(17);

/// Uses processor time, memory, its layer, its volume and its log, and then rests.
const LOAD: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; \
    dd if=/dev/zero of=/data/file bs=1M count=5 2>/dev/null; dd if=/dev/zero of=/layer bs=1M count=3 2>/dev/null; \
    dd if=/dev/zero of=/data/direct bs=1M count=2 oflag=direct 2>/dev/null; rm -f /data/direct; \
    x=$(head -c 12000000 /dev/zero | tr '\\0' x); sync; echo done; ";

fn number(dir: &Path, file: &str) -> u64 {
    fs::read_to_string(dir.join(file)).unwrap().trim().parse().unwrap()
}

/// The number of a name in a file of names and numbers.
fn named(dir: &Path, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(dir.join(file)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

struct Kernel<'a> {
    node: &'a Node,
    path: String,
}

impl Kernel<'_> {
    fn cpu_nanos(&self) -> u64 {
        let dir = |controller| cgroup::dir(&self.node.instance, controller, &self.path);
        match dir("cpuacct").join("cpuacct.usage").exists() {
            true => number(&dir("cpuacct"), "cpuacct.usage"),
            false => named(&dir("cpu"), "cpu.stat", "usage_usec") * 1000,
        }
    }

    /// What the container wrote to disks, as far as the kernel knows who wrote it.
    fn written_bytes(&self) -> u64 {
        let dir = |controller| cgroup::dir(&self.node.instance, controller, &self.path);
        let of_v2 = fs::read_to_string(dir("cpu").join("io.stat"));
        let text = of_v2.unwrap_or_else(|_| {
            fs::read_to_string(dir("blkio").join("blkio.throttle.io_service_bytes_recursive")).unwrap()
        });
        let numbers = text.lines().filter(|line| !line.starts_with("7:")).flat_map(|line| {
            let v1 = line.split_once(" Write ").map(|(_, number)| number);
            v1.or_else(|| line.split_once("wbytes=").and_then(|(_, rest)| rest.split(' ').next()))
        });
        numbers.map(|number| number.trim().parse::<u64>().unwrap()).sum()
    }

    fn working_set_bytes(&self) -> u64 {
        let dir = cgroup::dir(&self.node.instance, "memory", &self.path);
        match dir.join("memory.usage_in_bytes").exists() {
            true => number(&dir, "memory.usage_in_bytes") - named(&dir, "memory.stat", "total_inactive_file"),
            false => number(&dir, "memory.current") - named(&dir, "memory.stat", "inactive_file"),
        }
    }
}

fn read(node: &Node, path: &str) -> Page {
    let reply = node.agent.read_only(path).unwrap();
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    prometheus::read(&reply.body)
}

fn summary(node: &Node, query: &str) -> Value {
    let reply = node.agent.read_only(&format!("/stats/summary{query}")).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    serde_json::from_str(&reply.body).unwrap()
}

/// The pod of the load in a summary.
fn loaded(summary: &Value) -> Value {
    let pods = summary["pods"].as_array().unwrap();
    pods.iter().find(|pod| pod["podRef"]["name"] == "load-podwright-lab").unwrap_or(&Value::Null).clone()
}

fn main_of(pod: &Value) -> Value {
    let containers = pod["containers"].as_array().cloned().unwrap_or_default();
    containers.into_iter().find(|container| container["name"] == "main").unwrap_or_default()
}

fn within_2_percent(what: &str, said: u64, kernel: u64) {
    assert!(said.abs_diff(kernel) * 50 <= kernel, "{what}: {said}, the kernel says {kernel}");
}

#[test]
fn a_known_load_is_shown_as_the_kernel_counts_it_on_every_page() {
    let mut node = Node::started();
    let main = with(
        shell("main", &format!("{LOAD}{IDLE}")),
        json!({
            "resources": { "limits": { "memory": "256Mi" } },
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        }),
    );
    let spec = json!({
        "containers": [main, shell("other", IDLE)], "volumes": [{ "name": "data", "emptyDir": {} }],
    });
    node.put(&pod("load", spec));
    let pod = node.ready("load");
    tests::eventually("the load to be done", SOON, || {
        let log = node.agent.pod_logs_dir();
        let log = log.join(format!("default_load-podwright-lab_{}/main/0.log", status::uid(&pod)));
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.contains("done") { Ok(()) } else { Err(text) }
    });
    let class = "kubepods/burstable";
    let path = format!("{class}/pod{}/{}", status::uid(&pod), status::id(&status::container(&pod, "main")));
    let kernel = Kernel { node: &node, path };
    // The runtime measures layers every ten seconds.
    let whole = tests::eventually("the layer to be measured", SOON, || {
        let found = summary(&node, "");
        let used = main_of(&loaded(&found))["rootfs"]["usedBytes"].as_u64();
        if used >= Some(3 * MIB) { Ok(found) } else { Err(found.to_string()) }
    });
    check_kernel(&kernel, &node);
    check_storage(&whole);
    check_node(&whole, &node);
    check_metrics(&kernel, &node);
    let shown = Podwright::new(&node.agent).run(&["top", "--once"]).ok();
    let row = shown.lines().find(|line| line.contains("load-podwright-lab")).unwrap_or_default();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert!(
        cells.len() >= 5 && cells[2].ends_with('m') && cells[3].ends_with("Mi") && cells[4] == "0",
        "{shown}"
    );
    assert!(shown.starts_with("node: CPU ") && !shown.contains("CPU -"), "{shown}");
}

#[test]
fn with_its_gate_the_runtime_says_what_pods_use() {
    let mut node = Node::prepared();
    node.agent.config["featureGates"] = json!({ "PodAndContainerStatsFromCRI": true });
    node.start();
    let main = with(
        shell("main", &format!("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; {IDLE}")),
        json!({ "resources": { "limits": { "memory": "64Mi" } } }),
    );
    node.put(&pod("load", json!({ "containers": [main] })));
    node.ready("load");
    let pod = tests::eventually("the runtime to measure the pod", SOON, || {
        let pod = loaded(&summary(&node, ""));
        let used = main_of(&pod)["cpu"]["usageCoreNanoSeconds"].as_u64();
        if used > Some(50_000_000) { Ok(pod) } else { Err(pod.to_string()) }
    });
    let main = main_of(&pod);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number in {pod}"));
    let (container, whole) =
        (number(&main["memory"]["workingSetBytes"]), number(&pod["memory"]["workingSetBytes"]));
    assert!(container > 0 && whole >= container, "{pod}");
    assert!(number(&pod["network"]["rxBytes"]) > 0 || pod["network"]["interfaces"].is_array(), "{pod}");
    assert!(number(&pod["process_stats"]["process_count"]) >= 1, "{pod}");
    let labels = [("pod", "load-podwright-lab"), ("container", "main")];
    let cpu = read(&node, "/metrics/resource").one("container_cpu_usage_seconds_total", &labels).value;
    assert!(cpu > 0.05, "{cpu}");
    // Metrics of cgroups are still the kernel's.
    read(&node, "/metrics/cadvisor").one("container_spec_memory_limit_bytes", &labels);
}

fn check_kernel(kernel: &Kernel<'_>, node: &Node) {
    let before = kernel.cpu_nanos();
    let small = summary(node, "?only_cpu_and_memory=true");
    let after = kernel.cpu_nanos();
    let pod = loaded(&small);
    let main = &main_of(&pod);
    let said = main["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap();
    assert!(said > 50_000_000 && said >= before - before / 50 && said <= after, "{before} {said} {after}");
    let working_set = main["memory"]["workingSetBytes"].as_u64().unwrap();
    within_2_percent("working set", working_set, kernel.working_set_bytes());
    assert!(working_set > 12 * MIB, "{main}");
    let available = main["memory"]["availableBytes"].as_u64().unwrap();
    assert_eq!(available + working_set, 256 * MIB);
    assert!(main.get("rootfs").is_none() && pod.get("volume").is_none() && pod.get("network").is_none());
    let of_pod = pod["memory"]["workingSetBytes"].as_u64().unwrap();
    assert!(of_pod >= working_set && pod["containers"].as_array().unwrap().len() == 2, "{pod}");
}

fn check_storage(whole: &Value) {
    let pod = loaded(whole);
    let bytes = |stats: &Value| stats["usedBytes"].as_u64().unwrap_or_else(|| panic!("no use in {pod}"));
    let volume = &pod["volume"].as_array().unwrap().iter().find(|volume| volume["name"] == "data").unwrap();
    assert!((5 * MIB..5 * MIB + 65_536).contains(&bytes(volume)), "{volume}");
    assert_eq!(volume["inodesUsed"], 2);
    let main = &main_of(&pod);
    let (layer, logs) = (bytes(&main["rootfs"]), bytes(&main["logs"]));
    assert!(layer < 4 * MIB && logs > 0 && main["logs"]["inodesUsed"] == 1, "{main}");
    let sum = bytes(&pod["ephemeral-storage"]);
    assert!(sum >= bytes(volume) + layer + logs && sum < 12 * MIB, "{pod}");
    assert!(main["rootfs"]["capacityBytes"].as_u64() > main["rootfs"]["availableBytes"].as_u64());
    let network = &pod["network"];
    assert_eq!((&network["name"], &network["interfaces"][0]["name"]), (&json!("eth0"), &json!("eth0")));
    assert!(network["rxBytes"].is_u64() && network["txBytes"].is_u64(), "{network}");
    // Both containers and the sandbox; a shell may have a child.
    assert!((3..=6).contains(&pod["process_stats"]["process_count"].as_u64().unwrap()), "{pod}");
}

fn check_node(whole: &Value, node: &Node) {
    let told = &whole["node"];
    assert_eq!(told["nodeName"], "podwright-lab");
    for fs in [&told["fs"], &told["runtime"]["imageFs"], &told["runtime"]["containerFs"]] {
        assert!(fs["capacityBytes"].as_u64() > fs["availableBytes"].as_u64(), "{fs}");
        assert!(fs["inodes"].as_u64() >= fs["inodesFree"].as_u64() && fs["usedBytes"].is_u64(), "{fs}");
    }
    let memory = &told["memory"];
    let total = memory["availableBytes"].as_u64().unwrap() + memory["workingSetBytes"].as_u64().unwrap();
    let machine: Value = serde_json::from_str(&node.agent.read_only("/spec/").unwrap().body).unwrap();
    within_2_percent("memory of the machine", total, machine["memory_capacity"].as_u64().unwrap());
    let rlimit = &told["rlimit"];
    assert!(rlimit["curproc"].as_u64() > Some(0) && rlimit["maxpid"].as_u64() > rlimit["curproc"].as_u64());
    let pods = told["systemContainers"].as_array().unwrap();
    let pods = pods.iter().find(|daemons| daemons["name"] == "pods").unwrap();
    assert!(pods["memory"]["workingSetBytes"].as_u64() > Some(12 * MIB), "{pods}");
}

/// Disks, open files and file systems.
fn check_details(kernel: &Kernel<'_>, cadvisor: &Page, labels: &[(&str, &str)]) {
    let written: f64 =
        cadvisor.all("container_fs_writes_bytes_total", labels).iter().map(|sample| sample.value).sum();
    assert_eq!(written as u64, kernel.written_bytes(), "bytes that the container wrote to disks");
    let open = cadvisor.one("container_file_descriptors", labels).value;
    let sockets = cadvisor.one("container_sockets", labels).value;
    assert!(open >= 3.0 && sockets < open, "{open} open files, {sockets} of them sockets");
    let limit = cadvisor.one("container_ulimits_soft", &[labels[0], labels[2], ("ulimit", "max_open_files")]);
    assert!(limit.value > 0.0, "{limit:?}");
    let machine = [("id", "/"), ("container", "")];
    let root = rustix::fs::statvfs("/").unwrap();
    let sizes = cadvisor.all("container_fs_limit_bytes", &machine);
    let of_root = (root.f_blocks * root.f_frsize) as f64;
    assert!(sizes.iter().any(|sample| sample.value == of_root), "{of_root} in {sizes:?}");
    assert!(sizes.iter().all(|sample| !sample.labels["device"].contains("kubernetes.io")), "{sizes:?}");
}

fn check_metrics(kernel: &Kernel<'_>, node: &Node) {
    let labels = [("pod", "load-podwright-lab"), ("namespace", "default"), ("container", "main")];
    let resource = read(node, "/metrics/resource");
    let cadvisor = read(node, "/metrics/cadvisor");
    for page in [&resource, &cadvisor] {
        let cpu = page.one("container_cpu_usage_seconds_total", &labels);
        within_2_percent("processor time in ms", (cpu.value * 1000.0) as u64, kernel.cpu_nanos() / 1_000_000);
        assert!(cpu.timestamp_ms.is_some());
        let memory = page.one("container_memory_working_set_bytes", &labels);
        within_2_percent("working set", memory.value as u64, kernel.working_set_bytes());
    }
    assert_eq!(resource.one("resource_scrape_error", &[]).value, 0.0);
    for name in ["node_cpu_usage_seconds_total", "node_memory_working_set_bytes", "node_swap_usage_bytes"] {
        resource.one(name, &[]);
    }
    for name in ["pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes", "pod_swap_usage_bytes"] {
        resource.one(name, &labels[..2]);
    }
    let layer = cadvisor.one("container_fs_usage_bytes", &labels);
    assert!(layer.value >= (3 * MIB) as f64 && !layer.labels["device"].is_empty(), "{layer:?}");
    cadvisor.one("container_network_receive_bytes_total", &[labels[0], ("interface", "eth0")]);
    check_details(kernel, &cadvisor, &labels);
    assert_eq!(node.agent.read_only("/healthz").unwrap().status, 200);
    let health = read(node, "/metrics/slis");
    let check = [("name", "syncloop"), ("type", "healthz")];
    assert_eq!(health.one("kubernetes_healthcheck", &check).value, 1.0);
    for path in ["/metrics", "/metrics/probes"] {
        read(node, path);
    }
    for path in ["/stats/summary", "/metrics/resource", "/metrics/slis"] {
        assert_eq!(https::get(node.agent.ports().secure, path, None).0, 200, "{path}");
    }
}

/// One volume of a pod, as the summary has it.
fn volume_of<'a>(summary: &'a Value, pod: &str) -> Option<&'a Value> {
    let pods = summary["pods"].as_array().into_iter().flatten();
    let mut found = pods.filter(|found| found["podRef"]["name"] == full_name(pod));
    found.next()?["volume"].as_array()?.iter().find(|volume| volume["name"] == "data")
}

#[test]
fn a_file_system_that_hangs_holds_up_no_figures_but_its_own() {
    let mut node = Node::prepared();
    node.agent.config["volumeStatsAggPeriod"] = json!("1s");
    node.start();
    let names = ["hung", "well"];
    for name in names {
        let mounts = json!({ "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
        let spec = json!({ "containers": [with(shell("main", IDLE), mounts)], "volumes": [{ "name": "data", "emptyDir": {} }] });
        node.put(&pod(name, spec));
    }
    let uids = names.map(|name| status::uid(&node.ready(name)));
    let used = |node: &Node, name: &str| volume_of(&summary(node, ""), name)?["usedBytes"].as_u64();
    let has_used = |node: &Node, name: &str, bytes: u64| used(node, name).is_some_and(|used| used >= bytes);
    for name in names {
        node.cri.sh(name, "main", "dd if=/dev/zero of=/data/file bs=1M count=1 2>/dev/null");
        eventually_true("a volume to be measured", SOON, || has_used(&node, name, MIB));
    }
    let place = node.pod_dir(&uids[0]).join("volumes/kubernetes.io~empty-dir/data");
    let Some(hung) = HungMount::over(&place) else { return lab::skip("the kernel has no FUSE") };
    // What the other uses is followed, for longer than one look at the hung one may take.
    let began = Stopwatch::start();
    let mut megabytes = 1;
    while began.elapsed() < HANGS {
        megabytes += 1;
        node.cri.sh(
            "well",
            "main",
            &format!("dd if=/dev/zero of=/data/file{megabytes} bs=1M count=1 2>/dev/null"),
        );
        eventually_true("the other volume to be measured", SOON, || has_used(&node, "well", megabytes * MIB));
    }
    assert!(has_used(&node, "hung", MIB), "its last figure stays");
    assert_eq!(node.agent.healthz("/healthz").unwrap().status, 200);
    drop(hung);
    node.cri.sh("hung", "main", "dd if=/dev/zero of=/data/more bs=1M count=3 2>/dev/null");
    eventually_true("the volume to be measured again", SOON, || has_used(&node, "hung", 4 * MIB));
    // A pod whose volume hangs while it goes holds up no other either, and goes when it can.
    let hung = HungMount::over(&place);
    node.take("hung");
    node.put(&pod("after", json!({ "containers": [shell("main", IDLE)] })));
    node.ready("after");
    node.take("well");
    node.gone("well");
    drop(hung);
    node.gone("hung");
}
