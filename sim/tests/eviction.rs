//! Pressure on the simulated node: what cannot be measured costs nobody anything, and a restart of the agent hides nothing.

use std::time::Duration;

use core_types::pressure::Pressures;
use ports::Control;
use sim::runtime::EventSupport;
use sim::world::World;

const POD: &str = r#"{ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "NAME" }, "spec": {
    "containers": [{ "name": "main", "image": "sim/app:1", "args": ["run"] }] } }"#;

/// Memory of the simulated machine.
const MEMORY_BYTES: u64 = 64 << 30;

async fn node_with(names: &[&str]) -> World {
    let world = World::evicting(1, 0, EventSupport::Streams).expect("a node");
    for name in names {
        let manifest = POD.replace("NAME", name);
        world.control().expect("runs").apply(manifest.into()).await.expect("applied");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    world
}

fn running(world: &World) -> usize {
    let view = world.view();
    view.observed.values().filter(|pod| pod.live_containers().next().is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_file_system_that_hangs_evicts_nobody_and_holds_no_other_signal_up() {
    let world = node_with(&["a", "b"]).await;
    world.cgroups.usage.hang_filesystem("/var/lib/kubelet");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let view = world.view();
    assert_eq!((running(&world), view.evictions.len()), (2, 0));
    assert_eq!(view.pressures, Some(Pressures::default()));

    world.cgroups.usage.set_memory("/", MEMORY_BYTES - (10 << 20));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let view = world.view();
    assert_eq!(view.evictions.first().map(|decision| decision.signal.as_str()), Some("memory.available"));
    assert!(
        view.pressures.is_some_and(|pressures| pressures.memory && !pressures.disk),
        "{:?}",
        view.pressures
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_does_not_hide_pressure_early() {
    let mut world = node_with(&["a"]).await;
    world.cgroups.usage.set_memory("/", MEMORY_BYTES - (10 << 20));
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.cgroups.usage.set_memory("/", 1 << 30);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let memory = |world: &World| world.view().pressures.map(|pressures| pressures.memory);
    assert_eq!(memory(&world), Some(true), "for the transition period of five minutes");
    world.kill_agent();
    world.start_agent();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(memory(&world), Some(true), "the restart is no end of it");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(memory(&world), Some(false));
    world.kill_agent();
    world.start_agent();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(memory(&world), Some(false), "what is over stays over");
}
