//! Unused images go when their file system is full; used and pinned ones stay.

use std::process::Command;

use serde_json::json;
use tests::{LATER, Node, SOON, eventually, manifest, status};

/// How much of the file system of a path is used, in percent, rounded up.
fn used_percent(path: &std::path::Path) -> u64 {
    let output = Command::new("df").args(["--output=size,avail"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    100 - numbers[1] * 100 / numbers[0]
}

#[test]
fn unused_images_go_when_their_file_system_is_full() {
    let mut node = Node::started();
    node.put(&manifest::idle("user"));
    let before = node.ready("user");
    let images = |node: &Node| node.instance.containerd().ctr(&["images", "list", "--quiet"]).unwrap();
    assert!(images(&node).contains(lab::images::WEB), "{}", images(&node));
    node.agent.stop(SOON).unwrap();

    let used = used_percent(node.instance.dir());
    node.agent.config["imageGCHighThresholdPercent"] = json!(used.saturating_sub(10));
    node.agent.config["imageGCLowThresholdPercent"] = json!(used.saturating_sub(20));
    node.agent.config["imageMinimumGCAge"] = json!("1ms");
    node.start();
    eventually("the image that nobody uses to go", LATER, || {
        let left = images(&node);
        if left.contains(lab::images::WEB) { Err(left) } else { Ok(()) }
    });
    let left = images(&node);
    assert!(left.contains(lab::images::BUSYBOX), "the image in use stays: {left}");
    let after = node.ready("user");
    assert_eq!(status::only(&after)["containerID"], status::only(&before)["containerID"]);
    eventually("the shortage to be told", SOON, || {
        let events = node.podwright().run(&["events"]).ok();
        let told = events.contains("FreeDiskSpaceFailed")
            && events.contains("Insufficient free disk space on the node's image filesystem");
        if told { Ok(()) } else { Err(events) }
    });
    let metrics = node.agent.read_only("/metrics").unwrap().body;
    assert!(metrics.contains("kubelet_image_garbage_collected_total{reason=\"space\"} "), "{metrics}");
}
