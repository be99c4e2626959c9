//! What a scraper gets, beside what upstream's kubelet gives it on the same node with the same pods.

use std::collections::{BTreeMap, BTreeSet};

use lab::{Agent, agent::Make};
use serde_json::json;
use tests::{
    LATER, Node, SOON, eventually,
    manifest::{IDLE, pod, shell, with},
};

/// The pages that have metrics.
const PAGES: [&str; 5] =
    ["/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes", "/metrics/slis"];

/// Metrics of upstream that are not exported, each with its reason: `page name reason`. A name that ends in `*` stands for all
/// that begin so.
const MISSING: &str = include_str!("metrics_missing.txt");

/// Families by page.
type Families = BTreeMap<&'static str, BTreeSet<String>>;

fn families(agent: &Agent) -> Families {
    // Results of health checks show once one was asked for.
    agent.read_only("/healthz").unwrap();
    let of_page = |page: &'static str| {
        let reply = agent.read_only(page).unwrap();
        assert_eq!(reply.status, 200, "{page}: {}", reply.body);
        let names = reply.body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names = names.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        (page, names)
    };
    PAGES.into_iter().map(of_page).collect()
}

/// Waits until the page of cgroups shows the pod: upstream finds it some seconds after it began.
#[track_caller]
fn settled(agent: &Agent) -> Families {
    eventually("the pod to show", LATER, || {
        let page = agent.read_only("/metrics/cadvisor").unwrap().body;
        let probes = agent.read_only("/metrics/probes").unwrap().body;
        // Upstream knows containers by name only on the containerd of the system.
        let shows =
            page.lines().any(|line| line.starts_with("container_processes{") && line.contains("/pod"));
        match shows && probes.contains("prober_probe_total{") {
            true => Ok(families(agent)),
            false => Err(format!("cgroups: {shows}, probes: {probes}")),
        }
    })
}

fn listed() -> BTreeMap<&'static str, BTreeMap<&'static str, &'static str>> {
    let mut found: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for line in MISSING.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut fields = line.splitn(3, ' ');
        let (page, name, reason) = (fields.next().unwrap(), fields.next().unwrap(), fields.next());
        assert!(PAGES.contains(&page), "{line}");
        assert!(reason.is_some_and(|reason| !reason.trim().is_empty()), "no reason: {line}");
        let twice = found.entry(page).or_default().insert(name, reason.unwrap_or_default());
        assert!(twice.is_none(), "twice: {line}");
    }
    found
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |begin| name.starts_with(begin))
}

#[test]
fn every_metric_of_upstream_is_exported_or_listed_with_a_reason() {
    let upstream = lab::parts::upstream_kubelet().unwrap();
    let mut node = Node::started();
    let volumes = json!([{ "name": "data", "emptyDir": {} }]);
    let probe = json!({ "exec": { "command": ["/bin/true"] }, "periodSeconds": 1 });
    let main = with(
        shell("main", &format!("echo x > /data/x; {IDLE}")),
        json!({
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }], "livenessProbe": probe,
            "resources": { "limits": { "cpu": "200m", "memory": "64Mi" } },
        }),
    );
    node.put(&pod("seen", json!({ "containers": [main], "volumes": volumes })));
    node.ready("seen");
    let ours = settled(&node.agent);
    node.agent.stop(SOON).unwrap();
    let mut theirs = node.instance.agent_made_by(Make::Upstream, upstream).unwrap();
    theirs.start().unwrap();
    theirs.wait_ready("seen", SOON).unwrap();
    let theirs = settled(&theirs);

    let listed = listed();
    let mut problems = Vec::new();
    for page in PAGES {
        let none = BTreeMap::new();
        let listed = listed.get(page).unwrap_or(&none);
        for name in &theirs[page] {
            if !ours[page].contains(name) && !listed.keys().any(|pattern| fits(pattern, name)) {
                problems.push(format!("{page} {name} is upstream's, and neither exported nor listed"));
            }
        }
        for pattern in listed.keys() {
            for name in ours[page].iter().filter(|name| fits(pattern, name)) {
                problems.push(format!("{page} {name} is listed as missing ({pattern}), and exported"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
