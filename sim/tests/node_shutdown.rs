//! The simulated machine goes down: whatever breaks meanwhile, pods end in order and the machine goes in time, and what may run after
//! a shutdown that was called off runs.

use std::time::Duration;

use core_types::api::Pod;
use core_types::runtime::ContainerState;
use core_types::view::Lifecycle;
use core_types::{PodExt, PodKey, Shutdown};
use ports::Checkpoints;
use sim::runtime::EventSupport;
use sim::world::{NODE_NAME, SHUTDOWN, World};

fn key(name: &str) -> PodKey {
    PodKey::new("default", name)
}

fn pod(name: &str, args: &str, priority: i32) -> Pod {
    let text = serde_json::json!({
        "metadata": { "namespace": "default", "name": name },
        "spec": {
            "nodeName": NODE_NAME, "terminationGracePeriodSeconds": 60, "enableServiceLinks": true,
            "priority": priority, "restartPolicy": "Always",
            "containers": [{ "name": "main", "image": "sim/app:1", "args": [args] }],
        },
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    });
    serde_json::from_value(text).expect("a pod")
}

fn runs(world: &World) -> usize {
    let store = world.runtime.store();
    store.containers.values().filter(|container| container.state == ContainerState::Running).count()
}

fn told(world: &World, name: &str) -> (String, String) {
    let status = world.api.pods.pods()[&key(name)].status.clone().unwrap_or_default();
    (status.phase.unwrap_or_default(), status.reason.unwrap_or_default())
}

fn ended(phase: &str, reason: &str) -> (String, String) {
    (phase.to_owned(), reason.to_owned())
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

const CRITICAL: i32 = 2_000_000_000;

#[tokio::test(start_paused = true)]
async fn pods_end_in_order_and_the_machine_goes_when_the_server_knows() {
    let world = World::in_cluster(1, 0, EventSupport::Streams).expect("a world");
    for (name, args, priority) in [("a", "serve", 0), ("b", "stubborn", 5), ("c", "serve", CRITICAL)] {
        world.api.pods.user_creates(pod(name, args, priority));
    }
    let web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: main, image: \"sim/app:1\"}]}\n";
    world.static_manifests.put("web.yaml", web);
    pass(60).await;
    assert_eq!(runs(&world), 4);
    assert!(world.cgroups.kernel.is_held());

    world.cgroups.kernel.shut_down(Shutdown::InProgress);
    pass(10).await;
    // The stubborn one has 20 s, and the critical one waits for it.
    assert_eq!(told(&world, "a"), ended("Failed", "Terminated"));
    assert_eq!(told(&world, "c").0, "Running");
    assert_eq!(runs(&world), 2);
    assert!(world.cgroups.kernel.is_held());
    world.api.pods.user_creates(pod("late", "serve", CRITICAL));
    // The line is cut off and opened again: what goes on goes on.
    world.cgroups.kernel.cut_off();
    pass(25).await;
    for name in ["a", "b", "c"] {
        assert_eq!(told(&world, name), ended("Failed", "Terminated"), "{name}");
    }
    assert_eq!(told(&world, "late"), ended("Failed", "NodeShutdown"));
    assert_eq!(runs(&world), 0);
    assert!(!world.cgroups.kernel.is_held());
    let state =
        world.checkpoints.load("graceful_node_shutdown_state").await.expect("readable").expect("kept");
    assert!(!String::from_utf8_lossy(&state).contains("0001-01-01"), "it has an end: {state:?}");

    world.cgroups.kernel.shut_down(Shutdown::None);
    pass(5).await;
    assert!(world.cgroups.kernel.is_held());
    world.api.pods.user_creates(pod("again", "serve", 0));
    pass(60).await;
    assert_eq!(told(&world, "again").0, "Running");
    assert_eq!(told(&world, "late"), ended("Failed", "NodeShutdown"), "an end is an end");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_called_off_spares_whom_it_has_not_reached() {
    let world = World::in_cluster(1, 0, EventSupport::Streams).expect("a world");
    world.api.pods.user_creates(pod("low", "stubborn", 0));
    world.api.pods.user_creates(pod("high", "serve", CRITICAL));
    pass(60).await;
    world.cgroups.kernel.shut_down(Shutdown::InProgress);
    pass(5).await;
    world.cgroups.kernel.shut_down(Shutdown::None);
    pass(120).await;
    assert_eq!(told(&world, "low"), ended("Failed", "Terminated"));
    assert_eq!(told(&world, "high"), ended("Running", ""));
    assert!(world.cgroups.kernel.is_held());
}

/// The machine goes down amid faults: everything has ended, or its time is over.
async fn play(seed: u64) -> Result<(), String> {
    let mut world = World::in_cluster(seed, 150, EventSupport::Streams).map_err(|error| error.to_string())?;
    for number in 0..world.faults.pick(6) {
        let args = if world.faults.pick(3) == 0 { "stubborn" } else { "serve" };
        let priority = if world.faults.pick(2) == 0 { 0 } else { CRITICAL };
        world.api.pods.user_creates(pod(&format!("p{number}"), args, priority));
    }
    pass(world.faults.pick(60)).await;
    if world.faults.pick(4) == 0 {
        world.kill_agent();
        world.start_agent();
    }
    world.api.pods.set_away(world.faults.pick(4) == 0);
    pass(10).await;
    world.cgroups.kernel.shut_down(Shutdown::InProgress);
    for _ in 0..SHUTDOWN.as_secs() + 2 {
        if world.faults.pick(20) == 0 {
            world.cgroups.kernel.cut_off();
        }
        pass(1).await;
    }
    if world.cgroups.kernel.is_held() {
        return Err("the machine is held up beyond the time".to_owned());
    }
    world.faults.stop();
    world.api.pods.set_away(false);
    pass(300).await;
    match world.view().pods.values().find(|pod| pod.lifecycle < Lifecycle::Terminated) {
        Some(pod) => Err(format!("{} is still {:?}", pod.pod.key(), pod.lifecycle)),
        None if runs(&world) > 0 => Err("something runs that no pod knows".to_owned()),
        None => Ok(()),
    }
}

#[test]
fn the_machine_goes_in_time_whatever_breaks() {
    assert_eq!(sim::play_each(0..20, play), Ok(()));
}
