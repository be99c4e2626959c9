//! Readings of the simulated node: made once for all who ask, and whole but for what does not answer.

use std::time::Duration;

use core_stats::Whose;
use core_types::PodKey;
use ports::Control;
use sim::runtime::EventSupport;
use sim::world::World;

const POD: &str = r#"{ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "NAME" }, "spec": {
    "containers": [{ "name": "main", "image": "sim/app:1", "args": ["run"] }],
    "volumes": [{ "name": "data", "emptyDir": {} }] } }"#;

async fn node_with(names: &[&str]) -> World {
    let world = World::new(1, 0, EventSupport::Streams).expect("a node");
    for name in names {
        let manifest = POD.replace("NAME", name);
        world.control().expect("runs").apply(manifest.into()).await.expect("applied");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn who_asks_together_shares_a_reading_and_a_stuck_pod_leaves_only_itself_out() {
    let world = node_with(&["a", "b"]).await;
    let readings = world.readings().expect("runs");
    let (first, second) = tokio::join!(readings.usage(), readings.usage());
    assert_eq!(world.cgroups.usage.reads(), 3, "the node and two pods, once");
    assert_eq!(first, second);
    let view = world.view();
    let uid = |name: &str| {
        let key = PodKey::new("default", name);
        view.observed.values().find(|pod| pod.key.name.starts_with(&*key.name)).expect("a pod").uid.clone()
    };
    let main = first.containers(&uid("a")).next().expect("runs");
    assert_eq!(main.subject.labels.container, "main");
    assert!(main.working_set_bytes().is_some() && main.memory_available_bytes().is_none());
    let machine = first.of(&Whose::Machine).expect("there");
    assert_eq!(machine.memory_limit_bytes(), Some(64 << 30));
    assert_eq!(first.processes(&uid("a")), Some(2));

    let stuck = view.observed[&uid("b")].clone();
    world.cgroups.usage.stick(&format!("{} (uid {})", stuck.key, stuck.uid));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let third = readings.usage().await;
    assert!(third.of(&Whose::Pod(uid("a"))).is_some() && third.of(&Whose::Pod(uid("b"))).is_none());
    assert_eq!(third.missing.len(), 1, "{:?}", third.missing);
    assert!(third.of(&Whose::Machine).expect("there").cpu_nano_cores.is_some(), "a rate from the second on");
}

#[tokio::test(start_paused = true)]
async fn storage_names_file_systems_and_what_pods_store() {
    let world = node_with(&["a"]).await;
    let storage = world.readings().expect("runs").storage().await;
    assert!(storage.problems.is_empty(), "{:?}", storage.problems);
    assert_eq!(storage.node.as_ref().map(|node| node.capacity_bytes), Some(1 << 40));
    let pod = storage.pods.values().next().expect("a pod");
    assert_eq!(pod.volumes["data"].used.bytes, 4096);
    assert_eq!(pod.local_volumes, ["data"]);
    assert_eq!(pod.ephemeral().bytes, 4096);
}
