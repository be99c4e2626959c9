//! Pods of an API server on the simulated node: whatever breaks on the way, in the end the server has the true status of each, deleted
//! ones have left, and nothing more is sent.

use std::time::Duration;

use core_types::api::Pod;
use core_types::runtime::ContainerState;
use core_types::{PodExt, PodKey};
use sim::runtime::EventSupport;
use sim::world::{NODE_NAME, World};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Longer than every back-off, and than the grace of every pod.
const PEACE: Duration = Duration::from_secs(900);

fn key(name: &str) -> PodKey {
    PodKey::new("default", name)
}

fn pod(name: &str, args: &str, policy: &str) -> Pod {
    let text = serde_json::json!({
        "metadata": { "namespace": "default", "name": name },
        "spec": {
            "nodeName": NODE_NAME, "restartPolicy": policy, "terminationGracePeriodSeconds": 5,
            "enableServiceLinks": true,
            "containers": [{ "name": "main", "image": "sim/app:1", "args": args.split(' ').collect::<Vec<_>>() }],
        },
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    });
    serde_json::from_value(text).expect("a pod")
}

/// What the server must have in the end.
fn check(world: &World) -> Result<(), String> {
    let view = world.view();
    for (key, pod) in world.api.pods.pods() {
        if pod.metadata.deletion_timestamp.is_some() {
            return Err(format!("{key} was deleted and has not left: {:?}", pod.status));
        }
        let shown = view.pods.get(&pod.uid()).ok_or_else(|| format!("{key} is not here"))?;
        let told = pod.status.clone().unwrap_or_default();
        if told != *shown.status {
            return Err(format!("{key} is told as {told:?} and is {:?}", shown.status));
        }
        let phase = told.phase.unwrap_or_default();
        let wanted = if key.name.as_ref() == "d" { "Succeeded" } else { "Running" };
        if phase != wanted {
            return Err(format!("{key} is {phase}"));
        }
    }
    let running = world.runtime.store();
    let running = running.containers.values().filter(|c| c.state == ContainerState::Running).count();
    let wanted = world.api.pods.pods().keys().filter(|key| key.name.as_ref() != "d").count();
    if running == wanted { Ok(()) } else { Err(format!("{running} containers run instead of {wanted}")) }
}

async fn play(seed: u64) -> Result<(), String> {
    let mut world = World::in_cluster(seed, 150, EventSupport::Streams).map_err(|error| error.to_string())?;
    for _ in 0..30 {
        let name = NAMES[usize::try_from(world.faults.pick(4)).unwrap_or(0)];
        match world.faults.pick(8) {
            0 => world.api.pods.user_deletes(&key(name), 0),
            1 | 2 => world.api.pods.user_deletes(&key(name), 5),
            3 => world.api.pods.set_away(world.faults.pick(2) == 0),
            4 => {
                world.kill_agent();
                world.start_agent();
            }
            _ if name == "d" => world.api.pods.user_creates(pod(name, "exit 0 3", "Never")),
            _ => world.api.pods.user_creates(pod(name, "serve", "Always")),
        }
        tokio::time::sleep(Duration::from_secs(world.faults.pick(20))).await;
    }
    world.faults.stop();
    world.api.pods.set_away(false);
    tokio::time::sleep(PEACE).await;
    check(&world)?;
    let sent = world.api.pods.patches();
    tokio::time::sleep(PEACE).await;
    match world.api.pods.patches() - sent {
        0 => Ok(()),
        more => Err(format!("{more} patches of what the server knows")),
    }
}

#[test]
fn the_server_knows_the_truth_in_the_end() {
    assert_eq!(sim::play_each(0..60, play), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_asks_for_what_is_not_there_yet_does_not_run_and_an_event_says_why() {
    let world = World::in_cluster(1, 0, EventSupport::Streams).expect("a world");
    let mut claiming = pod("a", "serve", "Always");
    let volumes = serde_json::json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "claim" } }]);
    let spec = claiming.spec.as_mut().expect("it has a spec");
    spec.volumes = serde_json::from_value(volumes).expect("volumes");
    world.api.pods.user_creates(claiming);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let sent = world.api.events.sent();
    let told = sent.iter().find(|event| event.reason == "Unsupported");
    assert!(told.is_some_and(|event| event.message.contains("persistentVolumeClaim")), "{sent:?}");
    assert!(world.runtime.store().containers.is_empty());
}
