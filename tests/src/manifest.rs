//! Pod manifests as values.

use lab::images;
use serde_json::{Value, json};

/// A shell script that does nothing until it is told to stop, and then stops at once.
pub const IDLE: &str = "trap 'exit 0' TERM; sleep 100000 & wait";

/// A shell script that ignores SIGTERM.
pub const STUBBORN: &str = "trap '' TERM; while :; do sleep 1; done";

/// A pod with this spec; its grace period is 2 s unless the spec says otherwise.
pub fn pod(name: &str, mut spec: Value) -> Value {
    if spec["terminationGracePeriodSeconds"].is_null() {
        spec["terminationGracePeriodSeconds"] = json!(2);
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec })
}

/// A container that runs a shell script.
pub fn shell(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": images::BUSYBOX, "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", script],
    })
}

/// `object` with the fields of `more`, which win.
pub fn with(mut object: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (object.as_object_mut(), more) {
        fields.extend(more);
    }
    object
}

/// A pod with one container, `main`, that runs a shell script.
pub fn script(name: &str, script: &str) -> Value {
    pod(name, json!({ "containers": [shell("main", script)] }))
}

/// A pod with one container, `main`, that runs until it is told to stop.
pub fn idle(name: &str) -> Value {
    script(name, IDLE)
}

/// A pod with one container, `main`, of that image and pull policy.
pub fn of_image(name: &str, image: &str, pull_policy: &str) -> Value {
    let container = json!({
        "name": "main", "image": image, "imagePullPolicy": pull_policy, "command": ["/bin/sh", "-c", IDLE],
    });
    pod(name, json!({ "containers": [container] }))
}
