//! Swap on cgroup version 2: a node that has some.

use std::fs;

use serde_json::{Value, json};
use tests::{
    LATER, Node, SOON, cgroup,
    manifest::{IDLE, pod, shell, with},
    status,
};

use crate::{is_guest, read, run};

const SIZE_MIB: u64 = 512;

/// Memory that the kernel swaps to; dropping it takes it away.
struct Swap;

impl Swap {
    const DEVICE: &str = "/dev/zram0";

    fn on() -> Self {
        run(&["modprobe", "zram"]);
        fs::write("/sys/block/zram0/disksize", format!("{SIZE_MIB}M")).unwrap();
        run(&["mkswap", Self::DEVICE]);
        run(&["swapon", Self::DEVICE]);
        Self
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        run(&["swapoff", Self::DEVICE]);
    }
}

/// A figure of `/proc/meminfo`.
fn meminfo_bytes(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// `memory.swap.max` of the only container of a Burstable pod.
fn swap_max(node: &Node, pod: &Value) -> String {
    let path = format!("kubepods/burstable/pod{}/{}", status::uid(pod), status::id(&status::only(pod)));
    read(&cgroup::dir(&node.instance, "memory", &path), "memory.swap.max")
}

#[test]
fn a_node_with_swap_starts_when_it_is_told_to_and_ordinary_burstable_pods_have_their_share_of_it() {
    if !is_guest() {
        return lab::skip(
            "this is no guest machine, and it may lack cgroup version 2 and has swap of its own",
        );
    }
    let _swap = Swap::on();
    let mut node = Node::prepared();
    node.agent.config["failSwapOn"] = json!(true);
    node.agent.spawn().unwrap();
    assert!(!node.agent.wait_exit(SOON).unwrap().success());
    let said = node.agent.log();
    assert!(said.contains("names /dev/zram0: switch swap off, or set failSwapOn"), "{said}");

    node.agent.config["failSwapOn"] = json!(false);
    node.agent.config["memorySwap"] = json!({ "swapBehavior": "LimitedSwap" });
    node.start();
    let resources = json!({ "requests": { "memory": "64Mi" }, "limits": { "memory": "128Mi" } });
    let main = with(shell("main", IDLE), json!({ "resources": resources }));
    let of = |name: &str| pod(name, json!({ "containers": [main] }));
    node.put(&of("critical"));
    node.podwright().run_with(&["run", "-"], &of("ordinary").to_string()).ok();
    let share = (64 << 20) as f64 / meminfo_bytes("MemTotal") as f64 * meminfo_bytes("SwapTotal") as f64;
    // The kernel counts in pages.
    let share = (share as u64 / 4096 * 4096).to_string();
    for (name, want) in [("critical", "0"), ("ordinary", &*share)] {
        let pod = node.until(name, "Ready", LATER, lab::agent::is_ready);
        assert_eq!(swap_max(&node, &pod), want, "{name}");
    }
    let reply = node.agent.read_only("/stats/summary").unwrap();
    let summary: Value = serde_json::from_str(&reply.body).unwrap();
    let of_node = |name: &str| summary["node"]["swap"][name].as_u64().unwrap();
    let total_bytes = of_node("swapAvailableBytes") + of_node("swapUsageBytes");
    assert_eq!(total_bytes, meminfo_bytes("SwapTotal"), "{}", summary["node"]["swap"]);
}
