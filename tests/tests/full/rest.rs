//! At rest the agent lets the runtime rest as well.

use std::{collections::BTreeMap, time::Duration};

use tests::{Node, manifest};

/// Calls of the slow relist, which is the authority and comes rarely, and of the look at images and their file system, which
/// comes ten seconds after images came into use and then every five minutes.
const RELIST: [&str; 4] = ["list_podsandbox", "list_containers", "list_images", "image_fs_info"];

fn calls(node: &Node) -> BTreeMap<String, u64> {
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    let of_line = |line: &str| {
        let rest = line.strip_prefix("kubelet_runtime_operations_total{operation_type=\"")?;
        let (name, count) = rest.split_once("\"} ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    metrics.lines().filter_map(of_line).collect()
}

#[test]
fn ten_pods_at_rest_need_no_call_but_the_slow_relist() {
    let mut node = Node::started();
    for number in 0..10 {
        node.put(&manifest::idle(&format!("quiet-{number}")));
    }
    for number in 0..10 {
        node.ready(&format!("quiet-{number}"));
    }
    // Looks that the last start has asked for come to an end first.
    let mut last = calls(&node);
    tests::eventually("the agent to come to rest", tests::SOON, || {
        lab::wait::let_pass(Duration::from_secs(1));
        let now = calls(&node);
        let quiet = now == last;
        last = now.clone();
        if quiet { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let before = calls(&node);
    lab::wait::let_pass(Duration::from_secs(30));
    let mut made = calls(&node);
    made.retain(|name, count| {
        *count -= before.get(name).copied().unwrap_or(0);
        *count > 0
    });
    println!("CRI calls in 30 s: {made:?}");
    for (name, count) in &made {
        assert!(RELIST.contains(&name.as_str()) && *count <= 1, "{made:?}");
    }
}
