//! Who reads the node's figures in a cluster: a real metrics-server, and `kubectl top` through it.

use std::time::Duration;

use lab::agent::is_ready;
use lab::cluster::NODE;
use lab::metrics_server::{INTERVAL, MetricsServer};
use serde_json::json;
use tests::cluster::{apply, bound, running, until};
use tests::{eventually, manifest};

/// metrics-server needs two readings for a rate; a start and a slow machine are in it.
const LIMIT: Duration = INTERVAL.saturating_mul(9);

/// The fields of the only line of an answer without headers.
fn line(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn kubectl_top_shows_what_containers_and_the_node_use() {
    let cluster = running();
    let plane = cluster.plane();
    let mut busy =
        manifest::shell("busy", "x=$(head -c 30000000 /dev/zero | tr '\\0' a); while :; do :; done");
    busy["resources"] = json!({ "limits": { "cpu": "300m", "memory": "200Mi" } });
    let pod =
        manifest::pod("works", json!({ "containers": [busy, manifest::shell("idle", manifest::IDLE)] }));
    apply(plane, "works", &bound(NODE, pod));
    until(plane, "works", "ready", is_ready);
    let _server = MetricsServer::start(plane).unwrap();

    let top = |args: &[&str]| {
        let args = [&["top"], args, &["--no-headers"]].concat();
        plane.kubectl(&args).map_err(|error| format!("{error:#}"))
    };
    let container = |name: &str| {
        let text = top(&["pod", "works", "--containers"])?;
        let shown = text.lines().map(line).find(|fields| fields.get(1) == Some(&name));
        let shown = shown.ok_or_else(|| format!("no line for {name}: {text}"))?;
        let number = |field: &str, unit: &str| field.strip_suffix(unit)?.parse::<u64>().ok();
        number(shown[2], "m").zip(number(shown[3], "Mi")).ok_or_else(|| format!("no figures: {text}"))
    };
    let (cpu, memory) = eventually("kubectl top to show the busy container", LIMIT, || {
        container("busy").and_then(|(cpu, memory)| {
            // The first rate may begin before the work did.
            if cpu >= 50 { Ok((cpu, memory)) } else { Err(format!("{cpu}m")) }
        })
    });
    assert!((50..=360).contains(&cpu), "{cpu}m with a limit of 300m");
    assert!((25..=200).contains(&memory), "{memory} MiB of about 30");
    let (cpu, memory) = container("idle").unwrap();
    assert!(cpu <= 20 && memory <= 20, "an idle container uses {cpu}m and {memory} MiB");

    let node = top(&["node", NODE]).unwrap();
    let node = line(&node);
    let cpu: u64 = node[1].strip_suffix('m').unwrap().parse().unwrap();
    assert!(node[0] == NODE && cpu > 50, "{node:?}");
}
